# SPDX-License-Identifier: Apache-2.0
"""ONNX, from PyTorch's graph whatever the source was: converters from TensorFlow and JAX have traps of their own."""

from __future__ import annotations

import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.export import onnx_int8
from distilbert.export.formats import INT8, QUANTIZED
from distilbert.export.signature import INPUTS, Array, axes, output_names
from distilbert.threads import local_threads

OPSET = 18


def write(model: Any, path: Path, dtype: str, calibration: Sequence[Any] = ()) -> None:
    """Write a model of PyTorch; inputs are int64, outputs float32."""
    if dtype not in QUANTIZED:
        path.write_bytes(_proto(model, dtype).SerializeToString())
        return
    with tempfile.TemporaryDirectory() as folder:
        exact = Path(folder) / "model.onnx"
        write(model, exact, "float32")
        if dtype == INT8:
            onnx_int8.quantize(exact, path)
        else:
            onnx_int8.quantize_statically(exact, path, calibration)


def annotate(path: Path, record: str) -> None:
    """Write text into the file's metadata."""
    import onnx

    proto = onnx.load(path)
    onnx.helper.set_model_props(proto, {"distilbert": record})
    path.write_bytes(proto.SerializeToString())


class Session:
    """A file opened by ONNX Runtime on a CPU."""

    def __init__(self, path: Path, task: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = local_threads()
        self.names = output_names(task)
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(self, inputs: Mapping[str, NDArray[np.int64]]) -> dict[str, Array]:
        found = self.session.run(list(self.names), {name: inputs[name].astype(np.int64) for name in INPUTS})
        return dict(zip(self.names, found, strict=True))


def _proto(model: Any, dtype: str) -> Any:
    import torch

    from distilbert.export.torch_export_format import program

    with _silence():
        found: Any = torch.onnx.export(
            program(model.to(getattr(torch, dtype))),
            dynamo=True,
            input_names=list(INPUTS),
            output_names=list(output_names(model.task)),
            opset_version=OPSET,
        )
    proto = found.model_proto
    del proto.graph.value_info[:]  # hints, some of which ONNX's own inference of shapes contradicts
    for row in (proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        row.ClearField("metadata_props")  # where in whose files each operation comes from
    _name_axes(proto.graph, axes(model.task))
    return proto


def _name_axes(graph: Any, names: tuple[str, ...]) -> None:
    """Give the free axes the names that other tools expect; the exporter numbers them."""
    given = [axis.dim_param for axis in graph.input[0].type.tensor_type.shape.dim]
    known = dict(zip(given, names, strict=True))
    for value in (*graph.input, *graph.output):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_param = known.get(axis.dim_param, axis.dim_param)


@contextmanager
def _silence() -> Iterator[None]:
    """The exporter prints its steps, and warns of packages that have nothing to do with this model."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
