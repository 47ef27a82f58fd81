# SPDX-License-Identifier: Apache-2.0
"""LiteRT (`.tflite`), of its built-in operators alone, so that it runs without TensorFlow's own."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.export.formats import INT8
from distilbert.export.signature import INPUTS, Array
from distilbert.threads import local_threads

SIGNATURE = "serving_default"


def write(model: Any, path: Path, dtype: str) -> None:
    """Write a model of TensorFlow; with float16 and int8 it is the weights that are stored so."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder, _silence():
        _save_with_constants(model, folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if dtype in ("float16", INT8):
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if dtype == "float16":
            converter.target_spec.supported_types = [tf.float16]
        path.write_bytes(converter.convert())


def annotate(path: Path, record: str) -> None:
    """Nothing: written anew from Python the file would lose the alignment of its weights, which some CPUs need.

    The same stands in `export.json` beside it.
    """


class Session:
    """A file opened by LiteRT's interpreter, with XNNPACK on a CPU."""

    def __init__(self, path: Path, task: str) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.runner = Interpreter(str(path), num_threads=local_threads()).get_signature_runner(SIGNATURE)

    def run(self, inputs: Mapping[str, NDArray[np.int64]]) -> dict[str, Array]:
        found: dict[str, Array] = self.runner(**{name: inputs[name].astype(np.int32) for name in INPUTS})
        return found


def _save_with_constants(model: Any, folder: str) -> None:
    """A SavedModel whose weights are constants: of variables LiteRT makes resources, and NaN when a shape changes."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from distilbert.export.saved_model_format import Serving

    answer = Serving(model).serve.get_concrete_function()
    frozen = convert_variables_to_constants_v2(answer)

    def serve(input_ids: tf.Tensor, attention_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        found = frozen(input_ids=input_ids, attention_mask=attention_mask)
        named: dict[str, tf.Tensor] = tf.nest.pack_sequence_as(answer.structured_outputs, found)
        return named

    module = tf.Module()
    module.serve = tf.function(serve, input_signature=list(answer.structured_input_signature[0]))
    tf.saved_model.save(module, folder, signatures={SIGNATURE: module.serve})


@contextmanager
def _silence() -> Iterator[None]:
    """The converter warns of TensorFlow's own plans for it."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
