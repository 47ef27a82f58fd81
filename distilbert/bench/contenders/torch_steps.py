# SPDX-License-Identifier: Apache-2.0
"""Calls of PyTorch models, ours and those of transformers alike. Nothing of this package is imported but `base.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distilbert.bench.contenders.base import RATE

if TYPE_CHECKING:
    from distilbert.bench.contenders.base import Ids, Predict, Step


def predictor(model: Any) -> Predict:
    """Ids and mask to the first output, without a graph for gradients."""
    import torch

    def predict(ids: Ids, mask: Ids) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))[0]

    return predict


def stepper(model: Any, precision: str) -> Step:
    """One step of AdamW with dropout; bfloat16 by autocast."""
    import torch

    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)

    def step(*arrays: Ids) -> None:
        ids, mask, labels = map(torch.from_numpy, arrays)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = model(ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        optimizer.step()

    return step
