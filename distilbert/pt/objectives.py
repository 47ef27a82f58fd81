# SPDX-License-Identifier: Apache-2.0
"""What PyTorch models are trained for: terms of a loss, each a sum of what single labels lose times their weights.

A part of a step is a dict of tensors (see `distilbert/training/batch.py`). Because its weights add up to 1 over all
parts on all processes, so do the terms, and the gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from distilbert import inputs
from distilbert.config import DistilBertConfig
from distilbert.outputs import ModelOutput
from distilbert.pt.losses import cross_entropies, value_losses

INPUTS = ("input_ids", "attention_mask", "token_places", "places")


class TaskObjective:
    """The loss of a model's own task."""

    def __init__(self, config: DistilBertConfig, task: str, smoothing: float) -> None:
        """Take a task of `spec.TASKS`, and the share of a class label that is spread over all classes."""
        self.config = config
        self.task = task
        self.smoothing = smoothing

    def __call__(self, model: Any, part: dict[str, Tensor]) -> tuple[dict[str, Tensor], ModelOutput]:
        """The terms of the loss and the model's answers."""
        output = model(**model_inputs(part), return_dict=True)
        losses = self.losses(output, part)  # (B,), (B, T) or (B, P)
        return {"loss": (part["weights"] * losses).sum()}, output

    def losses(self, output: ModelOutput, part: dict[str, Tensor]) -> Tensor:
        """What each label loses, in the shape of the weights."""
        if self.task == "question-answering":
            starts = cross_entropies(in_text(output.start_logits, part), part["start_positions"], 0.0)  # (B,)
            ends = cross_entropies(in_text(output.end_logits, part), part["end_positions"], 0.0)  # (B,)
            return (starts + ends) / 2
        labels = part["labels"]
        if self.task == "sequence-classification":
            problem = inputs.problem_type(self.config, labels)
            if problem != "single_label_classification":
                return value_losses(problem, output.logits, labels)
        return cross_entropies(output.logits, labels.clip(min=0), self.smoothing)


def model_inputs(part: dict[str, Tensor]) -> dict[str, Tensor]:
    """What of a part a model is called with; the rest is for its loss."""
    return {name: part[name] for name in INPUTS if name in part}


def in_text(logits: Tensor, part: dict[str, Tensor]) -> Tensor:
    """Logits (B, T) of places in a text; padding is none of them, however much there is."""
    return torch.where(part["attention_mask"] != 0, logits, torch.finfo(logits.dtype).min)
