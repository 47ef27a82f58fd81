# SPDX-License-Identifier: Apache-2.0
"""ONNX files in 8 bits, by ONNX Runtime's own tools: products have a scale for each output, embeddings one for all."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from distilbert.export.signature import INPUTS
from distilbert.inference.precision import cpu_flags

# What holds the weights. Norms and softmax in 8 bits cost points of quality, and hardly save time.
OPERATORS = ["MatMul", "Gemm", "Gather"]
_WIDE_SUMS = frozenset({"avx512_vnni", "avx_vnni"})  # how Linux calls what adds products of 8 bits up in 32


def quantize(source: Path, target: Path) -> None:
    """Weights in 8 bits; activations are rounded while the file runs, by their range in each call."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _silence():
        quantize_dynamic(
            source,
            target,
            OPERATORS,
            per_channel=True,
            reduce_range=_is_narrow(),
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_products_of_activations(source),
        )


def quantize_statically(source: Path, target: Path, sequences: Sequence[Any]) -> None:
    """Weights and activations in 8 bits; the ranges of activations are those met in some texts.

    Args:
        source: a file in float32.
        target: the file to write.
        sequences: token ids of each text; of multiple choice a list of them for each question.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = map(_batch, sequences)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    with _silence():
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=OPERATORS,
            nodes_to_exclude=_products_of_activations(source),
            per_channel=True,
            reduce_range=_is_narrow(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def _products_of_activations(path: Path) -> list[str]:
    """The products without a weight, as those of attention; in 8 bits they would cost quality."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "MatMul" and node.input[1] not in weights]


def _is_narrow() -> bool:
    """Whether this CPU adds products of 8 bits up in 16, where they overflow unless weights have 7."""
    return platform.machine().lower() in ("x86_64", "amd64") and not _WIDE_SUMS & cpu_flags()


def _batch(sequence: Any) -> dict[str, Any]:
    """One text, or one question with its choices padded to the longest."""
    rows = [sequence] if np.ndim(sequence[0]) == 0 else sequence
    longest = max(map(len, rows))
    ids = np.array([[*row, *[0] * (longest - len(row))] for row in rows])
    mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return dict(zip(INPUTS, (ids, mask) if rows is not sequence else (ids[None], mask[None]), strict=True))


@contextmanager
def _silence() -> Iterator[None]:
    """The tools advise through the root logger to prepare files that need no preparing."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
