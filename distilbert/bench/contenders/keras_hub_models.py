# SPDX-License-Identifier: Apache-2.0
"""KerasHub's DistilBERT on TensorFlow or JAX, of the same sizes; random weights are as fast as any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilbert.bench.contenders.base import Base

if TYPE_CHECKING:
    from distilbert.bench.contenders.base import Ids, Predict


class Contender(Base):
    """The encoder; the environment variable KERAS_BACKEND of the worker says on what."""

    statement = "from keras_hub.models import DistilBertBackbone"

    def predictor(self, class_name: str) -> Predict:
        """Compiled as its framework compiles."""
        import keras

        model = self._model()
        return _graph(model) if keras.backend.backend() == "tensorflow" else _jit(model)

    def _model(self) -> Any:
        import keras_hub
        import numpy as np

        config = json.loads((Path(self.model) / "config.json").read_text())
        model = keras_hub.models.DistilBertBackbone(
            vocabulary_size=config["vocab_size"],
            num_layers=config["n_layers"],
            num_heads=config["n_heads"],
            hidden_dim=config["dim"],
            intermediate_dim=config["hidden_dim"],
            max_sequence_length=config["max_position_embeddings"],
        )
        random = np.random.default_rng(0)  # biases too: TensorFlow leaves out additions of nothing but zeros
        model.set_weights([random.standard_normal(value.shape) * 0.02 for value in model.get_weights()])
        return model


def _graph(model: Any) -> Predict:
    import tensorflow as tf

    graph = tf.function(lambda ids, mask: model({"token_ids": ids, "padding_mask": mask}, training=False))
    return lambda ids, mask: graph(tf.constant(ids), tf.constant(mask)).numpy()


def _jit(model: Any) -> Predict:
    import jax
    import numpy as np

    trained, other = ([variable.value for variable in group] for group in _variables(model))

    @jax.jit
    def compiled(trained: Any, other: Any, ids: Any, mask: Any) -> Any:
        inputs = {"token_ids": ids, "padding_mask": mask}
        return model.stateless_call(trained, other, inputs, training=False)[0]

    def predict(ids: Ids, mask: Ids) -> Any:
        return np.asarray(compiled(trained, other, ids, mask))

    return predict


def _variables(model: Any) -> tuple[list[Any], list[Any]]:
    return model.trainable_variables, model.non_trainable_variables
