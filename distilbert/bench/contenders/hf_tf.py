# SPDX-License-Identifier: Apache-2.0
"""TensorFlow models of transformers 4, as graphs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilbert.bench.contenders import tf_steps
from distilbert.bench.contenders.base import CLASSIFIER, RATE, Base, Call

if TYPE_CHECKING:
    from distilbert.bench.contenders.base import Predict, Step


class Contender(Base):
    """transformers on TensorFlow."""

    statement = "from transformers import TFDistilBertModel"

    def predictor(self, class_name: str) -> Predict:
        """In a `tf.function`."""
        return tf_steps.predictor(self._load(class_name))

    def stepper(self) -> Step:
        """A step as a graph, with the optimizer of the Keras that it is written for."""
        model = self._load(CLASSIFIER)
        import tf_keras

        optimizer = tf_keras.optimizers.AdamW(learning_rate=RATE, weight_decay=0.01)
        variables = model.trainable_variables
        optimizer.build(variables)
        return tf_steps.stepper(
            model, variables, lambda gradients: optimizer.apply_gradients(zip(gradients, variables, strict=True))
        )

    def load(self) -> Call:
        """In float32."""
        self._folder()
        return lambda: self._load(CLASSIFIER)

    def _load(self, class_name: str) -> Any:
        import transformers

        return getattr(transformers, f"TF{class_name}").from_pretrained(self._folder())

    def _folder(self) -> Path:
        """The same weights in TensorFlow's own format: this version no longer reads safetensors in TensorFlow."""
        folder = Path(self.workplace) / "tensorflow"
        if not folder.exists():
            from distilbert.convert import convert

            convert(self.model, folder, "tensorflow")
        return folder
