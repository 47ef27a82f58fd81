# SPDX-License-Identifier: Apache-2.0
"""Writing a model as a preset folder of keras-hub, which its `from_preset` reads."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distilbert import spec
from distilbert.config import CONFIG_NAME, DistilBertConfig
from distilbert.convert.arrays import c_ordered
from distilbert.convert.formats import KERAS_HUB
from distilbert.convert.keras_hub import EPSILON, METADATA_FILE, OWN_CONFIG, PREPROCESSOR_FILE, TASK_FILE, TASK_WEIGHTS
from distilbert.convert.tensor import Array, StoredTensor
from distilbert.errors import ConfigError, describe
from distilbert.files import atomic_write, write_json
from distilbert.spec import TensorSpec

_EXACT_GELU = ("gelu", "gelu_python")
_MODULE = "keras_hub.src.models.distil_bert"


def serialized(module: str, name: str, class_name: str, **fields: Any) -> dict[str, Any]:
    """An object in the form in which Keras writes it down."""
    return {
        "module": f"{_MODULE}.{module}",
        "class_name": class_name,
        "config": {"name": name, **fields},
        "registered_name": f"keras_hub>{class_name}",
    }


def policy(dtype: str) -> dict[str, Any]:
    """A float type (or int32, for a tokenizer) in the form in which Keras writes it down."""
    return {"module": "keras", "class_name": "DTypePolicy", "config": {"name": dtype}, "registered_name": None}


def write_preset(
    folder: Path, config: DistilBertConfig, task: str, tensors: Sequence[StoredTensor], dtype: str | None
) -> list[Path]:
    """Write a preset without a tokenizer; every file appears whole or not at all.

    Args:
        folder: made if it does not exist.
        config, task: what the model is.
        tensors: by canonical name, in PyTorch's orientation; all that `spec.tensors(config, task)` lists.
        dtype: their float type, None if they have several.

    Returns:
        The weights files.

    Raises:
        ConfigError: lists everything that keras-hub's models cannot compute.
    """
    _check(config, task)
    folder.mkdir(parents=True, exist_ok=True)
    head = [tensor for tensor in tensors if spec.is_head_tensor(tensor.name)]
    backbone_tensors = [tensor for tensor in tensors if not spec.is_head_tensor(tensor.name)]
    files = [_write_weights(folder / KERAS_HUB.file_name, config, task, backbone_tensors)]
    for stale in (TASK_FILE, TASK_WEIGHTS, PREPROCESSOR_FILE):
        (folder / stale).unlink(missing_ok=True)
    backbone = _backbone(config, dtype or "float32")
    if head:
        files.append(_write_weights(folder / TASK_WEIGHTS, config, task, head))
        write_json(folder / TASK_FILE, _task(config, task, backbone))
    write_json(folder / CONFIG_NAME, backbone)
    write_json(folder / METADATA_FILE, {OWN_CONFIG: _own_config(config, task, dtype)})
    if task == "masked-lm":
        warnings.warn(f"{folder}: {EPSILON}", stacklevel=4)
    return files


def _check(config: DistilBertConfig, task: str) -> None:
    problems = []
    if task not in spec.KERAS_HUB_TASKS:
        problems.append(f"task: keras-hub has DistilBERT for {', '.join(spec.KERAS_HUB_TASKS)}; found {task}")
    if config.activation not in _EXACT_GELU:
        problems.append(f"activation: keras-hub's DistilBERT computes 'gelu', found {config.activation!r}")
    if config.pruned_heads:
        problems.append("pruned_heads: all layers have the same number of heads in keras-hub")
    if task == "masked-lm" and not config.tie_word_embeddings:
        problems.append("tie_word_embeddings: always true in keras-hub, found false")
    if problems:
        raise ConfigError(describe("keras-hub cannot hold this model", problems))


def _write_weights(path: Path, config: DistilBertConfig, task: str, tensors: Sequence[StoredTensor]) -> Path:
    specs = spec.tensors(config, task)
    with atomic_write(path) as temporary:
        KERAS_HUB.codec.write(temporary, [_turned(tensor, specs[tensor.name], config) for tensor in tensors], {})
    return path


def _turned(tensor: StoredTensor, known: TensorSpec, config: DistilBertConfig) -> StoredTensor:
    shape = spec.keras_hub_shape(known, config.head_dim)

    def load() -> Array:
        values = tensor.load()
        return c_ordered(values.T if known.transposed else values).reshape(shape)

    return StoredTensor(spec.native_name(known, KERAS_HUB.dialect), shape, tensor.dtype, load)


def _backbone(config: DistilBertConfig, dtype: str) -> dict[str, Any]:
    return serialized(
        "distil_bert_backbone",
        "distil_bert_backbone",
        "DistilBertBackbone",
        trainable=True,
        dtype=policy(dtype),
        vocabulary_size=config.vocab_size,
        num_layers=config.n_layers,
        num_heads=config.n_heads,
        hidden_dim=config.dim,
        intermediate_dim=config.hidden_dim,
        dropout=config.dropout,
        max_sequence_length=config.max_position_embeddings,
    )


def _task(config: DistilBertConfig, task: str, backbone: dict[str, Any]) -> dict[str, Any]:
    if task == "masked-lm":
        return serialized(
            "distil_bert_masked_lm", "distil_bert_masked_lm", "DistilBertMaskedLM", backbone=backbone, preprocessor=None
        )
    return serialized(
        "distil_bert_text_classifier",
        "distil_bert_text_classifier",
        "DistilBertTextClassifier",
        backbone=backbone,
        preprocessor=None,
        num_classes=config.num_labels,
        activation="linear",
        hidden_dim=config.dim,
        dropout=config.seq_classif_dropout,
    )


def _own_config(config: DistilBertConfig, task: str, dtype: str | None) -> dict[str, Any]:
    return config.replace(architectures=(spec.TASKS[task].class_name,), dtype=dtype).to_dict()
