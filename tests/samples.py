# SPDX-License-Identifier: Apache-2.0
"""Small models and calls that all tests share: every size is different, so that no mixed-up axis goes unseen."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import DistilBertConfig, spec
from distilbert.convert import StoredTensor, write_checkpoint
from distilbert.convert.formats import FORMATS

TINY = DistilBertConfig(
    vocab_size=99, dim=32, n_layers=2, n_heads=4, hidden_dim=37, max_position_embeddings=48, num_labels=3
)


def need_packages(*names: str) -> None:
    """Skip a test unless these are installed. They are not imported: OpenVINO forks then, to report that it is used."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")


def task_config(config: DistilBertConfig, task: str) -> DistilBertConfig:
    """The config with a number of labels that the task can have."""
    return config.replace(num_labels=2) if task == "question-answering" else config


def random_tensors(
    config: DistilBertConfig, task: str, std: float = 0.2, dtype: Any = np.float32, seed: int = 0
) -> dict[str, np.ndarray]:
    """Every tensor of a model drawn at random, norms and biases too; the same values in every float type."""
    random = np.random.default_rng(seed)
    tensors = {}
    for name, tensor in spec.tensors(config, task).items():
        values = random.standard_normal(tensor.shape) * std
        if tensor.kind is spec.Kind.NORM and tensor.leaf == "weight":
            values += 1
        tensors[name] = values.astype(np.float32).astype(dtype)
    return tensors


def sample_call(config: DistilBertConfig, task: str, seed: int = 0, batch: int = 3, length: int = 7) -> dict[str, Any]:
    """A batch with padding at the end of one row and at the start of another, positions to match, and labels."""
    random = np.random.default_rng(seed)
    rows = batch * (2 if task == "multiple-choice" else 1)
    ids = random.integers(1, config.vocab_size, (rows, length))
    mask = np.ones((rows, length), np.int64)
    mask[0, length - 2 :] = 0
    mask[-1, :2] = 0
    positions = np.tile(np.arange(length), (rows, 1))
    positions[-1] = np.maximum(positions[-1] - 2, 0)
    call: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    if task == "multiple-choice":
        call = {name: values.reshape(batch, 2, length) for name, values in call.items()}
        call["labels"] = random.integers(0, 2, batch)
    if task == "masked-lm":
        call["labels"] = np.where(random.random((rows, length)) < 0.4, ids, -100)
    if task == "sequence-classification":
        call["labels"] = random.integers(0, config.num_labels, rows)
    if task == "token-classification":
        call["labels"] = np.where(mask == 1, random.integers(0, config.num_labels, (rows, length)), -100)
    if task == "question-answering":
        call["start_positions"] = random.integers(0, length, rows)
        call["end_positions"] = random.integers(0, length, rows)
    return call


def write_model(
    folder: Path,
    config: DistilBertConfig,
    task: str,
    tensors: Mapping[str, np.ndarray] | None = None,
    format: str = "safetensors",
    **options: Any,
) -> dict[str, np.ndarray]:
    """Write a checkpoint as a user's `save_pretrained` does; returns its tensors, random ones if none are given."""
    tensors = dict(tensors or random_tensors(config, task))
    stored = {name: StoredTensor.of(name, values) for name, values in tensors.items()}
    write_checkpoint(folder, config, task, stored, format=format, **options)
    return tensors


def write_as_is(
    folder: Path,
    tensors: Mapping[str, np.ndarray],
    config: Mapping[str, Any] | None = None,
    format: str = "safetensors",
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write tensors under exactly these names, as other programs may, and config.json if given; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    row = FORMATS[format]
    stored = [StoredTensor.of(name, values) for name, values in tensors.items()]
    row.codec.write(folder / row.file_name, stored, metadata or {})
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder
