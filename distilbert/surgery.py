# SPDX-License-Identifier: Apache-2.0
"""Changes of a model's shape, on NumPy tensors by canonical name, the same for every framework."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert import spec
from distilbert.config import DistilBertConfig
from distilbert.convert.tensor import Array
from distilbert.initialization import initial_tensors


def resize(
    config: DistilBertConfig, task: str, tensors: Mapping[str, Array], seed: int, **changes: Any
) -> tuple[DistilBertConfig, dict[str, Array]]:
    """The model with another `vocab_size` or `max_position_embeddings`: common rows are kept, new ones are drawn."""
    config = config.replace(**changes)
    resized = dict(tensors)
    for name, tensor in spec.tensors(config, task).items():
        old = tensors[name]
        if old.shape != tensor.shape:
            new = initial_tensors(config, [tensor], seed)[name].astype(old.dtype)
            rows = min(len(old), len(new))
            new[:rows] = old[:rows]
            resized[name] = new
    return config, resized


def prune_heads(
    config: DistilBertConfig, task: str, tensors: Mapping[str, Array], heads: Mapping[int, Iterable[int]]
) -> tuple[DistilBertConfig, dict[str, Array]]:
    """The model without some attention heads: rows of q, k and v and columns of the output projection go."""
    before = config.pruned_heads
    merged = {layer: (*before.get(layer, ()), *heads.get(layer, ())) for layer in {*before, *heads}}
    config = config.replace(pruned_heads=merged)
    pruned = dict(tensors)
    for layer in heads:
        left = [head for head in range(config.n_heads) if head not in before.get(layer, ())]
        kept = [place for place, head in enumerate(left) if head not in config.pruned_heads.get(layer, ())]
        rows = _rows_of(kept, config)
        for name, axis in _head_tensors(task, layer).items():
            pruned[name] = np.ascontiguousarray(np.take(tensors[name], rows, axis))
    return config, pruned


def restore_heads(
    config: DistilBertConfig, task: str, tensors: Mapping[str, Array]
) -> tuple[DistilBertConfig, dict[str, Array]]:
    """The same model in its full shape: heads that were pruned are there again, and add nothing, being all zeros."""
    whole = config.replace(pruned_heads={})
    restored = dict(tensors)
    shapes = spec.tensors(whole, task)
    for layer, gone in config.pruned_heads.items():
        rows = _rows_of([head for head in range(config.n_heads) if head not in gone], config)
        for name, axis in _head_tensors(task, layer).items():
            restored[name] = np.zeros(shapes[name].shape, tensors[name].dtype)
            restored[name][(slice(None),) * axis + (rows,)] = tensors[name]
    return whole, restored


def _rows_of(heads: Iterable[int], config: DistilBertConfig) -> NDArray[np.int64]:
    return np.concatenate([np.arange(config.head_dim) + head * config.head_dim for head in heads])


def _head_tensors(task: str, layer: int) -> dict[str, int]:
    """The tensors that heads have a part of, and along which axis."""
    path = f"{spec.TASKS[task].prefix}transformer.layer.{layer}.attention."
    of_inputs = [f"{path}{linear}.{leaf}" for linear in ("q_lin", "k_lin", "v_lin") for leaf in ("weight", "bias")]
    return {**dict.fromkeys(of_inputs, 0), f"{path}out_lin.weight": 1}
