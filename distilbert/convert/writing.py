# SPDX-License-Identifier: Apache-2.0
"""Writing a model as a checkpoint: config.json and weights in one format, in one file or in shards with an index."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from distilbert import spec
from distilbert.config import DistilBertConfig
from distilbert.convert.arrays import c_ordered
from distilbert.convert.fitting import fit
from distilbert.convert.formats import ALL_FORMATS, KERAS_HUB, ORBAX, Format
from distilbert.convert.keras_hub_writing import write_preset
from distilbert.convert.positions import can_be_computed
from distilbert.convert.tensor import FLOAT_DTYPES, StoredTensor
from distilbert.errors import FileError, InputError
from distilbert.files import atomic_write, write_json

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def write_checkpoint(
    folder: Path,
    config: DistilBertConfig,
    task: str,
    tensors: Mapping[str, StoredTensor],
    *,
    format: str,
    max_shard_size: int | str = "5GB",
) -> list[Path]:
    """Write a model; every file appears whole or not at all.

    Args:
        folder: made if it does not exist; weights of the same format in it are replaced.
        config, task: what the model is.
        tensors: by canonical name, in PyTorch's orientation; all that `spec.tensors(config, task)` lists.
        format: `safetensors`, `pytorch`, `tensorflow`, `flax`, `keras-hub` or `orbax`.
        max_shard_size: bytes in one file, or text such as "5GB"; a larger tensor has a file of its own.
            Without effect for keras-hub and Orbax, which lay out their files themselves.

    Returns:
        The weights files, the index first where there is one.

    Raises:
        InputError: there is no such format, or the size is none.
        ConfigError: lists what a model of keras-hub cannot compute.
        BackendError: Orbax is not installed.
        WeightsError: lists tensors that are missing or do not fit the config.
        FileError: a file cannot be written.
    """
    row = find_format(format)
    limit = parse_size(max_shard_size)
    ordered = _ordered(folder, config, task, tensors, row)
    if row == KERAS_HUB:
        return write_preset(folder, config, task, ordered, _common_dtype(ordered))
    folder.mkdir(parents=True, exist_ok=True)
    shards = [ordered] if row == ORBAX else _split(ordered, limit)
    names = [row.shard_name(number, len(shards)) for number in range(1, len(shards) + 1)]
    weight_map: dict[str, str] = {}
    for name, shard in zip(names, shards, strict=True):
        listed = _write_file(folder / name, row, config, task, shard, sharded=len(shards) > 1)
        weight_map.update(dict.fromkeys(listed, name))
    if len(shards) > 1:
        total = sum(tensor.nbytes for tensor in ordered)
        write_json(folder / row.index_name, {"metadata": {"total_size": total}, "weight_map": weight_map})
        names.insert(0, row.index_name)
    _remove_old(folder, row, names)
    config.replace(architectures=(spec.TASKS[task].class_name,), dtype=_common_dtype(ordered)).save_pretrained(folder)
    return [folder / name for name in names]


def find_format(name: str) -> Format:
    """The format of that name."""
    if name not in ALL_FORMATS:
        raise InputError(f"format: expected one of {', '.join(ALL_FORMATS)}; found {name!r}")
    return ALL_FORMATS[name]


def parse_size(size: int | str) -> int:
    """Bytes, from a number or a text such as "5GB" or "200MiB"."""
    match = re.fullmatch(r"([0-9]{1,15})|([0-9]{1,15}(?:\.[0-9]{1,15})?) *([KMG]I?B)", str(size).upper())
    nbytes = 0
    if match:
        nbytes = int(match[1] or float(match[2]) * _UNITS[match[3]])
    if not nbytes:
        raise InputError(f'max_shard_size: expected bytes or a size such as "5GB", found {size!r}')
    return nbytes


def model_component(task: str) -> str:
    """What Keras calls a model of this task, and every tf_model.h5 puts before its names."""
    return "tf_" + re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", spec.TASKS[task].class_name).lower()


def _ordered(
    folder: Path, config: DistilBertConfig, task: str, tensors: Mapping[str, StoredTensor], row: Format
) -> list[StoredTensor]:
    """The tensors to write, in the order of the model."""
    found = fit({spec.with_prefix(name): tensor for name, tensor in tensors.items()}, config, task)
    if not found.is_exact:
        raise found.error(f"{folder}: cannot be written")
    if row.name == "tensorflow" and spec.PROJECTOR in found.tensors:
        warnings.warn(
            f"{folder / row.file_name}: an untied {spec.PROJECTOR} is written, but transformers' own TensorFlow class "
            "ties it whatever the file says",
            stacklevel=3,
        )
    prefix = spec.TASKS[task].prefix
    table, words = prefix + spec.POSITION_EMBEDDINGS, prefix + spec.WORD_EMBEDDINGS
    if row.dialect == "flax" and can_be_computed(found.tensors[table], found.tensors[words], config):
        del found.tensors[table]  # as in transformers, whose Flax class has no such parameter
    return list(found.tensors.values())


def _write_file(
    path: Path, row: Format, config: DistilBertConfig, task: str, shard: Sequence[StoredTensor], *, sharded: bool
) -> list[str]:
    """Write one weights file; the names an index lists for it."""
    specs = spec.tensors(config, task)
    native = []
    for tensor in shard:
        known = specs[tensor.name]
        turned = tensor.transposed() if known.transposed and row.dialect != "pt" else tensor
        native.append(_in_one_piece(turned).renamed(spec.native_name(known, row.dialect)))
    layout: dict[str, Any] = {}
    listed = [tensor.name for tensor in native]
    if row.name == "pytorch":
        layout["shared"] = _shared(config, task, listed)
        listed += layout["shared"]
    if row.name == "tensorflow":
        layout = {"model_name": model_component(task), "sharded": sharded}
        if task == "masked-lm" and not sharded:  # Keras lists the embeddings again in the layer that is tied to them
            layout["repeated"] = {"vocab_projector": [name for name in listed if "/embeddings/" in name]}
        listed = [f"{layout['model_name']}/{name}" for name in listed]
    if row == ORBAX:  # which makes folders that appear whole itself
        row.codec.write(path, native, {})
        return listed
    with atomic_write(path) as temporary:
        row.codec.write(temporary, native, {"format": "pt"} if row.name == "safetensors" else {}, **layout)
    return listed


def _shared(config: DistilBertConfig, task: str, names: Sequence[str]) -> dict[str, str]:
    """The second name of the word embeddings that PyTorch files have for a tied projector."""
    words = spec.PREFIX + spec.WORD_EMBEDDINGS
    tied = task == "masked-lm" and config.tie_word_embeddings and words in names
    return {spec.PROJECTOR: words} if tied else {}


def _in_one_piece(tensor: StoredTensor) -> StoredTensor:
    """The same tensor, its values in the order in which they are written."""
    return replace(tensor, load=lambda: c_ordered(tensor.load()))


def _split(tensors: Sequence[StoredTensor], limit: int) -> list[list[StoredTensor]]:
    shards: list[list[StoredTensor]] = [[]]
    room = limit
    for tensor in tensors:
        if tensor.nbytes > room and shards[-1]:
            shards.append([])
            room = limit
        shards[-1].append(tensor)
        room -= tensor.nbytes
    return shards


def _common_dtype(tensors: Sequence[StoredTensor]) -> str | None:
    dtypes = {tensor.dtype for tensor in tensors}
    return next((name for name, dtype in FLOAT_DTYPES.items() if dtypes == {dtype}), None)


def _remove_old(folder: Path, row: Format, names: Sequence[str]) -> None:
    """Remove an older single file, index or shard of the same format, which would contradict the new files."""
    stem, _, ending = row.file_name.rpartition(".")
    pattern = re.compile(rf"{re.escape(stem)}(-\d{{5}}-of-\d{{5}})?\.{re.escape(ending)}(\.index\.json)?")
    for path in folder.iterdir():
        if pattern.fullmatch(path.name) and path.name not in names:
            try:
                path.unlink()
            except OSError as error:
                raise FileError(f"{path}: older weights cannot be removed ({error.strerror or error})") from None
