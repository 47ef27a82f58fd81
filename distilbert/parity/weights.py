# SPDX-License-Identifier: Apache-2.0
"""Are two sets of weights the same, bit by bit, and if not, which of them differ and by how much?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from distilbert.convert.arrays import same_bits
from distilbert.convert.tensor import Array


@dataclass(frozen=True)
class WeightDifference:
    """A tensor that differs: how, by how much at most (absolute, where that can be said), and whether in its shape."""

    name: str
    problem: str
    largest: float | None = None
    misshapen: bool = False


@dataclass(frozen=True)
class WeightsComparison:
    """How the weights of `subject` (a framework or a checkpoint) compare with those that were verified."""

    subject: str
    tensors: int
    differences: tuple[WeightDifference, ...]

    @property
    def ok(self) -> bool:
        """Whether every tensor is the same, bit by bit."""
        return not self.differences

    @property
    def misshapen(self) -> bool:
        """Whether the tensors are not even of one model: some are missing, or of another shape."""
        return any(found.misshapen for found in self.differences)


def compare_weights(subject: str, found: Mapping[str, Array], expected: Mapping[str, Array]) -> WeightsComparison:
    """Compare tensors by name: shape, float type and every bit."""
    names = [*expected, *(name for name in found if name not in expected)]
    differences = [_difference(name, found.get(name), expected.get(name)) for name in names]
    return WeightsComparison(subject, len(names), tuple(one for one in differences if one is not None))


def _difference(name: str, found: Array | None, expected: Array | None) -> WeightDifference | None:
    if found is None or expected is None:
        return WeightDifference(name, "missing" if found is None else "not expected", misshapen=True)
    if found.shape != expected.shape:
        return WeightDifference(name, f"shape {found.shape}, expected {expected.shape}", misshapen=True)
    if same_bits(np.asarray(found, order="C"), np.asarray(expected, order="C")):
        return None
    same_type = found.dtype == expected.dtype
    problem = "values" if same_type else f"{found.dtype}, expected {expected.dtype}"
    return WeightDifference(name, problem, _largest(found, expected))


def _largest(found: Array, expected: Array) -> float | None:
    with np.errstate(all="ignore"):
        largest: Any = np.abs(found.astype(np.float64) - expected.astype(np.float64)).max()
    return float(largest) if np.isfinite(largest) else None
