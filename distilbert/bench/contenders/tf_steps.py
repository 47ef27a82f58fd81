# SPDX-License-Identifier: Apache-2.0
"""Calls of TensorFlow models as graphs, ours and those of transformers alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distilbert.bench.contenders.base import Ids, Predict, Step


def predictor(model: Any) -> Predict:
    """Ids and mask to the first output, by a graph for each shape."""
    import tensorflow as tf

    graph = tf.function(lambda ids, mask: model(ids, attention_mask=mask, return_dict=True)[0])
    return lambda ids, mask: graph(tf.constant(ids), tf.constant(mask)).numpy()


def stepper(model: Any, variables: Sequence[Any], apply: Callable[[Any], Any]) -> Step:
    """One training step with dropout as a graph; `apply` takes the gradients of the variables."""
    import tensorflow as tf

    @tf.function
    def graph(ids: Any, mask: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(ids, attention_mask=mask, labels=labels, training=True, return_dict=True).loss)
        apply([tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)])
        return loss

    def step(*arrays: Ids) -> None:
        graph(*map(tf.constant, arrays)).numpy()

    return step
