# SPDX-License-Identifier: Apache-2.0
"""Comparing and turning large arrays by blocks gives what NumPy gives in one call."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from distilbert.convert.arrays import c_ordered, same_bits

SHAPES = [
    (),
    (0,),
    (5,),
    (0, 3),
    (3, 0),
    (1, 1),
    (7, 9),
    (1024, 8),
    (1025, 9),
    (3000, 17),
    (9, 3000),
    (1, 300_000),
    (4, 5, 6),
]
DTYPES = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16]


def random_bits(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Every pattern of bits, NaN of all kinds among them."""
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(np.random.default_rng(0).bytes(nbytes), dtype).reshape(shape).copy()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_order_in_memory_changes_and_nothing_else(shape: tuple[int, ...], dtype: type) -> None:
    values = random_bits(shape, dtype)
    for view in (values, np.asfortranarray(values), np.asfortranarray(values)[::-1] if shape else values):
        turned = c_ordered(view)
        assert turned.flags.c_contiguous
        assert (turned.shape, turned.dtype) == (view.shape, view.dtype)
        assert turned.tobytes() == view.tobytes()
        assert same_bits(turned, view)


def test_an_array_in_order_is_not_copied() -> None:
    values = np.ones((3, 4), np.float32)
    assert c_ordered(values) is values


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if np.prod(shape)], ids=str)
@pytest.mark.parametrize("place", [0, -1])
def test_one_other_bit_is_seen_wherever_it_is(shape: tuple[int, ...], place: int) -> None:
    values = random_bits(shape, np.float32)
    other = values.copy()
    other.reshape(-1).view(np.uint32)[place] ^= 1
    for one in (values, np.asfortranarray(values)):
        for two in (other, np.asfortranarray(other)):
            assert not same_bits(one, two)


def test_equal_numbers_are_not_equal_bits() -> None:
    assert not same_bits(np.array([0.0]), np.array([-0.0]))
    assert same_bits(np.array([np.nan]), np.array([np.nan]))
    assert not same_bits(np.zeros(2, np.float32), np.zeros(2, np.float64))
    assert not same_bits(np.zeros(2, np.float16), np.zeros(2, ml_dtypes.bfloat16))
    assert not same_bits(np.zeros((2, 3)), np.zeros((3, 2)))
    assert not same_bits(np.zeros((2, 3)), np.zeros(6))
