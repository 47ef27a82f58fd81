# SPDX-License-Identifier: Apache-2.0
"""Writing a model as a checkpoint: config.json and weights in one format, in one file or in shards with an index."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distilbert import spec
from distilbert.config import DistilBertConfig
from distilbert.convert.formats import FORMATS, Format
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
        format: `safetensors`, `pytorch`, `tensorflow` or `flax`.
        max_shard_size: bytes in one file, or text such as "5GB"; a larger tensor has a file of its own.

    Returns:
        The weights files, the index first where there is one.
    """
    row = find_format(format)
    limit = parse_size(max_shard_size)
    folder.mkdir(parents=True, exist_ok=True)
    ordered = [tensors[name] for name in spec.tensors(config, task)]
    config.replace(architectures=(spec.TASKS[task].class_name,), dtype=_common_dtype(ordered)).save_pretrained(folder)
    shards = _split(ordered, limit)
    names = [row.shard_name(number, len(shards)) for number in range(1, len(shards) + 1)]
    _remove_old(folder, row, names)
    weight_map: dict[str, str] = {}
    for name, shard in zip(names, shards, strict=True):
        weight_map.update(dict.fromkeys(_write_file(folder / name, row, config, task, shard, len(shards) > 1), name))
    written = [folder / name for name in names]
    if len(shards) == 1:
        return written
    total = sum(tensor.nbytes for tensor in ordered)
    write_json(folder / row.index_name, {"metadata": {"total_size": total}, "weight_map": weight_map})
    return [folder / row.index_name, *written]


def find_format(name: str) -> Format:
    """The format of that name."""
    if name not in FORMATS:
        raise InputError(f"format: expected one of {', '.join(FORMATS)}; found {name!r}")
    return FORMATS[name]


def parse_size(size: int | str) -> int:
    """Bytes, from a number or a text such as "5GB" or "200MiB"."""
    if isinstance(size, int) and size > 0:
        return size
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([A-Z]+)", str(size).upper())
    if not match or match[2] not in _UNITS or float(match[1]) <= 0:
        raise InputError(f'max_shard_size: expected bytes or a size such as "5GB", found {size!r}')
    return int(float(match[1]) * _UNITS[match[2]])


def model_component(task: str) -> str:
    """What Keras calls a model of this task, and every tf_model.h5 puts before its names."""
    return "tf_" + re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", spec.TASKS[task].class_name).lower()


def _write_file(
    path: Path, row: Format, config: DistilBertConfig, task: str, shard: Sequence[StoredTensor], sharded: bool
) -> list[str]:
    """Write one weights file; the names an index lists for it."""
    specs = spec.tensors(config, task)
    native = []
    for tensor in shard:
        known = specs[tensor.name]
        turned = tensor.transposed() if known.transposed and row.dialect != "pt" else tensor
        native.append(turned.renamed(spec.native_name(known, row.dialect)))
    layout: dict[str, Any] = {}
    listed = [tensor.name for tensor in native]
    if row.name == "pytorch" and task == "masked-lm" and config.tie_word_embeddings:
        words = spec.PREFIX + spec.WORD_EMBEDDINGS
        layout["shared"] = {spec.PROJECTOR: words} if words in listed else {}
        listed += layout["shared"]
    if row.name == "tensorflow":
        layout = {"model_name": model_component(task), "sharded": sharded}
        listed = [f"{layout['model_name']}/{name}" for name in listed]
    with atomic_write(path) as temporary:
        row.codec.write(temporary, native, {"format": "pt"} if row.name == "safetensors" else {}, **layout)
    return listed


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
    """An older single file, index or shard of the same format would contradict the new files."""
    stem, _, ending = row.file_name.rpartition(".")
    pattern = re.compile(rf"{re.escape(stem)}(-\d{{5}}-of-\d{{5}})?\.{re.escape(ending)}(\.index\.json)?")
    for path in folder.iterdir():
        if pattern.fullmatch(path.name) and path.name not in names:
            try:
                path.unlink()
            except OSError as error:
                raise FileError(f"{path}: older weights cannot be removed ({error.strerror or error})") from None
