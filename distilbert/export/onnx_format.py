# SPDX-License-Identifier: Apache-2.0
"""ONNX, from PyTorch's graph whatever the source was: converters from TensorFlow and JAX have traps of their own."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.export.signature import INPUTS, Array, axes, output_names, threads

OPSET = 18


def write(model: Any, path: Path, dtype: str) -> None:
    """Write a model of PyTorch; inputs are int64, outputs float32."""
    import torch

    from distilbert.export.torch_export_format import program

    with _silence():
        found = torch.onnx.export(
            program(model.to(getattr(torch, dtype))),
            dynamo=True,
            input_names=list(INPUTS),
            output_names=list(output_names(model.task)),
            opset_version=OPSET,
        )
    proto = found.model_proto
    _name_axes(proto, axes(model.task))
    path.write_bytes(proto.SerializeToString())


class Session:
    """A file opened by ONNX Runtime on a CPU."""

    def __init__(self, path: Path, task: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        self.names = output_names(task)
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(self, inputs: Mapping[str, NDArray[np.int64]]) -> dict[str, Array]:
        found = self.session.run(list(self.names), {name: inputs[name].astype(np.int64) for name in INPUTS})
        return dict(zip(self.names, found, strict=True))


def _name_axes(proto: Any, names: tuple[str, ...]) -> None:
    """Give the free axes the names that other tools expect; the exporter numbers them."""
    known = {
        axis.dim_param: name for axis, name in zip(proto.graph.input[0].type.tensor_type.shape.dim, names, strict=True)
    }
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            for number, name in known.items():
                if axis.dim_param:
                    axis.dim_param = axis.dim_param.replace(number, name)


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
