# SPDX-License-Identifier: Apache-2.0
"""A checkpoint on disk, in any format: its config, its task, and its tensors by canonical name, not yet read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from distilbert import spec
from distilbert.checkpoint_files import best_weights, files_in, is_index, shard_names, weights_names
from distilbert.config import CONFIG_NAME, DistilBertConfig
from distilbert.convert import bert
from distilbert.convert.fitting import Fit, fit
from distilbert.convert.formats import Format, format_of
from distilbert.convert.naming import canonical_tensors, with_one_prefix
from distilbert.convert.tensor import FLOAT_DTYPES, StoredTensor
from distilbert.errors import FileError, WeightsError, describe
from distilbert.files import check_regular_file, read_json

_WORDS = spec.PREFIX + spec.WORD_EMBEDDINGS


@dataclass(frozen=True)
class Checkpoint:
    """What a folder holds. Tensor names are canonical, with the `distilbert.` prefix on the encoder's.

    Attributes:
        weights: the weights file, or the index of its shards.
        files: the files that hold the values.
        format: how the values are stored; `dialect` how their names are spelled.
        folded_bert: whether it is a BERT read as a DistilBERT.
        obstacle: why its head cannot be used, or None.
    """

    weights: Path
    files: tuple[Path, ...]
    format: Format
    dialect: str
    config: DistilBertConfig
    tensors: dict[str, StoredTensor]
    folded_bert: bool
    obstacle: str | None

    @property
    def task(self) -> str:
        """Which of the six models it is: what its tensors say, the config's architecture where they leave a choice."""
        paths = {name.rpartition(".")[0] for name in self.tensors if spec.is_head_tensor(name)}
        fitting = [task.name for task in spec.TASKS.values() if {layer.path for layer in task.layers} == paths]
        named = [task for task in fitting if spec.TASKS[task].class_name in (self.config.architectures or ())]
        return next(iter(named or fitting), "encoder")

    @property
    def dtype(self) -> str:
        """Float type of the tensors; float32 when they are mixed."""
        dtypes = {tensor.dtype for tensor in self.tensors.values()}
        names = [name for name, dtype in FLOAT_DTYPES.items() if dtypes == {dtype}]
        return next(iter(names), "float32")

    @property
    def nbytes(self) -> int:
        """Size of all values in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def fit(self, config: DistilBertConfig, task: str) -> Fit:
        """Compare with the model of a config and task."""
        return fit(self.tensors, config, task)

    def with_settled_projector(self) -> Checkpoint:
        """The same checkpoint, its vocabulary projector either absent (tied) or honest (untied).

        A tied projector that repeats the word embeddings is dropped; one that alone holds them takes their place; one
        that differs from them unties the config, with a warning, so that no weight is lost.
        """
        projector = self.tensors.get(spec.PROJECTOR)
        if projector is None or not self.config.tie_word_embeddings:
            return self
        tensors = {name: tensor for name, tensor in self.tensors.items() if name != spec.PROJECTOR}
        words = tensors.get(_WORDS)
        if words is None:
            return replace(self, tensors={**tensors, _WORDS: projector.renamed(_WORDS)})
        if words.shape == projector.shape and same_bits(words.load(), projector.load()):
            return replace(self, tensors=tensors)
        warnings.warn(
            f"{self.weights}: {spec.PROJECTOR} differs from the word embeddings although tie_word_embeddings is true; "
            "it is kept, and the model is read as untied",
            stacklevel=2,
        )
        return replace(self, config=self.config.replace(tie_word_embeddings=False))


def open_checkpoint(path: Path, variant: str | None = None, config: DistilBertConfig | None = None) -> Checkpoint:
    """Read the headers of a checkpoint: a folder, a weights file, or an index of shards, with config.json beside it.

    Raises:
        FileError, ConfigError, WeightsError: something is missing, damaged or contradictory.
    """
    weights = _find_weights(path, variant)
    data = {} if config is not None else _read_config(weights)
    format_ = format_of(weights)
    files = _files(weights)
    stored = _read_files(format_, files, weights)
    tensors = canonical_tensors(stored, str(weights))
    folded, obstacle = bert.is_bert(data, tensors), None
    if folded:
        data = bert.fold_config(data, str(weights.parent / CONFIG_NAME))
        tensors, obstacle = bert.fold_tensors(tensors, str(weights))
    config = config or DistilBertConfig.from_dict(data, str(weights.parent / CONFIG_NAME))
    tensors = with_one_prefix(tensors, str(weights))
    return Checkpoint(weights, files, format_, _dialect(stored), config, tensors, folded, obstacle)


def same_bits(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Whether two arrays hold the same bytes in the same order of axes: NaN equals NaN, 0 differs from -0."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.flags.f_contiguous and not a.flags.c_contiguous:
        a, b = a.T, b.T
    unsigned = np.dtype(f"u{a.dtype.itemsize}")
    return bool(np.array_equal(a.view(unsigned), np.asarray(b, order="C").view(unsigned)))


def _find_weights(path: Path, variant: str | None) -> Path:
    if not path.is_dir():
        check_regular_file(path)
        return path
    names = weights_names(variant)
    best = best_weights(files_in(path), names)
    if best is None:
        present = ", ".join(files_in(path)[:10]) or "nothing"
        raise FileError(f"{path}: no weights; expected one of {', '.join(names)}; found {present}")
    return path / best


def _read_config(weights: Path) -> dict[str, Any]:
    path = weights.parent / CONFIG_NAME
    if not path.exists():
        raise FileError(f"{path}: missing; a checkpoint needs its config.json beside the weights")
    return read_json(path)


def _files(weights: Path) -> tuple[Path, ...]:
    if not is_index(weights.name):
        return (weights,)
    files = tuple(weights.parent / name for name in shard_names(weights))
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise FileError(describe(f"{weights}: lists files that are not there", missing))
    return files


def _read_files(format_: Format, files: tuple[Path, ...], weights: Path) -> dict[str, StoredTensor]:
    stored: dict[str, StoredTensor] = {}
    for file in files:
        tensors = format_.codec.read(file).tensors
        twice = sorted(stored.keys() & tensors.keys())
        if twice:
            raise WeightsError(describe(f"{file}: tensors that another shard has too", twice[:8]))
        stored.update(tensors)
    if is_index(weights.name):
        _check_index(weights, format_, stored)
    if not stored:
        raise WeightsError(f"{weights}: holds no tensors")
    return stored


def _check_index(weights: Path, format_: Format, stored: Mapping[str, StoredTensor]) -> None:
    listed = read_json(weights)["weight_map"]
    if format_.dialect == "tf":  # its index says "model/path", its files say "path"
        listed = {name.partition("/")[2] if name.partition("/")[2] in stored else name for name in listed}
    absent = sorted(name for name in listed if name not in stored)
    if absent:
        raise WeightsError(describe(f"{weights}: weight_map lists tensors that no shard has", absent[:8]))


def _dialect(stored: Mapping[str, StoredTensor]) -> str:
    """How names are spelled, whatever the file's metadata claims."""
    if any(name.endswith(":0") for name in stored):
        return "tf"
    foreign = ("kernel", "scale", "embedding")
    return "flax" if any(name.replace("/", ".").rpartition(".")[2] in foreign for name in stored) else "pt"
