# SPDX-License-Identifier: Apache-2.0
"""The activation functions of the config, in TensorFlow; computed in float32 or better.

gelu is written out with erf, not erfc as TensorFlow has it, because exporters know erf.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import tensorflow as tf

from distilbert.tf.layers import at_least_float32

Activation = Callable[[tf.Tensor], tf.Tensor]


def in_float32(function: Activation) -> Activation:
    """The function on half-precision numbers, computed in float32."""

    @functools.wraps(function)
    def wide(x: tf.Tensor) -> tf.Tensor:
        return tf.cast(function(at_least_float32(x)), x.dtype)

    return wide


@in_float32
def gelu(x: tf.Tensor) -> tf.Tensor:
    """x times the normal distribution function of x, exactly."""
    return 0.5 * x * (1.0 + tf.math.erf(x / math.sqrt(2)))


@in_float32
def gelu_tanh(x: tf.Tensor) -> tf.Tensor:
    """The tanh approximation of gelu."""
    return 0.5 * x * (1.0 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def gelu_10(x: tf.Tensor) -> tf.Tensor:
    """gelu held between -10 and 10."""
    return tf.clip_by_value(gelu(x), -10, 10)


@in_float32
def quick_gelu(x: tf.Tensor) -> tf.Tensor:
    """x sigmoid(1.702 x)."""
    return x * tf.sigmoid(1.702 * x)


@in_float32
def silu(x: tf.Tensor) -> tf.Tensor:
    """x sigmoid(x)."""
    return tf.nn.silu(x)


@in_float32
def mish(x: tf.Tensor) -> tf.Tensor:
    """x tanh(softplus(x))."""
    return x * tf.tanh(tf.math.softplus(x))


def leaky_relu(x: tf.Tensor) -> tf.Tensor:
    """x, or 0.01 x below zero."""
    return tf.maximum(x, 0.01 * x)


def linear(x: tf.Tensor) -> tf.Tensor:
    """x."""
    return x


ACTIVATIONS: dict[str, Activation] = {
    "gelu": gelu,
    "gelu_10": gelu_10,
    "gelu_fast": gelu_tanh,
    "gelu_new": gelu_tanh,
    "gelu_python": gelu,
    "gelu_pytorch_tanh": gelu_tanh,
    "leaky_relu": leaky_relu,
    "linear": linear,
    "mish": mish,
    "quick_gelu": quick_gelu,
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "sigmoid": in_float32(tf.sigmoid),
    "silu": silu,
    "swish": silu,
    "tanh": in_float32(tf.tanh),
}
