# SPDX-License-Identifier: Apache-2.0
"""`distilbert.tf`: the plain model as a graph, and the fast one made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distilbert.bench.contenders import tf_steps
from distilbert.bench.contenders.base import CLASSIFIER, RATE
from distilbert.bench.contenders.ours import Ours

if TYPE_CHECKING:
    from distilbert.bench.contenders.base import Ids, Predict, Step


class Contender(Ours):
    """Ours in TensorFlow."""

    backend = "tf"

    def predictor(self, class_name: str) -> Predict:
        """The plain model in a `tf.function`; the fast one as it is."""
        model = self.ready(class_name)
        return _direct(model) if self.fast else tf_steps.predictor(model)

    def stepper(self) -> Step:
        """A step as a graph."""
        model = self.plain(CLASSIFIER)  # which imports Keras with the right backend
        import keras

        optimizer = keras.optimizers.AdamW(learning_rate=RATE, weight_decay=0.01)
        variables = model.trainable_variables
        optimizer.build(variables)
        return tf_steps.stepper(model, [variable.value for variable in variables], optimizer.apply)


def _direct(model: Any) -> Predict:
    import tensorflow as tf

    def predict(ids: Ids, mask: Ids) -> Any:
        return model(tf.constant(ids), attention_mask=tf.constant(mask))[0].numpy()

    return predict
