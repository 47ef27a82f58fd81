# SPDX-License-Identifier: Apache-2.0
"""`distilbert.pt`: the plain model, and the fast one made from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from distilbert.bench.contenders import torch_steps
from distilbert.bench.contenders.base import CLASSIFIER
from distilbert.bench.contenders.ours import Ours

if TYPE_CHECKING:
    from distilbert.bench.contenders.base import Predict, Step


class Contender(Ours):
    """Ours in PyTorch."""

    backend = "pt"

    def predictor(self, class_name: str) -> Predict:
        """The plain or the fast model."""
        return torch_steps.predictor(self.ready(class_name))

    def stepper(self) -> Step:
        """As a hand-written training loop does it."""
        return torch_steps.stepper(self.plain(CLASSIFIER), self.precision)

    def rows(self, output: Any) -> Sequence[Any]:
        """NumPy has no bfloat16."""
        rows: Sequence[Any] = output.float().numpy()
        return rows
