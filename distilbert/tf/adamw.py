# SPDX-License-Identifier: Apache-2.0
"""AdamW in TensorFlow, to the formula of PyTorch's: Keras's adds epsilon before the bias correction.

The update is a graph that XLA compiles once for each shape of a tensor: one pass over the memory where single
operations would make fifteen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from distilbert.training.engine import EngineSettings


class AdamW:
    """The optimizer of some parameters, and its running means.

    Attributes:
        taken: how many updates there were.
        first, second: running means of gradients and of their squares, by canonical name, in Keras's orientation.
    """

    def __init__(self, parameters: Mapping[str, keras.Variable], settings: EngineSettings) -> None:
        self.parameters = parameters
        self.settings = settings
        self.taken = 0
        self.first = {name: zeros_like(parameter) for name, parameter in parameters.items()}
        self.second = {name: zeros_like(parameter) for name, parameter in parameters.items()}

    def apply(self, gradients: Sequence[tf.Tensor], rate: float) -> tf.Tensor:
        """Change the parameters by their gradients; the norm of these before they are clipped: ()."""
        self.taken += 1
        size = rate / (1 - self.settings.beta1**self.taken)
        root = math.sqrt(1 - self.settings.beta2**self.taken)
        return self._update_all(gradients, tf.constant([rate, size, root], tf.float64))

    @tf.function
    def _update_all(self, gradients: Sequence[tf.Tensor], numbers: tf.Tensor) -> tf.Tensor:
        norm = tf.linalg.global_norm(gradients)  # ()
        longest = self.settings.max_grad_norm
        scale = tf.minimum(longest / (norm + 1e-6), 1) if longest else tf.ones_like(norm)  # ()
        for (name, parameter), gradient in zip(self.parameters.items(), gradients, strict=True):
            plan = self.settings.plans[name]
            rate, size, root = tf.unstack(tf.cast(numbers, gradient.dtype))
            kept = 1 - rate * (plan.rate_factor * plan.decay)  # ()
            update(
                parameter.value,
                self.first[name],
                self.second[name],
                gradient * scale,
                (kept, size * plan.rate_factor, root),
                (self.settings.beta1, self.settings.beta2, self.settings.epsilon),
            )
        return norm


@tf.function(jit_compile=True)
def update(
    parameter: tf.Variable,
    first: tf.Variable,
    second: tf.Variable,
    gradient: tf.Tensor,
    scalars: tuple[tf.Tensor, tf.Tensor, tf.Tensor],
    constants: tuple[float, float, float],
) -> None:
    """Change a parameter and its running means.

    Args:
        parameter, first, second, gradient: of one shape.
        scalars: the share of the parameter that decay leaves, the size of the step, and the root of the correction of
            the second mean.
        constants: the betas and epsilon.
    """
    kept, size, root = scalars
    beta1, beta2, epsilon = constants
    first.assign(beta1 * first + (1 - beta1) * gradient)
    second.assign(beta2 * second + (1 - beta2) * tf.square(gradient))
    parameter.assign(kept * parameter - size * first / (tf.sqrt(second) / root + epsilon))


def zeros_like(parameter: keras.Variable) -> tf.Variable:
    """A variable that is not trained, of a parameter's shape and type."""
    return tf.Variable(tf.zeros(parameter.shape, parameter.dtype), trainable=False)
