# SPDX-License-Identifier: Apache-2.0
"""Logits to probabilities, in float64: the frameworks' answers differ by rounding, what is made of them must not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

_TINY = 1e-12  # a shorter vector is divided by this instead of by its length


def softmax(logits: NDArray[Any]) -> Numbers:
    """Along the last axis."""
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max(-1, keepdims=True))
    probabilities: Numbers = powers / powers.sum(-1, keepdims=True)
    return probabilities


def sigmoid(logits: NDArray[Any]) -> Numbers:
    """Each number for itself, without overflow."""
    wide = logits.astype(np.float64)
    power = np.exp(-np.abs(wide))
    probabilities: Numbers = np.where(wide >= 0, 1, power) / (1 + power)
    return probabilities


def unchanged(logits: NDArray[Any]) -> Numbers:
    """As they are."""
    return logits.astype(np.float64)


def unit(vectors: NDArray[Any]) -> Numbers:
    """Vectors (..., D) of length 1, but those of zeros."""
    wide = vectors.astype(np.float64)
    directions: Numbers = wide / np.maximum(np.linalg.norm(wide, axis=-1, keepdims=True), _TINY)
    return directions


def largest(scores: Numbers, count: int | None) -> list[int]:
    """The places of the `count` largest of (N,), largest first; of equal ones, the one that comes first."""
    if count is not None and count < len(scores) // 8:  # few of many: look at those only, and at what equals the last
        floor = np.partition(scores, -count)[-count]
        candidates = np.flatnonzero(scores >= floor)
    else:
        candidates = np.arange(len(scores))
    order = candidates[np.argsort(-scores[candidates], kind="stable")]
    places: list[int] = order[:count].tolist()
    return places
