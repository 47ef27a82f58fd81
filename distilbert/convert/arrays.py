# SPDX-License-Identifier: Apache-2.0
"""Large arrays seen as bits: comparing and turning them, several times faster than NumPy does in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.convert.tensor import Array

_BLOCK = 1 << 17  # values compared at a time: both sides stay in a processor's cache
_ROWS, _COLUMNS = 1024, 8  # of a matrix turned at a time: NumPy's own loop misses the cache at every value


def same_bits(one: Array, other: Array) -> bool:
    """Whether two arrays are equal bit by bit, whatever their order in memory: NaN equals NaN, 0 differs from -0."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.flags.f_contiguous and other.flags.f_contiguous:
        one, other = one.T, other.T
    left, right = (_bits(c_ordered(values)).reshape(-1) for values in (one, other))
    steps = range(0, left.size, _BLOCK)
    return all(np.array_equal(left[start : start + _BLOCK], right[start : start + _BLOCK]) for start in steps)


def c_ordered(values: Array) -> Array:
    """The same values with each row in one piece: the array itself, or a copy of one that is ordered by columns."""
    if values.flags.c_contiguous:
        return values
    if values.ndim != 2:
        return np.ascontiguousarray(values)
    copy = np.empty(values.shape, values.dtype)
    source, target = _bits(values), _bits(copy)
    for top in range(0, len(values), _ROWS):
        for left in range(0, values.shape[1], _COLUMNS):
            block = slice(top, top + _ROWS), slice(left, left + _COLUMNS)
            target[block] = source[block]
    return copy


def _bits(values: Array) -> NDArray[np.unsignedinteger[Any]]:
    """The array seen as whole numbers, so that no value is compared or copied as a number, whatever its type."""
    return values.view(f"u{values.dtype.itemsize}")
