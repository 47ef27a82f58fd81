# SPDX-License-Identifier: Apache-2.0
"""The layers the models are made of, in Keras: unlike Keras's own, their variables exist once they are made.

A new variable is memory without values: these come from a checkpoint or from `initialization.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras.layers import Dropout

from distilbert.reference import LAYER_NORM_EPS


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

    def empty_parameter(self, name: str, *shape: int) -> keras.Variable:
        """A parameter whose values come later."""
        return self.add_weight(shape, unset, autocast=False, name=name)


class Linear(keras.layers.Dense):
    """x (..., in) -> (..., out) with kernel (in, out) and bias (out,)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(outputs, kernel_initializer=unset, bias_initializer=unset)
        self.build((None, inputs))

    def quantize(self, mode: str | None = None, type_check: bool = True, config: Any = None) -> None:
        """As Keras does for its own Dense, whose computation this is."""
        super().quantize(mode, type_check=False, config=config)


class Embedding(keras.layers.Layer):
    """Rows of a table by ids (...): (..., D). An id out of range, seen only in graphs, gives the nearest row.

    The row `padding_idx` gets no gradient from being looked up; with `trained=False` the table is never trained.
    """

    def __init__(self, num_embeddings: int, dim: int, *, padding_idx: int | None = None, trained: bool = True) -> None:
        super().__init__(autocast=False)
        self.embeddings = self.add_weight(
            (num_embeddings, dim), unset, trainable=trained, autocast=False, name="embeddings"
        )
        self.padding_idx = padding_idx
        self.built = True

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        ids = tf.clip_by_value(tf.cast(ids, tf.int64), 0, self.embeddings.shape[0] - 1)  # (...)
        table = with_dense_gradient(tf.convert_to_tensor(self.embeddings))  # (N, D)
        rows = tf.cast(tf.gather(table, ids), self.compute_dtype)  # (..., D)
        if self.padding_idx is None:
            return rows
        padding = tf.expand_dims(tf.equal(ids, self.padding_idx), -1)  # (..., 1)
        return tf.where(padding, tf.stop_gradient(rows), rows)

    def attend(self, x: tf.Tensor) -> tf.Tensor:
        """Products of x (..., D) with every row (N, D): (..., N), without a transposed copy of the table."""
        return tf.matmul(x, tf.cast(self.embeddings, x.dtype), transpose_b=True)


class LayerNorm(keras.layers.Layer):
    """x (..., D) with mean 0 and variance 1 along D, in float32 or better, then scaled and shifted."""

    def __init__(self, dim: int) -> None:
        super().__init__(autocast=False)
        self.gamma = self.add_weight((dim,), unset, autocast=False, name="gamma")
        self.beta = self.add_weight((dim,), unset, autocast=False, name="beta")
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        wide = at_least_float32(x)
        centered = wide - tf.reduce_mean(wide, -1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centered), -1, keepdims=True)  # (..., 1)
        normal = centered * tf.math.rsqrt(variance + LAYER_NORM_EPS)
        scaled = normal * tf.cast(self.gamma, wide.dtype) + tf.cast(self.beta, wide.dtype)
        return tf.cast(scaled, x.dtype)


@tf.custom_gradient
def with_dense_gradient(table: tf.Tensor) -> Any:
    """The same table, whose gradient is no list of rows: Keras's optimizers square the rows of one that is looked up
    twice before they add them up, so that Adam would take steps of another length.
    """
    return tf.identity(table), tf.convert_to_tensor


def unset(shape: Any, dtype: Any = None) -> tf.Tensor:
    """An initializer for variables whose values come later: memory that is not even touched."""
    return tf.raw_ops.Empty(shape=shape, dtype=dtype, init=False)


def multiply(x: tf.Tensor, kernel: keras.Variable) -> tf.Tensor:
    """x (..., in) times kernel (in, out)."""
    return tf.matmul(x, tf.cast(kernel, x.dtype))


def add_bias(x: tf.Tensor, bias: keras.Variable) -> tf.Tensor:
    """x (..., N) plus bias (N,)."""
    return tf.nn.bias_add(x, tf.cast(bias, x.dtype))


def at_least_float32(x: tf.Tensor) -> tf.Tensor:
    """Half precision as float32, others as they are."""
    return tf.cast(x, tf.float32) if x.dtype in (tf.float16, tf.bfloat16) else x


def checkpoint(block: Layer, *arguments: Any, dropouts: Sequence[Dropout]) -> tuple[tf.Tensor, tf.Tensor | None]:
    """`block(*arguments)`, keeping only the arguments and computing the block again in the backward pass.

    Args:
        block: gives (tensor, tensor or None).
        arguments: tensors and other values.
        dropouts: those inside the block; both times they must drop the same.
    """
    generators = [dropout.seed_generator for dropout in dropouts if dropout.rate > 0]
    seeds = [(generator.state, generator.next()) for generator in generators]
    places = [place for place, argument in enumerate(arguments) if tf.is_tensor(argument)]

    @tf.recompute_grad
    def run(*tensors: tf.Tensor) -> list[tf.Tensor]:
        filled = list(arguments)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        with keras.StatelessScope(state_mapping=seeds):
            return [output for output in block(*filled) if output is not None]

    outputs = run(*(arguments[place] for place in places))
    return outputs[0], outputs[1] if len(outputs) > 1 else None
