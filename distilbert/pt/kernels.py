# SPDX-License-Identifier: Apache-2.0
"""Linear layers for inference: weights stored once in the order that the fastest kernel at hand wants.

On a CPU that kernel is oneDNN's, which PyTorch's compiler uses too: it comes close to the machine's limit,
and applies an activation or adds a residual while the numbers are still in registers.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from distilbert.inference.huge_pages import use_huge_pages
from distilbert.pt.activations import ACTIVATIONS

# Activations that oneDNN applies itself, by our name: its name, and its algorithm. Not its relu, which makes 0 of NaN:
# the head would answer as if nothing were wrong.
_FUSED = {"gelu": ("gelu", "none"), "gelu_python": ("gelu", "none")}
_SMALLEST = 1e-30  # what a row of zeros is divided by
_U8_ZERO = 128  # the number that stands for 0 in unsigned 8-bit activations


class Linear(ABC):
    """x (N, in) -> (N, out), on its own, with an activation, or added to a residual."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """The layer alone."""

    def activated(self, x: Tensor, activation: str) -> Tensor:
        """With an activation of the config after it."""
        return ACTIVATIONS[activation](self(x))

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        """Added to a residual (N, out)."""
        return self(x).add_(residual)


class PlainLinear(Linear):
    """PyTorch's own product, where there is nothing better: on GPUs, and on CPUs without oneDNN."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = weight
        self.bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class OneDnnLinear(Linear):
    """oneDNN's product with reordered weights."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = in_huge_pages(torch.ops.mkldnn._reorder_linear_weight(weight.contiguous()))
        self.bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")  # type: ignore[no-any-return]

    def activated(self, x: Tensor, activation: str) -> Tensor:
        if activation not in _FUSED:
            return super().activated(x, activation)
        name, algorithm = _FUSED[activation]
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, name, [], algorithm)  # type: ignore[no-any-return]

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")  # type: ignore[no-any-return]


class Int8Linear(Linear):
    """Dynamic quantisation: weights as 8-bit numbers with a scale for each output, inputs with a scale for each token.

    A scale for each token, not for the whole batch, so that no text depends on its neighbours.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.scales = (weight.abs().amax(1) / 127).clamp(min=_SMALLEST)  # (out,)
        self.weight = torch.round(weight / self.scales[:, None]).to(torch.int8)  # (out, in)
        self.bias = bias
        self.half = torch.tensor(_U8_ZERO + 0.5, device=weight.device)
        self.zeros = torch.zeros(len(weight), dtype=torch.int32, device=weight.device)
        self.packed = self._packed() if onednn_has_int8(weight.device) else None

    def __call__(self, x: Tensor) -> Tensor:
        largest = x.abs().amax(1, keepdim=True).clamp_(min=_SMALLEST)  # (N, 1)
        product = self._product(x, 127 / largest)  # (N, out)
        return torch.addcmul(self.bias, product, largest.div_(127))

    def _packed(self) -> Tensor:
        return in_huge_pages(torch.ops.onednn.qlinear_prepack(self.weight, None))

    def _product(self, x: Tensor, factor: Tensor) -> Tensor:
        """x (N, in) times factor (N, 1), rounded, times the weights: (N, out)."""
        if self.packed is None:
            quantised = torch.round(x * factor).to(torch.int8)
            rows = F.pad(quantised, (0, 0, 0, max(0, 17 - len(x))))  # the kernel for GPUs takes no fewer
            return torch._int_mm(rows, self.weight.t())[: len(x)] * self.scales
        # Cutting off the fraction of a positive number plus a half is rounding it.
        quantised = torch.addcmul(self.half, x, factor).to(torch.uint8)
        return torch.ops.onednn.qlinear_pointwise(  # type: ignore[no-any-return]
            quantised, 1.0, _U8_ZERO, self.packed, self.scales, self.zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )


class _Product(torch.autograd.Function):
    """x (N, in), weight (out, in) -> (N, out), whose gradients are such products again."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            product(gradient, weight.t()) if wanted[0] else None,
            weight_gradient(gradient, x) if wanted[1] else None,
            gradient.sum(0) if wanted[2] else None,
        )


def weight_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    """gradient (N, out) and x (N, in) -> (out, in); oneDNN copies a turned first factor, so that is the smaller one."""
    if x.shape[1] < gradient.shape[1]:
        return product(x.t(), gradient.t()).t()
    return product(gradient.t(), x.t())


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (N, in), weight (out, in) and bias (out,) -> (N, out) by oneDNN in float32, differentiable any number of times.

    PyTorch itself would ask MKL, which on AMD's newer CPUs reaches half of oneDNN's speed.
    """
    return _Product.apply(x, weight, bias)  # type: ignore[no-any-return]


def linear(weight: Tensor, bias: Tensor, dtype: str) -> Linear:
    """The fastest layer for a weight (out, in) and bias (out,) in float32, on the device where they are."""
    if dtype == "int8":
        return Int8Linear(weight, bias)
    weight, bias = weight.to(getattr(torch, dtype)), bias.to(getattr(torch, dtype))
    return OneDnnLinear(weight, bias) if onednn_has(weight.dtype, weight.device) else PlainLinear(weight, bias)


def in_huge_pages(reordered: Tensor) -> Tensor:
    """A weight in oneDNN's own order, moved to large pages of memory where that is possible."""
    use_huge_pages([(torch.ops.mkldnn.data_ptr(reordered), torch.ops.mkldnn._nbytes(reordered))])
    return reordered


def onednn_has(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether oneDNN multiplies numbers of this type on this device, by the operators that are used here."""
    if device.type != "cpu" or not _has_operator("mkldnn", "_linear_pointwise"):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


def onednn_has_int8(device: torch.device) -> bool:
    """Whether oneDNN multiplies 8-bit numbers on this device."""
    return device.type == "cpu" and _has_operator("onednn", "qlinear_pointwise")


@functools.cache
def _has_operator(namespace: str, name: str) -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(getattr(torch.ops, namespace), name)
