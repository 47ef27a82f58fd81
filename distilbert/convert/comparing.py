# SPDX-License-Identifier: Apache-2.0
"""Whether two arrays hold the same bits, in one pass and with little memory."""

from __future__ import annotations

import numpy as np

from distilbert.convert.tensor import Array

_BLOCK = 1 << 19  # bytes compared at a time: small enough to stay in a processor's cache


def same_bits(one: Array, other: Array) -> bool:
    """Whether two arrays are equal bit by bit, whatever their order in memory: NaN equals NaN, 0 differs from -0."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.flags.c_contiguous and other.flags.c_contiguous:
        return _same_bits(one, other)
    if one.flags.f_contiguous and other.flags.f_contiguous:
        return _same_bits(one.T, other.T)
    return all(_same_bits(np.ascontiguousarray(a), np.ascontiguousarray(b)) for a, b in _tiles(one, other))
