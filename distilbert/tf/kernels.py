# SPDX-License-Identifier: Apache-2.0
"""Linear layers and layer norms for inference, in the forms that TensorFlow's graph compiler turns into oneDNN kernels.

On a CPU it joins a product, its bias, and a GELU or a residual after it into one kernel, and reorders weights once and
for all if they are constants of the graph: NumPy arrays here. Into which order depends on the number of tokens, so that
a graph should see few of them or many and not both.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import tensorflow as tf

from distilbert.reference import LAYER_NORM_EPS
from distilbert.tf.activations import ACTIVATIONS
from distilbert.tf.layers import at_least_float32

Constant = Any  # a NumPy array, which becomes a part of the graph, or a tensor

_FUSED = ("gelu", "gelu_python")  # as TensorFlow writes it out, which its compiler knows
_FUSED_DTYPES = (tf.float32, tf.bfloat16)
_U8_ZERO = 128  # the number that stands for 0 in unsigned 8-bit activations


class Linear(ABC):
    """x (N, in) -> (N, out), on its own, with an activation, or added to a residual."""

    @abstractmethod
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """The layer alone."""

    def activated(self, x: tf.Tensor, activation: str) -> tf.Tensor:
        """With an activation of the config after it."""
        x = self(x)
        if activation in _FUSED and x.dtype in _FUSED_DTYPES:
            return tf.nn.gelu(x, approximate=False)
        if activation == "relu":  # the compiler would hand `tf.nn.relu` to oneDNN, which makes 0 of NaN
            return tf.maximum(x, 0)
        return ACTIVATIONS[activation](x)

    def added(self, x: tf.Tensor, residual: tf.Tensor) -> tf.Tensor:
        """Added to a residual (N, out)."""
        return tf.add_n([self(x), residual])  # `+` might broadcast, for all the compiler knows, and would stay apart


class PlainLinear(Linear):
    """A floating-point product."""

    def __init__(self, kernel: Constant, bias: Constant) -> None:
        self.kernel = kernel
        self.bias = bias

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.bias_add(tf.matmul(x, self.kernel), self.bias)


class Int8Linear(Linear):
    """Dynamic quantisation: weights as 8-bit numbers with a scale for each output, inputs with a scale for each token.

    On a CPU with oneDNN the product is one of 8-bit numbers. Elsewhere TensorFlow has none, and the same whole numbers
    are multiplied in float32: that gives what int8 answers, and not its speed.
    """

    def __init__(self, kernel: np.ndarray[Any, Any], bias: Constant, on_gpu: bool) -> None:
        scales = np.maximum(np.abs(kernel).max(0) / np.float32(127), np.finfo(np.float32).tiny)  # (out,)
        quantised = np.round(kernel / scales).astype(np.int8)  # (in, out)
        self.scales = scales
        self.bias = bias
        self.integers = not on_gpu and onednn_has_int8()
        self.kernel = quantised if self.integers else quantised.astype(np.float32)
        self.offset = -_U8_ZERO * quantised.sum(0, dtype=np.int32)  # (out,)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        scale = tf.maximum(tf.reduce_max(tf.abs(x), 1, keepdims=True), 1e-30) / 127  # (N, 1)
        product = self._product(x / scale)  # (N, out)
        return product * (scale * self.scales) + self.bias

    def _product(self, scaled: tf.Tensor) -> tf.Tensor:
        if not self.integers:
            return tf.matmul(tf.round(scaled), self.kernel)
        quantised = tf.cast(tf.round(scaled) + _U8_ZERO, tf.uint8)  # (N, in)
        return tf.cast(multiply_int8(quantised, self.kernel, self.offset), tf.float32)


class LayerNorm:
    """Mean 0 and variance 1 along D, scaled and shifted, in float32."""

    def __init__(self, weight: Constant, bias: Constant, on_gpu: bool) -> None:
        self.weight = weight
        self.bias = bias
        self.on_gpu = on_gpu

    def __call__(self, x: tf.Tensor, large: bool) -> tf.Tensor:
        """x (N, D), with many tokens or few."""
        wide = at_least_float32(x)  # (N, D)
        normal = normalised_at_once(wide) if large and not self.on_gpu else normalised(wide)  # (N, D)
        return tf.cast(normal * self.weight + self.bias, x.dtype)


def normalised(x: tf.Tensor) -> tf.Tensor:
    """x (N, D) with mean 0 and variance 1 along D."""
    centered = x - tf.reduce_mean(x, 1, keepdims=True)  # (N, D)
    variance = tf.reduce_mean(tf.square(centered), 1, keepdims=True)  # (N, 1)
    return centered * tf.math.rsqrt(variance + LAYER_NORM_EPS)


def normalised_at_once(x: tf.Tensor) -> tf.Tensor:
    """The same as a batch norm of N channels: scaled and shifted, TensorFlow knows this as oneDNN's layer norm.

    It takes half the time for many tokens; for few, preparing it costs more than it brings.
    """
    count, dim = tf.shape(x)[0], x.shape[1]
    empty = tf.constant([], tf.float32)
    normal, *_ = tf.raw_ops.FusedBatchNormV3(
        x=tf.reshape(x, (1, count, dim, 1)),
        scale=tf.fill([count], 1.0),
        offset=tf.fill([count], 0.0),
        mean=empty,
        variance=empty,
        epsilon=LAYER_NORM_EPS,
        data_format="NCHW",
        is_training=True,
    )
    return tf.reshape(normal, tf.shape(x))


def multiply_int8(x: tf.Tensor, kernel: Constant, bias: Constant) -> tf.Tensor:
    """x (N, in) of uint8 times kernel (in, out) of int8, plus bias (out,) of int32: (N, out) of int32, by oneDNN."""
    product, _, _ = tf.raw_ops.QuantizedMatMulWithBias(
        a=tf.bitcast(x, tf.quint8),
        b=tf.bitcast(kernel, tf.qint8),
        bias=tf.bitcast(bias, tf.qint32),
        min_a=0.0,
        max_a=255.0,
        min_b=-127.0,
        max_b=127.0,
        Toutput=tf.qint32,
        input_quant_mode="SCALED",
    )
    return tf.bitcast(product, tf.int32)


@functools.cache
def onednn_has_int8() -> bool:
    """Whether oneDNN multiplies 8-bit numbers here, and exactly: CPUs without VNNI may cut off large sums."""
    x, kernel = np.full((32, 64), 255, np.uint8), np.full((64, 32), 127, np.int8)
    with tf.init_scope(), tf.device("CPU:0"):
        try:
            product = multiply_int8(tf.constant(x), tf.constant(kernel), tf.zeros(32, tf.int32))
        except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError, tf.errors.UnimplementedError):
            return False
    return bool(np.all(product.numpy() == 64 * 255 * 127))
