# SPDX-License-Identifier: Apache-2.0
"""Scaled dot-product attention in PyTorch: one plain implementation and the fast kernels that equal it.

Every implementation takes q, k, v (B, H, T, K), an additive mask that broadcasts to (B, H, T, T) or None, a head mask
that broadcasts to (B, H, T, T) or None, and the rate of dropout; it returns the context (B, H, T, K) and the attention
probabilities (B, H, T, T). Fast kernels return None for these, so a caller who wants them uses `eager`. Where first
tokens alone ask, q has one token, and so has what is returned.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import flex_attention as flex

from distilbert.errors import BackendError
from distilbert.pt.layers import dropout as drop

Attention = Callable[[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, float], tuple[Tensor, Tensor | None]]

DEFAULT = "sdpa"


def additive_mask(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """What is added to the scores, in `dtype` but at least float32: 0 to attend, the smallest number not to.

    Args:
        mask: (B, T), or (B or 1, H or 1, T, T); bool and whole numbers attend where not zero, a 4-D mask of real
            numbers is additive already.
        dtype: type of the model.
    """
    if mask is None:
        return None
    dtype = torch.promote_types(dtype, torch.float32)
    smallest = torch.finfo(dtype).min
    if mask.ndim == 4 and mask.is_floating_point():
        return mask.to(dtype).clamp(min=smallest)
    keep = (mask if mask.ndim == 4 else mask[:, None, None, :]) != 0  # (B, 1, 1, T)
    return torch.zeros(keep.shape, dtype=dtype, device=mask.device).masked_fill(~keep, smallest)


def eager(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, head_mask: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor | None]:
    """The formula, written out; the softmax is taken in float32 or better."""
    scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(2, 3)  # (B, H, T, T)
    if mask is not None:
        scores = scores + mask  # (B, H, T, T)
    probabilities = torch.softmax(scores, -1, torch.promote_types(q.dtype, torch.float32))  # (B, H, T, T)
    attentions = drop(probabilities.to(q.dtype), dropout)  # (B, H, T, T)
    if head_mask is not None:
        attentions = attentions * head_mask  # (B, H, T, T)
    return attentions @ v, attentions


def sdpa(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, head_mask: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor | None]:
    """PyTorch's fused kernel for the device at hand."""
    if head_mask is not None or (dropout > 0 and q.device.type == "cpu"):  # there, no fused kernel has dropout
        return eager(q, k, v, mask, head_mask, dropout)
    if mask is not None:
        mask = mask.clamp(min=torch.finfo(q.dtype).min).to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, mask, dropout), None


def flex_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, head_mask: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor | None]:
    """PyTorch's programmable kernel, fused by the compiler on a GPU; it has no dropout and no head mask.

    Where it is not fused it would write out the formula just as `eager` does, so that is what runs there. On a CPU the
    compiler of PyTorch 2.13 cannot lower it in this model.
    """
    if head_mask is not None or dropout > 0 or not q.is_cuda:
        return eager(q, k, v, mask, head_mask, dropout)
    compiling = torch.compiler.is_compiling()
    kernel: Any = flex.flex_attention if compiling else _compiled_flex_attention()
    if mask is None:
        return kernel(q, k, v), None
    bias = mask.expand(q.shape[0], q.shape[1], q.shape[2], k.shape[2])

    def add_mask(score: Tensor, b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + bias[b, h, query, key]

    return kernel(q, k, v, score_mod=add_mask), None


@functools.cache
def _compiled_flex_attention() -> Callable[..., Tensor]:
    return torch.compile(flex.flex_attention)  # type: ignore[no-any-return]


def flash_attention_2(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, head_mask: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor | None]:
    """The flash-attn package, without work on padding; float16 or bfloat16 on a CUDA device, and 2-D masks only."""
    by_key = mask is None or (mask.shape[1] == 1 and mask.shape[2] == 1)
    fits = q.shape == k.shape and q.dtype in (torch.float16, torch.bfloat16) and q.is_cuda
    if head_mask is not None or not by_key or not fits:
        return sdpa(q, k, v, mask, head_mask, dropout)
    from flash_attn import flash_attn_func, flash_attn_varlen_func

    q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # (B, T, H, K)
    if mask is None:
        return flash_attn_func(q, k, v, dropout).transpose(1, 2), None
    keep = mask[:, 0, 0, :] == 0  # (B, T)
    keep = keep | ~keep.any(1, keepdim=True)  # a row with nothing to attend to attends to everything
    lengths = keep.sum(1, dtype=torch.int32)  # (B,)
    starts = F.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))  # (B + 1,)
    longest = int(lengths.max())
    packed = flash_attn_varlen_func(q[keep], k[keep], v[keep], starts, starts, longest, longest, dropout)
    context = torch.zeros_like(q)  # (B, T, H, K)
    context[keep] = packed
    return context.transpose(1, 2), None


IMPLEMENTATIONS: dict[str, Attention] = {
    "eager": eager,
    "sdpa": sdpa,
    "flex_attention": flex_attention,
    "flash_attention_2": flash_attention_2,
}


def check_implementation(name: str) -> str:
    """`name` if it can be used here, else BackendError."""
    if name not in IMPLEMENTATIONS:
        raise BackendError(f"attn_implementation: expected one of {', '.join(IMPLEMENTATIONS)}; found {name!r}")
    if name == "flash_attention_2" and importlib.util.find_spec("flash_attn") is None:
        raise BackendError(
            "attn_implementation: flash_attention_2 needs the package flash-attn; pip install flash-attn"
        )
    return name
