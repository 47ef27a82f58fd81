# SPDX-License-Identifier: Apache-2.0
"""Layers for inference in JAX: the products of linear layers and attention, in the forms that XLA computes fastest.

On a CPU these are products with the weights on the left, so that vectors stand in columns: features first, tokens last.
Half-precision factors are multiplied into float32 sums: XLA has fast products of that kind where the CPU has, while one
that rounds its sums to half precision is slower than one in float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from distilbert.flax.activations import ACTIVATIONS


class Layer:
    """A pytree: its arrays and layers are passed to compiled code, the attributes in `static` are part of that code.

    So programs hold no weights, and models of the same shapes share them.
    """

    static: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        jax.tree_util.register_pytree_node(cls, cls._flatten, cls._unflatten)

    def _flatten(self) -> tuple[list[Any], tuple[tuple[str, ...], tuple[Any, ...]]]:
        names = tuple(name for name in vars(self) if name not in self.static)
        return [getattr(self, name) for name in names], (names, tuple(getattr(self, name) for name in self.static))

    @classmethod
    def _unflatten(cls, kept: tuple[tuple[str, ...], tuple[Any, ...]], values: Iterable[Any]) -> Self:
        layer = cls.__new__(cls)
        vars(layer).update(zip(kept[0], values, strict=True))
        vars(layer).update(zip(cls.static, kept[1], strict=True))
        return layer


class Linear(Layer):
    """x (in, N) -> (out, N): products of numbers of the weight's type, summed in the type of x."""

    def __init__(self, weight: Array, bias: Array) -> None:
        self.weight = weight  # (out, in)
        self.bias = bias[:, None]  # (out, 1)

    def __call__(self, x: Array) -> Array:
        product = _product(self.weight, x.astype(self.weight.dtype), x.dtype)  # (out, N)
        return product + self.bias.astype(x.dtype)

    def activated(self, x: Array, activation: str) -> Array:
        """With an activation of the config after it."""
        return ACTIVATIONS[activation](self(x))

    def added(self, x: Array, residual: Array) -> Array:
        """Added to a residual (out, N)."""
        return self(x) + residual


class Int8Linear(Linear):
    """Dynamic quantisation: weights as 8-bit numbers with a scale for each output, inputs with a scale for each token.

    A scale for each token, not for the whole batch, so that no text depends on its neighbours.
    """

    def __init__(self, weight: Array, bias: Array) -> None:
        self.scales = jnp.maximum(jnp.abs(weight).max(1, keepdims=True) / 127, np.finfo(np.float32).tiny)  # (out, 1)
        super().__init__(jnp.round(weight / self.scales).astype(jnp.int8), bias)

    def __call__(self, x: Array) -> Array:
        wide = x.astype(jnp.float32)
        scale = jnp.maximum(jnp.abs(wide).max(0, keepdims=True), 1e-30) / 127  # (1, N)
        quantised = jnp.round(wide / scale).astype(jnp.int8)  # (in, N)
        product = _product(self.weight, quantised, jnp.int32).astype(jnp.float32)  # (out, N)
        return (product * self.scales * scale + self.bias).astype(x.dtype)


def linear(weight: Array, bias: Array, dtype: str) -> Linear:
    """The layer of a weight (out, in) and bias (out,) in float32 for a number format."""
    return Int8Linear(weight, bias) if dtype == "int8" else Linear(weight.astype(dtype), bias)


def segment_mask(segments: Array, dtype: Any) -> Array:
    """What is added to scores (B, 1, T keys, T queries) so that each token looks at its own segment of its row alone.

    Args:
        segments: (B, T), 1, 2, ... for tokens that are looked at; 0 for those that are not, as an attention mask has
            it: in a row of these alone all of them are looked at, alike; -1 where there is no token at all. Where a
            segment is not above 0, tokens look at segment 1.
        dtype: float type of the mask.
    """
    keys, queries = segments[:, :, None], jnp.maximum(segments, 1)[:, None, :]
    # Added to a score the smallest number leaves nothing of it, so that scores with it are equal.
    unseen = jnp.where(keys < 0, -np.inf, float(jnp.finfo(dtype).min)).astype(dtype)
    return jnp.where(keys == queries, jnp.zeros((), dtype), unseen)[:, None]


def attention(q: Array, k: Array, v: Array, mask: Array, on_gpu: bool) -> Array:
    """Scaled dot-product attention by the best kernel at hand; q is scaled already.

    Args:
        q: (B, H, K, T queries).
        k: (B, H, K, T keys).
        v: (B, H, K, T keys).
        mask: as from `segment_mask`.
        on_gpu: whether cuDNN may be used.

    Returns:
        The context (B, H, K, T queries).
    """
    half = q.dtype in (jnp.float16, jnp.bfloat16)
    if on_gpu and half and q.shape == k.shape and q.shape[2] % 8 == 0 and q.shape[2] <= 128 and q.shape[3] % 2 == 0:
        return _cudnn(q, k, v, mask)
    scores = jnp.einsum("bhks,bhkt->bhst", k, q, preferred_element_type=jnp.float32) + mask  # (B, H, T, T)
    # Divided after the second product, which leaves fewer numbers to divide.
    powers = jnp.exp(scores - scores.max(2, keepdims=True))
    context = jnp.einsum("bhks,bhst->bhkt", v, powers.astype(v.dtype), preferred_element_type=jnp.float32)
    return context / powers.sum(2)[:, :, None]


def _cudnn(q: Array, k: Array, v: Array, mask: Array) -> Array:
    """cuDNN's flash attention: float16 or bfloat16, an even number of tokens, heads of 8, 16, ... 128 numbers."""
    q, k, v = (x.transpose(0, 3, 1, 2) for x in (q, k, v))  # (B, T, H, K)
    bias = mask.swapaxes(2, 3).astype(q.dtype)  # (B, 1, T queries, T keys)
    context = jax.nn.dot_product_attention(q, k, v, bias=bias, scale=1.0, implementation="cudnn")  # (B, T, H, K)
    return context.transpose(0, 2, 3, 1)  # (B, H, K, T)


def _product(weight: Array, x: Array, dtype: Any) -> Array:
    return lax.dot_general(weight, x, (((1,), (0,)), ((), ())), preferred_element_type=dtype)
