# SPDX-License-Identifier: Apache-2.0
"""PyTorch's layers without their own random start: values come from a checkpoint or from `initialization.py`."""

from __future__ import annotations

import torch
from torch import nn

from distilbert.reference import LAYER_NORM_EPS


class Linear(nn.Linear):
    """x (..., in) -> (..., out)."""

    def reset_parameters(self) -> None:
        """Leave the values unset."""


class Embedding(nn.Embedding):
    """Ids (...) -> rows of a table (..., D)."""

    def reset_parameters(self) -> None:
        """Leave the values unset."""


class LayerNorm(nn.LayerNorm):
    """x (..., D) -> mean 0 and variance 1 along D, scaled and shifted."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=LAYER_NORM_EPS)

    def reset_parameters(self) -> None:
        """Leave the values unset."""


def empty_parameter(*shape: int) -> nn.Parameter:
    """A parameter whose values come later."""
    return nn.Parameter(torch.empty(shape))
