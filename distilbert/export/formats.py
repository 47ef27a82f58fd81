# SPDX-License-Identifier: Apache-2.0
"""The formats that a model can be exported to, as rows of data. Nothing here imports a framework."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from types import ModuleType

from distilbert.errors import BackendError, InputError


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: of the option.
        title: what a reader calls what runs it.
        file: the name of the file or folder.
        framework: short name of the framework that writes it.
        extra: of `pip install "distilbert[...]"`, for what runs it.
        packages: that run it.
        dtypes: float types in which it can be written.
    """

    name: str
    title: str
    file: str
    framework: str
    extra: str
    packages: tuple[str, ...]
    dtypes: tuple[str, ...]

    def module(self) -> ModuleType:
        """The module `distilbert.export.<name>_format`, with `write` and `Session`."""
        return importlib.import_module(f"distilbert.export.{self.name.replace('-', '_')}_format")

    def require(self, wanted_by: str) -> None:
        """Raise BackendError with the install command unless what runs the format is installed."""
        missing = [package for package in self.packages if importlib.util.find_spec(package.split(".")[0]) is None]
        if missing:
            raise BackendError(
                f"{wanted_by} needs {self.title}, but {' and '.join(missing)} cannot be imported.\n"
                f'  install:  pip install "distilbert[{self.extra}]"'
            )


FORMATS = {
    row.name: row
    for row in (
        Format("onnx", "ONNX Runtime", "model.onnx", "pt", "onnx", ("onnxruntime",), ("float32", "float16")),
        Format("openvino", "OpenVINO", "openvino_model.xml", "pt", "openvino", ("openvino",), ("float32", "float16")),
        Format("torch-export", "PyTorch", "model.pt2", "pt", "pt", ("torch",), ("float32", "float16", "bfloat16")),
        Format("saved-model", "TensorFlow", "saved_model", "tf", "tf", ("tensorflow",), ("float32",)),
        Format("litert", "LiteRT", "model.tflite", "tf", "litert", ("ai_edge_litert",), ("float32", "float16")),
        Format("stablehlo", "JAX", "model.jax", "flax", "flax", ("jax",), ("float32", "float16", "bfloat16")),
    )
}


def find(name: str) -> Format:
    """The row of a format; InputError for an unknown one."""
    if name not in FORMATS:
        raise InputError(f"format: expected one of {', '.join(FORMATS)}; found {name!r}")
    return FORMATS[name]
