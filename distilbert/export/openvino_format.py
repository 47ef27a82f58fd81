# SPDX-License-Identifier: Apache-2.0
"""OpenVINO's intermediate representation: an `.xml` with the graph and a `.bin` with the weights, made from ONNX."""

from __future__ import annotations

import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.export.signature import INPUTS, Array, output_names
from distilbert.threads import local_threads


def load() -> Any:
    """OpenVINO without its telemetry, which forks this process at the import to tell its maker of it.

    A fork may end in a deadlock beside JAX, and what a user computes is nobody else's business.
    """
    blocked = "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules
    if blocked:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # an ImportError, which OpenVINO expects
    try:
        import openvino
    finally:
        if blocked:
            sys.modules.pop("openvino_telemetry", None)
    return openvino


def write(model: Any, path: Path, dtype: str) -> None:
    """Write a model of PyTorch; with float16 it is the weights that are stored so."""
    openvino = load()
    from distilbert.export import onnx_format

    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(folder) / "model.onnx"
        onnx_format.write(model, onnx, "float32")
        found = openvino.Core().read_model(onnx)
        openvino.save_model(found, path, compress_to_fp16=dtype == "float16")


def annotate(path: Path, record: str) -> None:
    """Write text into the file's metadata."""
    tree = ElementTree.parse(path)
    found = tree.getroot().find("rt_info")
    info = ElementTree.SubElement(tree.getroot(), "rt_info") if found is None else found
    ElementTree.SubElement(info, "distilbert", {"value": record})
    tree.write(path, encoding="utf-8", xml_declaration=True)


class Session:
    """A file compiled for this CPU, to compute in float32."""

    def __init__(self, path: Path, task: str) -> None:
        openvino = load()
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": local_threads()}
        self.names = output_names(task)
        self.compiled = openvino.compile_model(path, "CPU", settings)

    def run(self, inputs: Mapping[str, NDArray[np.int64]]) -> dict[str, Array]:
        found = self.compiled({name: inputs[name].astype(np.int64) for name in INPUTS})
        return {name: np.array(found[name]) for name in self.names}
