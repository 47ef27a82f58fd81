# SPDX-License-Identifier: Apache-2.0
"""LiteRT (`.tflite`), of its built-in operators alone, so that it runs without TensorFlow's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.export.signature import INPUTS, Array

SIGNATURE = "serving_default"


def write(model: Any, path: Path, dtype: str) -> None:
    """Write a model of TensorFlow; with float16 it is the weights that are stored so."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from distilbert.export.saved_model_format import Serving

    serving = Serving(model)
    frozen = convert_variables_to_constants_v2(serving.serve.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], serving)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if dtype == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    path.write_bytes(converter.convert())


class Session:
    """A file opened by LiteRT's interpreter, with XNNPACK on a CPU."""

    def __init__(self, path: Path, task: str) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.runner = Interpreter(str(path)).get_signature_runner(SIGNATURE)

    def run(self, inputs: Mapping[str, NDArray[np.int64]]) -> dict[str, Array]:
        found: dict[str, Array] = self.runner(**{name: inputs[name].astype(np.int32) for name in INPUTS})
        return found
