# SPDX-License-Identifier: Apache-2.0
"""A checkpoint on disk, in any format: its config, its task, and its tensors by canonical name, not yet read."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distilbert import spec
from distilbert.backend import BACKENDS
from distilbert.config import CONFIG_NAME, MODEL_TYPE, DistilBertConfig
from distilbert.convert import bert, keras_hub
from distilbert.convert.arrays import same_bits
from distilbert.convert.fitting import Fit, fit, task_of
from distilbert.convert.formats import Format
from distilbert.convert.naming import canonical_tensors, dialect_of, with_one_prefix
from distilbert.convert.positions import with_computed_positions
from distilbert.convert.tensor import FLOAT_DTYPES, StoredTensor
from distilbert.convert.weights import read_weights
from distilbert.errors import ConfigError, FileError, WeightsError
from distilbert.files import read_json

_WORDS = spec.PREFIX + spec.WORD_EMBEDDINGS


@dataclass(frozen=True)
class Checkpoint:
    """What a folder holds. Tensor names are canonical, with the `distilbert.` prefix on the encoder's.

    Attributes:
        weights: the weights file, or the index of its shards.
        files: the files that hold the values.
        format: how the values are stored.
        dialect: how their names are spelled: `pt`, `tf`, `flax` or `keras-hub`.
        folded_bert: whether it is a BERT read as a DistilBERT.
        obstacle: why its head cannot be used, or None.
        difference: how its head computes otherwise in the library it comes from, or None.
    """

    weights: Path
    files: tuple[Path, ...]
    format: Format
    dialect: str
    config: DistilBertConfig
    tensors: dict[str, StoredTensor]
    folded_bert: bool
    obstacle: str | None
    difference: str | None = None

    @property
    def task(self) -> str:
        """Which of the six models it is: what the config says unless the tensors contradict it."""
        return task_of(self.tensors, self.config)

    @property
    def dialect_title(self) -> str:
        """What a reader calls those who spell the names of tensors so."""
        return BACKENDS[self.dialect].title if self.dialect in BACKENDS else "KerasHub"

    @property
    def config_file(self) -> Path:
        """The config.json that was read: beside the weights, or inside where these are a folder (Orbax's)."""
        return _config_file(self.weights)

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

    def check_head(self, advice: str) -> None:
        """Raise WeightsError if it has a head that no DistilBERT has; `advice` says what to do instead."""
        if self.obstacle:
            raise WeightsError(f"{self.weights}: its head cannot be read: {self.obstacle}; {advice}")

    def with_settled_projector(self) -> Checkpoint:
        """The same checkpoint, its vocabulary projector either absent (tied) or honest (untied).

        A tied projector that repeats the word embeddings is dropped; one that alone holds them takes their place; one
        that differs from them unties the config, with a warning, so that no weight is lost. TensorFlow's own class
        always ties, whatever the config says, so its files without a projector are tied.
        """
        projector, words = self.tensors.get(spec.PROJECTOR), self.tensors.get(_WORDS)
        tied = self.config.tie_word_embeddings
        if projector is None and not tied and self.dialect == "tf" and self.task == "masked-lm":
            return replace(self, config=self.config.replace(tie_word_embeddings=True))
        if projector is None or not tied:
            return self
        tensors = {name: tensor for name, tensor in self.tensors.items() if name != spec.PROJECTOR}
        if words is None:
            return replace(self, tensors={**tensors, _WORDS: projector.renamed(_WORDS)})
        if words.shape == projector.shape and same_bits(words.load(), projector.load()):
            return replace(self, tensors=tensors)
        warnings.warn(
            f"{self.weights}: {spec.PROJECTOR} differs from the word embeddings although tie_word_embeddings is true; "
            "it is kept, and the model is read as untied",
            stacklevel=3,
        )
        return replace(self, config=self.config.replace(tie_word_embeddings=False))


def open_checkpoint(
    path: str | os.PathLike[str], variant: str | None = None, config: DistilBertConfig | None = None
) -> Checkpoint:
    """Read the headers of a checkpoint: a folder, a weights file, or an index of shards, with config.json beside it.

    Args:
        path: local; `distilbert.hub.resolve` finds one on the hub.
        variant: take the weights called "model.<variant>.safetensors" and so on.
        config: replaces config.json, which then need not be there.

    Raises:
        FileError, ConfigError, WeightsError: something is missing, damaged or contradictory.
    """
    preset = keras_hub.find_preset(Path(path))
    if preset is not None:
        return _open_preset(preset, config)
    weights = read_weights(Path(path), variant)
    origin = str(weights.path)
    config_file = _config_file(weights.path)
    data = _read_config(config_file, needed=config is None)
    tensors = canonical_tensors(weights.tensors, origin)
    folded, obstacle = bert.is_bert(data, tensors), None
    if folded:
        data = bert.fold_config(data, str(config_file))
    config = config or DistilBertConfig.from_dict(data, str(config_file))
    if folded:
        tensors, obstacle = bert.fold_tensors(tensors, data, origin)
    tensors = with_computed_positions(with_one_prefix(tensors, origin), config)
    dialect = dialect_of(weights.tensors)
    return Checkpoint(weights.path, weights.files, weights.format, dialect, config, tensors, folded, obstacle)


def _config_file(weights: Path) -> Path:
    """config.json beside the weights, or inside where these are a folder (Orbax's)."""
    inside = weights / CONFIG_NAME
    return inside if inside.exists() else weights.parent / CONFIG_NAME


def _open_preset(weights: Path, config: DistilBertConfig | None) -> Checkpoint:
    """A preset folder of keras-hub as a checkpoint."""
    preset = keras_hub.read_preset(weights)
    config = config or DistilBertConfig.from_dict(preset.data, str(weights.parent / CONFIG_NAME))
    tensors = preset.tensors(config)
    if preset.is_bert:
        tensors, _ = bert.fold_tensors(tensors, preset.data, str(weights))
    return Checkpoint(
        weights=weights,
        files=preset.weights.files,
        format=preset.weights.format,
        dialect=preset.weights.format.dialect,
        config=config,
        tensors=with_one_prefix(tensors, str(weights)),
        folded_bert=preset.is_bert,
        obstacle=preset.obstacle,
        difference=preset.difference,
    )


def _read_config(path: Path, needed: bool) -> Mapping[str, Any]:
    if not path.exists():
        if needed:
            raise FileError(f"{path}: missing; a checkpoint needs its config.json beside the weights")
        return {}
    data = read_json(path)
    family = data.get("model_type", MODEL_TYPE)
    if family not in (MODEL_TYPE, bert.MODEL_TYPE):
        raise ConfigError(f"{path}: model_type: expected {MODEL_TYPE!r} or {bert.MODEL_TYPE!r}, found {family!r}")
    return data
