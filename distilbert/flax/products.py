# SPDX-License-Identifier: Apache-2.0
"""Products of bfloat16 matrices with float32 sums, forward and backward, in the forms that XLA computes fast on CPUs.

XLA has a fast product of this kind where the left matrix is stored row by row. That of a weight's gradient is not, so
it is laid out anew.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental.layout import Layout, with_layout_constraint


@jax.custom_vjp
def half_matmul(x: Array, matrix: Array) -> Array:
    """x (..., N) @ (N, M), the factors rounded to bfloat16, summed in float32: (..., M)."""
    return _forward(x, matrix)[0]


def _forward(x: Array, matrix: Array) -> tuple[Array, tuple[Array, Array]]:
    x, matrix = x.astype(jnp.bfloat16), matrix.astype(jnp.bfloat16)
    return _product(x, matrix, 0), (x, matrix)


def _backward(factors: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, matrix = factors
    gradient = gradient.astype(jnp.bfloat16)
    return _product(gradient, matrix, 1), _product(_columns(x), _rows(gradient), 0)


@jax.custom_vjp
def half_attend(x: Array, table: Array) -> Array:
    """The same with a table that is not transposed: x (..., N) with (M, N): (..., M)."""
    return _attend_forward(x, table)[0]


def _attend_forward(x: Array, table: Array) -> tuple[Array, tuple[Array, Array]]:
    x, table = x.astype(jnp.bfloat16), table.astype(jnp.bfloat16)
    return _product(x, table, 1), (x, table)


def _attend_backward(factors: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, table = factors
    gradient = gradient.astype(jnp.bfloat16)
    return _product(gradient, table, 0), _product(_columns(gradient), _rows(x), 0)


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _columns(x: Array) -> Array:
    """The transposed rows, stored row by row."""
    return with_layout_constraint(_rows(x).T, Layout((0, 1)))


def _product(x: Array, matrix: Array, axis: int) -> Array:
    dimensions = (((x.ndim - 1,), (axis,)), ((), ()))
    return lax.dot_general(x, matrix, dimensions, preferred_element_type=jnp.float32)


half_matmul.defvjp(_forward, _backward)
half_attend.defvjp(_attend_forward, _attend_backward)
