# SPDX-License-Identifier: Apache-2.0
"""Changes of a model's shape, on NumPy tensors by canonical name, the same for every framework."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

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
        rows = np.concatenate([np.arange(config.head_dim) + place * config.head_dim for place in kept])
        path = f"{spec.TASKS[task].prefix}transformer.layer.{layer}.attention."
        for linear in ("q_lin", "k_lin", "v_lin"):
            for leaf in ("weight", "bias"):
                pruned[f"{path}{linear}.{leaf}"] = np.ascontiguousarray(tensors[f"{path}{linear}.{leaf}"][rows])
        pruned[f"{path}out_lin.weight"] = np.ascontiguousarray(tensors[f"{path}out_lin.weight"][:, rows])
    return config, pruned
