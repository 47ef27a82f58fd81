# SPDX-License-Identifier: Apache-2.0
"""The formats that a model can be exported to, as rows of data. Nothing here imports a framework."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from distilbert.backend import BACKENDS, RUNTIMES, Backend
from distilbert.errors import InputError

INT8 = "int8"  # weights in 8 bits ahead, activations while it runs
STATIC_INT8 = "int8-static"  # both ahead; ranges of the activations are measured on texts of the user
QUANTIZED = (INT8, STATIC_INT8)


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: of the option.
        file: the name of the file or folder.
        writer: short name of the framework that writes it.
        runner: short name of the framework or runtime that runs it.
        dtypes: number formats in which it can be written.
        tools: packages that writing it takes besides the framework; the extra of the runner brings them.
    """

    name: str
    file: str
    writer: str
    runner: str
    dtypes: tuple[str, ...]
    tools: tuple[str, ...] = ()

    @property
    def runtime(self) -> Backend:
        """What runs it."""
        return (BACKENDS | RUNTIMES)[self.runner]

    def module(self) -> ModuleType:
        """The module `distilbert.export.<name>_format`, with `write` and `Session`."""
        return importlib.import_module(f"distilbert.export.{self.name.replace('-', '_')}_format")


_ONNX = ("onnx", "onnxscript")  # OpenVINO reads ONNX

FORMATS = {
    row.name: row
    for row in (
        Format("onnx", "model.onnx", "pt", "onnx", ("float32", "float16", INT8, STATIC_INT8), _ONNX),
        Format("openvino", "openvino_model.xml", "pt", "openvino", ("float32", "float16"), _ONNX),
        Format("litert", "model.tflite", "tf", "litert", ("float32", "float16", INT8)),
        Format("saved-model", "saved_model", "tf", "tf", ("float32",)),
        Format("stablehlo", "model.jax", "flax", "flax", ("float32", "float16", "bfloat16")),
        Format("torch-export", "model.pt2", "pt", "pt", ("float32", "float16", "bfloat16")),
    )
}


def find(name: str) -> Format:
    """The row of a format; InputError for an unknown one."""
    if name not in FORMATS:
        raise InputError(f"format: expected one of {', '.join(FORMATS)}; found {name!r}")
    return FORMATS[name]
