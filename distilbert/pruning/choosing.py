# SPDX-License-Identifier: Apache-2.0
"""Which heads go: the least important ones of all layers, but never the last one of a layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from distilbert.config import DistilBertConfig
from distilbert.errors import InputError
from distilbert.pruning.importance import HeadImportance

Heads = dict[int, tuple[int, ...]]


def head_count(config: DistilBertConfig, heads: int | None, fraction: float | None) -> int:
    """How many heads are to go.

    Args:
        config: of the model.
        heads: so many; or
        fraction: this share of those that are there.

    Raises:
        InputError: these are none, or more than can go.
    """
    present = sum(config.heads_in_layer(layer) for layer in range(config.n_layers))
    count = heads if heads is not None else round((fraction or 0.0) * present)
    if not 1 <= count <= present - config.n_layers:
        name, given = ("heads", heads) if heads is not None else ("fraction", fraction)
        raise InputError(
            f"{name}: the model has {present} heads in {config.n_layers} layers, each of which keeps one; "
            f"expected 1 to {present - config.n_layers} heads to prune, found {count} ({name} {given})"
        )
    return count


def least_important(importance: HeadImportance, count: int) -> Heads:
    """The heads to prune, by layer."""
    layers, heads = importance.scores.shape
    left = {layer: heads - len(importance.pruned.get(layer, ())) for layer in range(layers)}
    chosen: list[tuple[int, int]] = []
    for layer, head in importance.ranking():
        if len(chosen) < count and left[layer] > 1:
            left[layer] -= 1
            chosen.append((layer, head))
    return {layer: tuple(sorted(head for row, head in chosen if row == layer)) for layer in sorted(dict(chosen))}


def together(some: Mapping[int, Iterable[int]], more: Mapping[int, Iterable[int]]) -> Heads:
    """The heads of both."""
    return {layer: tuple(sorted({*some.get(layer, ()), *more.get(layer, ())})) for layer in sorted({*some, *more})}


def round_counts(count: int, rounds: int) -> list[int]:
    """How many heads go in each round: as evenly as can be, and none without any."""
    return [len(part) for part in np.array_split(np.arange(count), min(rounds, count))]
