# SPDX-License-Identifier: Apache-2.0
"""The layers of the models as small Flax NNX modules; no model here.

They stand in for the layers of `flax.nnx`, which draw random values that loading would throw away, return NaN for an id
out of range, and carry a dozen settings each through every compiled call. Parameters have the same names. None of them
holds random state: dropout takes its key from the call, and does nothing without one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax

from distilbert.flax.dropout_bits import mixed_key, random_bits
from distilbert.flax.products import half_attend, half_matmul
from distilbert.reference import LAYER_NORM_EPS


class Linear(nnx.Module):
    """x (..., in) -> (..., out).

    Attributes:
        half_products: round the factors of the product to bfloat16.
    """

    half_products = False

    def __init__(self, in_features: int, out_features: int) -> None:
        self.kernel = empty_parameter(in_features, out_features)
        self.bias = empty_parameter(out_features)

    def __call__(self, x: Array) -> Array:
        product = half_matmul if self.half_products else jnp.matmul
        return add_bias(product(x, self.kernel[...]), self.bias[...])


class Embedding(nnx.Module):
    """Rows of a table by ids (...): (..., D). An id out of range gives the nearest row.

    The row `padding_idx` gets no gradient, and with `trained=False` none does; then the table is a plain Variable, so
    that optimisers over `nnx.Param` leave it alone.

    Attributes:
        half_products: round the factors of the products to bfloat16.
    """

    half_products = False

    def __init__(self, num_embeddings: int, dim: int, *, padding_idx: int | None = None, trained: bool = True) -> None:
        self.embedding = empty_parameter(num_embeddings, dim, kind=nnx.Param if trained else nnx.Variable)
        self.padding_idx = padding_idx
        self.trained = trained

    def __call__(self, ids: Array) -> Array:
        rows = jnp.take(self.embedding[...], ids, axis=0, mode="clip")  # (..., D)
        if not self.trained:
            return lax.stop_gradient(rows)
        if self.padding_idx is None:
            return rows
        padding = jnp.expand_dims(ids == self.padding_idx, -1)  # (..., 1)
        return jnp.where(padding, lax.stop_gradient(rows), rows)

    def attend(self, x: Array) -> Array:
        """Products of x (..., D) with every row (N, D): (..., N), without a transposed copy of the table."""
        table = self.embedding[...]
        if self.half_products:
            return half_attend(x, table)
        return lax.dot_general(x, table, (((x.ndim - 1,), (1,)), ((), ())))


class LayerNorm(nnx.Module):
    """x (..., D) with mean 0 and variance 1 along D, in float32 or better, then scaled and shifted."""

    def __init__(self, dim: int) -> None:
        self.scale = empty_parameter(dim)
        self.bias = empty_parameter(dim)

    def __call__(self, x: Array) -> Array:
        wide = at_least_float32(x)
        centered = wide - wide.mean(-1, keepdims=True)
        variance = jnp.square(centered).mean(-1, keepdims=True)
        normal = centered / jnp.sqrt(variance + LAYER_NORM_EPS)
        scale = jnp.expand_dims(at_least_float32(self.scale[...]), range(x.ndim - 1))
        return add_bias(normal * scale, at_least_float32(self.bias[...])).astype(x.dtype)


class Dropout(nnx.Module):
    """Sets a share of the numbers to zero and scales up the others, when there is a key."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, x: Array, dropout_rng: Array | None) -> Array:
        drop = dropout_function(self.rate, dropout_rng)
        return x if drop is None else drop(x)


def dropout_function(rate: float, dropout_rng: Array | None) -> Callable[[Array], Array] | None:
    """Dropout with this rate and key as a function, or None where it changes nothing."""
    return None if rate == 0 or dropout_rng is None else functools.partial(_drop, rate, dropout_rng)


def _drop(rate: float, dropout_rng: Array, x: Array) -> Array:
    kept = random_bits(dropout_rng, x.shape) >= np.uint32(round(rate * 2**32))
    return jnp.where(kept, x / (1 - rate), 0)


def subkey(dropout_rng: Array | None, number: int) -> Array | None:
    """One of the independent keys that follow from a key; none from none."""
    return None if dropout_rng is None else mixed_key(dropout_rng, number)


def empty_parameter(*shape: int, kind: type[nnx.Variable[Any]] = nnx.Param) -> Any:
    """A parameter whose values come later."""
    return kind(jax.ShapeDtypeStruct(shape, jnp.float32))


def add_bias(x: Array, bias: Array) -> Array:
    """x (..., N) plus bias (N,)."""
    return x + jnp.expand_dims(bias, range(x.ndim - 1))


def at_least_float32(x: Array) -> Array:
    """Half-precision numbers as float32, others as they are."""
    return x.astype(wide_dtype(x.dtype))


def wide_dtype(dtype: Any) -> Any:
    """The float type that sums, norms, softmaxes and losses are computed in for numbers of this one."""
    return jnp.float64 if dtype == jnp.float64 else jnp.float32
