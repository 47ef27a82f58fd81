# SPDX-License-Identifier: Apache-2.0
"""PyTorch models of transformers, with scaled dot-product attention, in version 4 or 5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from distilbert.bench.contenders import torch_steps
from distilbert.bench.contenders.base import CLASSIFIER, Base, Call

if TYPE_CHECKING:
    from distilbert.bench.contenders.base import Predict, Step


class Contender(Base):
    """transformers on PyTorch."""

    statement = "from transformers import DistilBertModel"

    def predictor(self, class_name: str) -> Predict:
        """In bfloat16, all parameters are."""
        import torch

        model = self._load(class_name)
        return torch_steps.predictor(model.to(torch.bfloat16) if self.precision == "bfloat16" else model)

    def stepper(self) -> Step:
        """As a hand-written training loop does it."""
        return torch_steps.stepper(self._load(CLASSIFIER), self.precision)

    def load(self) -> Call:
        """In float32."""
        return lambda: self._load(CLASSIFIER)

    def rows(self, output: Any) -> Sequence[Any]:
        """NumPy has no bfloat16."""
        rows: Sequence[Any] = output.float().numpy()
        return rows

    def _load(self, class_name: str) -> Any:
        import torch
        import transformers

        options = {"attn_implementation": "sdpa", "dtype": torch.float32}  # version 5 would take the file's type
        return getattr(transformers, class_name).from_pretrained(self.model, **options).eval()
