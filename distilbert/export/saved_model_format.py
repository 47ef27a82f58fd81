# SPDX-License-Identifier: Apache-2.0
"""SavedModel, with the signature `serving_default`, for TensorFlow Serving and whatever else reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from distilbert.export.signature import INPUTS, Array, axes, output_names

SIGNATURE = "serving_default"


class Serving(tf.Module):
    """A model with a graph for ids and mask (int32) of any batch and length."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        shape = (None,) * len(axes(model.task))
        self.serve = tf.function(
            self.answer, input_signature=[tf.TensorSpec(shape, tf.int32, name=name) for name in INPUTS]
        )

    def answer(self, input_ids: tf.Tensor, attention_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """The outputs by name."""
        found = self.model(input_ids, attention_mask=attention_mask, return_dict=True)
        return {name: found[name] for name in output_names(self.model.task)}


def write(model: Any, path: Path, dtype: str) -> None:
    """Write a model of TensorFlow."""
    serving = Serving(model)
    tf.saved_model.save(serving, str(path), signatures={SIGNATURE: serving.serve})


def annotate(path: Path, record: str) -> None:
    """Write text beside the model, in the folder that SavedModel has for what is not its own."""
    extra = path / "assets.extra"
    extra.mkdir()
    (extra / "distilbert.json").write_text(record)


class Session:
    """A folder that is read back."""

    def __init__(self, path: Path, task: str) -> None:
        self.loaded = tf.saved_model.load(str(path))  # must outlive its signatures
        self.call = self.loaded.signatures[SIGNATURE]

    def run(self, inputs: Mapping[str, NDArray[np.int64]]) -> dict[str, Array]:
        found = self.call(**{name: tf.constant(inputs[name], tf.int32) for name in INPUTS})
        return {name: value.numpy() for name, value in found.items()}
