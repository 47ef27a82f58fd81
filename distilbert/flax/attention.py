# SPDX-License-Identifier: Apache-2.0
"""Scaled dot-product attention in JAX: one plain implementation and the fast kernels that equal it.

Every implementation takes q, k, v (B, H, T, K), an additive mask that broadcasts to (B, H, T, T) or None, a head mask
that broadcasts to (B, H, T, T) or None, and dropout as a function or None; it returns the context (B, H, T, K) and the
attention probabilities (B, H, T, T). Fast kernels return None for these, so a caller who wants them uses `eager`. Where
first tokens alone ask, q has one token, and so has what is returned.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from distilbert.errors import BackendError
from distilbert.flax.layers import wide_dtype

Drop = Callable[[Array], Array]
Attention = Callable[[Array, Array, Array, Array | None, Array | None, Drop | None], tuple[Array, Array | None]]

DEFAULT = "eager"


def additive_mask(mask: Array | None, dtype: jnp.dtype) -> Array | None:
    """What is added to the scores, in `dtype` but at least float32: 0 to attend, the smallest number not to.

    Args:
        mask: (B, T), or (B or 1, H or 1, T, T); bool and whole numbers attend where not zero, a 4-D mask of real
            numbers is additive already.
        dtype: type of the model.
    """
    if mask is None:
        return None
    dtype = wide_dtype(dtype)
    smallest = jnp.array(jnp.finfo(dtype).min, dtype)
    if mask.ndim == 4 and jnp.issubdtype(mask.dtype, jnp.floating):
        return jnp.maximum(jnp.asarray(mask, dtype), smallest)
    keep = (mask if mask.ndim == 4 else mask[:, None, None, :]) != 0  # (B, 1, 1, T)
    return jnp.where(keep, jnp.zeros_like(smallest), smallest)


def eager(
    q: Array, k: Array, v: Array, mask: Array | None, head_mask: Array | None, dropout: Drop | None
) -> tuple[Array, Array | None]:
    """The formula, written out; scores and softmax are taken in float32 or better."""
    q = q / math.sqrt(q.shape[-1])  # (B, H, T, K)
    scores = jnp.matmul(q, k.swapaxes(2, 3), preferred_element_type=wide_dtype(q.dtype))  # (B, H, T, T)
    if mask is not None:
        scores = scores + mask  # (B, H, T, T)
    attentions = jax.nn.softmax(scores, -1).astype(q.dtype)  # (B, H, T, T)
    if dropout is not None:
        attentions = dropout(attentions)  # (B, H, T, T)
    if head_mask is not None:
        attentions = attentions * jnp.broadcast_to(head_mask, attentions.shape)  # (B, H, T, T)
    return attentions @ v, attentions


def xla(
    q: Array, k: Array, v: Array, mask: Array | None, head_mask: Array | None, dropout: Drop | None
) -> tuple[Array, Array | None]:
    """JAX's own composition; float64 and float16 are written out: its softmax is float32, its float16 for GPUs only."""
    if head_mask is not None or dropout is not None or q.dtype not in (jnp.float32, jnp.bfloat16):
        return eager(q, k, v, mask, head_mask, dropout)
    return _dot_product_attention(q, k, v, mask, "xla"), None


def cudnn(
    q: Array, k: Array, v: Array, mask: Array | None, head_mask: Array | None, dropout: Drop | None
) -> tuple[Array, Array | None]:
    """cuDNN's flash attention: float16 or bfloat16, an even number of tokens, heads of 8, 16, ... 128 numbers."""
    half = q.dtype in (jnp.float16, jnp.bfloat16)
    fits = half and q.shape[2] % 2 == 0 and q.shape[3] % 8 == 0 and q.shape[3] <= 128
    if head_mask is not None or dropout is not None or not fits:
        return xla(q, k, v, mask, head_mask, dropout)
    if mask is not None:  # the kernel wants a bias of its own type with both axes of tokens
        mask = jnp.maximum(mask, jnp.finfo(q.dtype).min).astype(q.dtype)
        mask = jnp.broadcast_to(mask, (*mask.shape[:2], q.shape[2], k.shape[2]))  # (B or 1, H or 1, T, T)
    return _dot_product_attention(q, k, v, mask, "cudnn"), None


def _dot_product_attention(
    q: Array, k: Array, v: Array, mask: Array | None, implementation: Literal["xla", "cudnn"]
) -> Array:
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))  # (B, T, H, K)
    context = jax.nn.dot_product_attention(q, k, v, bias=mask, implementation=implementation)  # (B, T, H, K)
    return context.swapaxes(1, 2)  # (B, H, T, K)


IMPLEMENTATIONS: dict[str, Attention] = {"eager": eager, "xla": xla, "cudnn": cudnn}


def check_implementation(name: str) -> str:
    """`name` if it can be used here, else BackendError."""
    if name not in IMPLEMENTATIONS:
        raise BackendError(f"attn_implementation: expected one of {', '.join(IMPLEMENTATIONS)}; found {name!r}")
    if name == "cudnn" and jax.default_backend() != "gpu":
        raise BackendError(f"attn_implementation: cudnn needs an NVIDIA GPU; JAX runs on {jax.default_backend()} here")
    return name
