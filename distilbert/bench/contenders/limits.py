# SPDX-License-Identifier: Apache-2.0
"""How fast this machine can be: matrix products by oneDNN with weights in its own order, and reading memory.

Without PyTorch, NumPy stands in, for float32 only.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from distilbert.bench.contenders.base import Call

Shape = tuple[int, int, int]  # rows, inputs, outputs


class Contender:
    """The machine itself; it has no model."""

    def __init__(self, **options: Any) -> None:
        self.has_torch = importlib.util.find_spec("torch") is not None

    def matmul(self, precision: str, shape: Shape) -> Call:
        """One product."""
        if not self.has_torch:
            return _numpy_matmul(shape)
        return _int8_matmul(shape) if precision == "int8" else _float_matmul(precision, shape)

    def memory(self, nbytes: int) -> Call:
        """Read so many bytes once, with all threads."""
        import numpy as np

        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        parts = np.array_split(np.ones(nbytes // 8, np.int64), threads)
        pool = ThreadPoolExecutor(threads)
        return lambda: list(pool.map(np.max, parts))


def _numpy_matmul(shape: Shape) -> Call:
    import numpy as np

    rows, inputs, outputs = shape
    left, right = np.ones((rows, inputs), np.float32), np.ones((inputs, outputs), np.float32)
    return lambda: left @ right


def _float_matmul(precision: str, shape: Shape) -> Call:
    import torch

    rows, inputs, outputs = shape
    dtype = getattr(torch, precision)
    x, bias = torch.randn(rows, inputs).to(dtype), torch.randn(outputs).to(dtype)
    weight = torch.ops.mkldnn._reorder_linear_weight(torch.randn(outputs, inputs).to(dtype))
    multiply = torch.ops.mkldnn._linear_pointwise.default
    return _without_gradients(lambda: multiply(x, weight, bias, "none", [], ""))


def _int8_matmul(shape: Shape) -> Call:
    """Bytes without sign times bytes with sign: the kind that CPUs have instructions for."""
    import torch

    rows, inputs, outputs = shape
    x = torch.randint(0, 256, (rows, inputs), dtype=torch.uint8)
    weight = torch.randint(-127, 128, (outputs, inputs), dtype=torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(weight, [rows, inputs])
    scales, zeros, bias = torch.full((outputs,), 0.01), torch.zeros(outputs, dtype=torch.int32), torch.randn(outputs)
    multiply = torch.ops.onednn.qlinear_pointwise.default
    output = (1.0, 0, torch.float32)
    return _without_gradients(lambda: multiply(x, 1.0, 128, packed, scales, zeros, bias, *output, "none", [], ""))


def _without_gradients(call: Callable[[], object]) -> Call:
    import torch

    def run() -> None:
        with torch.inference_mode():
            call()

    return run
