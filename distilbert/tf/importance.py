# SPDX-License-Identifier: Apache-2.0
"""How the loss of each example changes with a factor on each attention head, in TensorFlow.

Read beside `pt/importance.py` and `flax/importance.py`; what the numbers are for is said in
`distilbert/pruning/importance.py`.
"""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from distilbert.convert.tensor import Array
from distilbert.tf.training import of_any_size, tensors
from distilbert.training.batch import Batch


class Derivatives:
    """Derivatives of the loss by factors on the heads of a TensorFlow model, all of a batch in one backward pass."""

    def __init__(self, model: Any, objective: Any) -> None:
        """Take a model and a `TaskObjective`."""
        self.model = model
        self.objective = objective

    def __call__(self, batch: Batch, head_mask: Array) -> Array:
        """The derivatives (n_layers, B, H) at the factors `head_mask` (n_layers, B, H)."""
        shape = tf.TensorSpec((self.model.config.n_layers, None, self.model.config.n_heads), head_mask.dtype)
        graph = self.derivatives.get_concrete_function(of_any_size(batch), shape)
        found: Array = graph(tensors(batch), tf.constant(head_mask)).numpy()
        return found

    @tf.function
    def derivatives(self, part: dict[str, tf.Tensor], head_mask: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(head_mask)
            terms, _ = self.objective(functools.partial(self.model, head_mask=head_mask), part, training=False)
            loss = tf.add_n(list(terms.values()))  # ()
        return tape.gradient(loss, head_mask)  # (n_layers, B, H)
