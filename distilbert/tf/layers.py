# SPDX-License-Identifier: Apache-2.0
"""The layers the models are made of, in Keras: unlike Keras's own, their variables exist once they are made.

A new variable is memory without values; the model draws or loads them. Not here: anything that knows about DistilBERT.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

Dropout = keras.layers.Dropout


class Layer(keras.layers.Layer):
    """A group of layers with a `call` of its own.

    It is called without Keras looking at what is passed on: Keras would cast masks to the compute type, in which their
    smallest number may be minus infinity, and would give a meaning of its own to an argument called `mask`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.built = True

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.call(*arguments, **options)


class Linear(keras.layers.Dense):
    """x (..., in) -> (..., out) with kernel (in, out) and bias (out,)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(outputs, kernel_initializer=unset, bias_initializer=unset)
        self.build((None, inputs))


class Embedding(keras.layers.Layer):
    """Rows of a table by ids (...) -> (..., width); ids outside the table, seen only in compiled code, are clamped.

    Args:
        rows: how many rows the table has.
        width: length of a row.
        padding_idx: a row that gets no gradient from being looked up.
        trainable: False for a table that is never trained.
    """

    def __init__(self, rows: int, width: int, padding_idx: int | None = None, trainable: bool = True) -> None:
        super().__init__(autocast=False)
        self.padding_idx = padding_idx
        self.embeddings = self.add_weight(
            (rows, width), unset, trainable=trainable, autocast=False, name="embeddings"
        )
        self.built = True

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        ids = tf.clip_by_value(tf.cast(ids, tf.int64), 0, self.embeddings.shape[0] - 1)  # (...)
        rows = tf.cast(tf.gather(self.embeddings, ids), self.compute_dtype)  # (..., width)
        if self.padding_idx is None:
            return rows
        padding = tf.expand_dims(tf.equal(ids, self.padding_idx), -1)  # (..., 1)
        return tf.where(padding, tf.stop_gradient(rows), rows)


class LayerNorm(keras.layers.Layer):
    """x (..., width) with mean 0 and variance 1 along the last axis, scaled and shifted; in float32 or better."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__(autocast=False)
        self.eps = eps
        self.gamma = self.add_weight((width,), unset, autocast=False, name="gamma")
        self.beta = self.add_weight((width,), unset, autocast=False, name="beta")
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        wide = at_least_float32(x)
        centered = wide - tf.reduce_mean(wide, -1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centered), -1, keepdims=True)  # (..., 1)
        normal = centered * tf.math.rsqrt(variance + self.eps)
        scaled = normal * tf.cast(self.gamma, wide.dtype) + tf.cast(self.beta, wide.dtype)
        return tf.cast(scaled, x.dtype)


def unset(shape: Any, dtype: Any = None) -> tf.Tensor:
    """An initializer for variables whose values come later: memory that is not even touched."""
    return tf.raw_ops.Empty(shape=shape, dtype=dtype, init=False)


def at_least_float32(x: tf.Tensor) -> tf.Tensor:
    """Half precision as float32, others as they are."""
    return tf.cast(x, tf.float32) if x.dtype in (tf.float16, tf.bfloat16) else x
