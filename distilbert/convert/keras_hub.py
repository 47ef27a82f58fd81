# SPDX-License-Identifier: Apache-2.0
"""A preset folder of keras-hub read as a checkpoint: its configuration, and its tensors by canonical name.

A DistilBERT of keras-hub computes what DistilBERT does, but for the head of its masked language model, which has
another epsilon: who reads it is told so. The encoder of its BERT, which approximates GELU, folds as any BERT does
(`bert.py`); the heads do not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilbert import spec
from distilbert.config import CONFIG_NAME, MODEL_TYPE, DistilBertConfig
from distilbert.convert.formats import KERAS_HUB
from distilbert.convert.naming import by_name
from distilbert.convert.tensor import Array, StoredTensor
from distilbert.convert.weights import StoredWeights
from distilbert.errors import ConfigError, describe
from distilbert.files import read_json
from distilbert.spec import TensorSpec

TASK_FILE, TASK_WEIGHTS, METADATA_FILE = "task.json", "task.weights.h5", "metadata.json"
PREPROCESSOR_FILE = "preprocessor.json"  # of the task too
OWN_CONFIG = "distilbert_config"  # our config.json inside metadata.json: labels and other things keras-hub has not
EPSILON = (
    "keras-hub's masked language model normalises with an epsilon of 1e-5 in its head, DistilBERT with 1e-12, "
    "so its logits differ by about 1e-5 of the largest one"
)
OBSTACLES = {
    "sequence-classification": "BERT's classifier reads a pooled token (tanh), DistilBERT's a pre-classifier (ReLU)",
    "masked-lm": "keras-hub's BERT approximates GELU in its layers but not in this head",
}

_BACKBONES = {"DistilBertBackbone": "DistilBert", "BertBackbone": "Bert"}
_APPROXIMATE_GELU = "gelu_pytorch_tanh"  # as the layers of keras-hub's BERT compute
_TASKS = {"TextClassifier": "sequence-classification", "MaskedLM": "masked-lm"}
_FIELDS = {
    "vocab_size": "vocabulary_size",
    "n_layers": "num_layers",
    "n_heads": "num_heads",
    "dim": "hidden_dim",
    "hidden_dim": "intermediate_dim",
    "max_position_embeddings": "max_sequence_length",
    "dropout": "dropout",
    "attention_dropout": "dropout",
}
# What the layers of BERT that come before its blocks are called here; the pooler has no part in a DistilBERT.
_BERT_LAYERS = {
    "layers/reversible_embedding/vars/0": "embeddings.word_embeddings.weight",
    "layers/position_embedding/vars/0": "embeddings.position_embeddings.weight",
    "layers/embedding/vars/0": "embeddings.token_type_embeddings.weight",
    "layers/dense/vars/0": "pooler.dense.weight",
    "layers/dense/vars/1": "pooler.dense.bias",
}


@dataclass(frozen=True)
class Preset:
    """A preset folder, its weights not yet read.

    Attributes:
        is_bert: whether it is a BERT, to be folded.
        task: which of our models its head makes it.
        data: the config.json that a DistilBERT would have.
        weights: both files of weights, the backbone's tensors by the names of keras-hub.
        head: the tensors of the head by the names of keras-hub.
        obstacle: why its head cannot be used, or None.
        difference: how its head computes otherwise than ours, or None.
    """

    is_bert: bool
    task: str
    data: dict[str, Any]
    weights: StoredWeights
    head: dict[str, StoredTensor]
    obstacle: str | None
    difference: str | None

    def tensors(self, config: DistilBertConfig) -> dict[str, StoredTensor]:
        """The tensors by canonical name, without prefix; those that have no place keep the names of keras-hub."""
        encoder = spec.tensors(config, "encoder").values()
        head = [tensor for tensor in spec.tensors(config, self.task).values() if spec.is_head_tensor(tensor.name)]
        table = {spec.native_name(tensor, KERAS_HUB.dialect): tensor for tensor in encoder}
        backbone = self.weights.tensors
        found = []
        if self.is_bert:
            found = [(name, backbone[name].renamed(ours)) for name, ours in _BERT_LAYERS.items() if name in backbone]
            backbone = {name: tensor for name, tensor in backbone.items() if name not in _BERT_LAYERS}
        found += _canonical(backbone, table, config)
        found += _canonical(self.head, {spec.native_name(tensor, KERAS_HUB.dialect): tensor for tensor in head}, config)
        return by_name(found, str(self.weights.path))


def find_preset(path: Path) -> Path | None:
    """The backbone's weights if `path` is a preset folder (config.json decides) or these weights."""
    weights = path / KERAS_HUB.file_name if path.is_dir() else path
    if weights.name != KERAS_HUB.file_name or not weights.is_file():
        return None
    config = weights.parent / CONFIG_NAME
    return None if config.exists() and "model_type" in read_json(config) else weights


def read_preset(weights: Path) -> Preset:
    """Read the headers of a preset.

    Raises:
        FileError, WeightsError: a file is missing or damaged.
        ConfigError: lists what is no DistilBERT and no BERT.
    """
    folder = weights.parent
    backbone, fields = _serialized(folder / CONFIG_NAME, _BACKBONES)
    data = _distilbert_config(folder / CONFIG_NAME, fields)
    family = _BACKBONES[backbone]
    task = "encoder"
    head: dict[str, StoredTensor] = {}
    answer: dict[str, Any] = {}
    files = [weights]
    if (folder / TASK_FILE).exists():
        name, answer = _serialized(folder / TASK_FILE, [family + task for task in _TASKS])
        task = _TASKS[name.removeprefix(family)]
        files.append(folder / TASK_WEIGHTS)
        head = KERAS_HUB.codec.read(folder / TASK_WEIGHTS).tensors
    is_bert = family == "Bert"
    if is_bert:
        data["activation"] = _APPROXIMATE_GELU
    if task == "sequence-classification":
        data |= _classifier_config(folder / TASK_FILE, answer)
    data["architectures"] = [spec.TASKS[task].class_name]
    stored = StoredWeights(weights, tuple(files), KERAS_HUB, KERAS_HUB.codec.read(weights).tensors)
    obstacle = OBSTACLES.get(task) if is_bert else None
    return Preset(
        is_bert=is_bert,
        task=task,
        data=_with_own_config(folder, data),
        weights=stored,
        head={} if obstacle else head,
        obstacle=obstacle,
        difference=None if obstacle else _difference(task, answer),
    )


def _serialized(path: Path, classes: Collection[str]) -> tuple[str, dict[str, Any]]:
    """Class name and configuration of an object that Keras wrote down."""
    value = read_json(path)
    name, fields = value.get("class_name"), value.get("config")
    if not isinstance(name, str) or name not in classes or not isinstance(fields, dict):
        raise ConfigError(
            f"{path}: class_name: expected one of {', '.join(classes)} with its config, as keras-hub writes it; "
            f"found {name!r:.80}"
        )
    return name, fields


def _distilbert_config(path: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    missing = sorted({name for name in _FIELDS.values() if name not in fields})
    if missing:
        raise ConfigError(describe(str(path), [f"config.{name}: missing" for name in missing]))
    return {"model_type": MODEL_TYPE, **{ours: fields[theirs] for ours, theirs in _FIELDS.items()}}


def _classifier_config(path: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Labels and dropout of a classifier; its class has been checked, its fields come from the file as they are."""
    missing = [name for name in ("num_classes", "dropout") if name not in fields]
    if missing:
        raise ConfigError(describe(str(path), [f"config.{name}: missing" for name in missing]))
    return {"num_labels": fields["num_classes"], "seq_classif_dropout": fields["dropout"]}


def _difference(task: str, fields: Mapping[str, Any]) -> str | None:
    if task == "masked-lm":
        return EPSILON
    activation = fields.get("activation")
    if activation not in (None, "linear"):
        return f"its answers go through {activation!r:.80}, the logits of a DistilBERT go through nothing"
    return None


def _with_own_config(folder: Path, data: dict[str, Any]) -> dict[str, Any]:
    """The configuration that we wrote beside the preset, unless keras-hub has changed what both know."""
    if not (folder / METADATA_FILE).exists():
        return data
    own = read_json(folder / METADATA_FILE).get(OWN_CONFIG)
    if not isinstance(own, dict) or not isinstance(own.get("id2label"), dict):
        return data
    known = {**own, "num_labels": len(own["id2label"])}
    same = all(known.get(name) == value for name, value in data.items() if name != "attention_dropout")
    return dict(own) if same else data


def _canonical(
    stored: Mapping[str, StoredTensor], table: Mapping[str, TensorSpec], config: DistilBertConfig
) -> list[tuple[str, StoredTensor]]:
    return [
        (name, _turned(tensor, table[name], config) if name in table else tensor) for name, tensor in stored.items()
    ]


def _turned(tensor: StoredTensor, known: TensorSpec, config: DistilBertConfig) -> StoredTensor:
    """The tensor under its name and in PyTorch's orientation; one of another shape only gets the name."""
    if tensor.shape != spec.keras_hub_shape(known, config.head_dim):
        return tensor.renamed(known.name)

    def load() -> Array:
        values = tensor.load()
        return values.reshape(known.shape[::-1]).T if known.transposed else values.reshape(known.shape)

    return StoredTensor(known.name, known.shape, tensor.dtype, load)
