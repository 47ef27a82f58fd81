# SPDX-License-Identifier: Apache-2.0
"""How the loss of each example changes with a factor on each attention head, in PyTorch.

Read beside `tf/importance.py` and `flax/importance.py`; what the numbers are for is said in
`distilbert/pruning/importance.py`.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from distilbert.convert.tensor import Array
from distilbert.pt.io import to_numpy
from distilbert.pt.processes import own_device
from distilbert.training.batch import Batch


class Derivatives:
    """Derivatives of the loss by factors on the heads of a PyTorch model, all of a batch in one backward pass."""

    def __init__(self, model: Any, objective: Any) -> None:
        """Take a model, which is moved to a GPU where there is one, and a `TaskObjective`."""
        self.model = model.to(own_device()).eval()
        self.objective = objective

    def __call__(self, batch: Batch, head_mask: Array) -> Array:
        """The derivatives (n_layers, B, H) at the factors `head_mask` (n_layers, B, H)."""
        part = {name: torch.from_numpy(values).to(self.model.device) for name, values in batch.items()}
        return to_numpy(self.derivatives(part, torch.from_numpy(head_mask).to(self.model.device)))

    def derivatives(self, part: dict[str, Tensor], head_mask: Tensor) -> Tensor:
        head_mask.requires_grad_()
        terms, _ = self.objective(functools.partial(self.model, head_mask=head_mask), part)
        loss = torch.stack([*terms.values()]).sum()  # ()
        return torch.autograd.grad(loss, head_mask)[0]  # (n_layers, B, H)
