# SPDX-License-Identifier: Apache-2.0
"""Scaled dot-product attention in TensorFlow: one plain implementation and the one of Keras, which equals it.

Every implementation takes q, k, v (B, H, T, K), an additive mask that broadcasts to (B, H, T, T) or None, a head mask
that broadcasts to (B, H, T, T) or None, and the dropout to apply or None; it returns the context (B, H, T, K) and the
attention probabilities (B, H, T, T). Keras's gives None for these, so a caller who wants them uses `eager`. Where first
tokens alone ask, q has one token, and so has what is returned.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import tensorflow as tf
from keras.layers import Dropout

from distilbert.errors import BackendError
from distilbert.tf.layers import at_least_float32

Attention = Callable[
    [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor | None, tf.Tensor | None, Dropout | None],
    tuple[tf.Tensor, tf.Tensor | None],
]

DEFAULT = "eager"


def additive_mask(mask: tf.Tensor | None, dtype: str) -> tf.Tensor | None:
    """What is added to the scores, in `dtype` but at least float32: 0 to attend, the smallest number not to.

    Args:
        mask: (B, T), or (B or 1, H or 1, T, T); bool and whole numbers attend where not zero, a 4-D mask of real
            numbers is additive already.
        dtype: type of the model.
    """
    if mask is None:
        return None
    wide = tf.float64 if dtype == "float64" else tf.float32
    smallest = wide.min
    if mask.ndim == 4 and mask.dtype.is_floating:
        return tf.maximum(tf.cast(mask, wide), smallest)
    masked = tf.equal(mask, tf.zeros((), mask.dtype))
    if mask.ndim == 2:
        masked = tf.expand_dims(tf.expand_dims(masked, 1), 1)  # (B, 1, 1, T)
    return tf.where(masked, tf.constant(smallest, wide), tf.zeros((), wide))


def eager(
    q: tf.Tensor,
    k: tf.Tensor,
    v: tf.Tensor,
    mask: tf.Tensor | None,
    head_mask: tf.Tensor | None,
    dropout: Dropout | None,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """The formula, written out; the softmax is taken in float32 or better."""
    scores = tf.matmul(q / math.sqrt(q.shape[-1]), k, transpose_b=True)  # (B, H, T, T)
    scores = at_least_float32(scores)  # (B, H, T, T)
    if mask is not None:
        scores = scores + mask  # (B, H, T, T)
    attentions = tf.cast(tf.nn.softmax(scores), q.dtype)  # (B, H, T, T)
    if dropout is not None:
        attentions = dropout(attentions, training=True)  # (B, H, T, T)
    if head_mask is not None:
        attentions = attentions * head_mask  # (B, H, T, T)
    return tf.matmul(attentions, v), attentions


def dot_product_attention(
    q: tf.Tensor,
    k: tf.Tensor,
    v: tf.Tensor,
    mask: tf.Tensor | None,
    head_mask: tf.Tensor | None,
    dropout: Dropout | None,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Keras's kernel, which has no dropout and no head mask."""
    if head_mask is not None or dropout is not None:
        return eager(q, k, v, mask, head_mask, dropout)
    if mask is not None:
        mask = tf.cast(tf.maximum(mask, q.dtype.min), q.dtype)
    q = q / math.sqrt(q.shape[-1])  # (B, H, T, K)
    q, k, v = (tf.transpose(x, (0, 2, 1, 3)) for x in (q, k, v))  # (B, T, H, K)
    context = keras.ops.dot_product_attention(q, k, v, bias=mask, scale=1.0)  # (B, T, H, K)
    return tf.transpose(context, (0, 2, 1, 3)), None


IMPLEMENTATIONS: dict[str, Attention] = {
    "eager": eager,
    "dot_product_attention": dot_product_attention,
}


def check_implementation(name: str) -> str:
    """`name` if it can be used here, else BackendError."""
    if name not in IMPLEMENTATIONS:
        raise BackendError(f"attn_implementation: expected one of {', '.join(IMPLEMENTATIONS)}; found {name!r}")
    return name
