# SPDX-License-Identifier: Apache-2.0
"""What PyTorch students are trained for: to answer as their teacher does.

Read beside `tf/distillation.py` and `flax/distillation.py`. Batches and formulas are those of
`distilbert/training/distillation/batches.py`, whose letters are used here; `reference.py` beside it has them in NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distilbert.outputs import ModelOutput
from distilbert.pt.heads import at_places
from distilbert.pt.io import to_numpy
from distilbert.pt.losses import at_least_float32, by_rows, cross_entropies
from distilbert.pt.objectives import model_inputs
from distilbert.pt.processes import own_device
from distilbert.training.distillation.reference import COSINE_EPSILON, LEAST_REST, LossSettings

Part = dict[str, Tensor]


class Teacher:
    """A model that is asked, and does not learn."""

    def __init__(self, model: Any, settings: LossSettings, coordinates: NDArray[np.int64] | None) -> None:
        """Take who answers.

        Args:
            model: a masked language model, or a bare encoder where its hidden states alone are asked for.
            settings: of the loss.
            coordinates: (d,) of its hidden states, which the student has; None for all.
        """
        self.model = model.to(own_device()).eval().requires_grad_(False)
        self.at_masks = settings.at_masks
        self.coordinates = None if coordinates is None else torch.from_numpy(coordinates).to(self.model.device)

    @torch.no_grad()
    def __call__(self, part: Part) -> Part:
        """Its answers to a part: `hidden` (B, T, d), and `logits` (B, T, V) or (B, P, V) if it has a head."""
        has_head = self.model.task != "encoder"
        output = self.model(**seen(part, self.at_masks and has_head), output_hidden_states=True, return_dict=True)
        hidden = output.hidden_states[-1]  # (B, T, D)
        if self.coordinates is not None:
            hidden = hidden[..., self.coordinates]  # (B, T, d)
        return {"hidden": hidden, "logits": output.logits} if has_head else {"hidden": hidden}

    def ask(self, part: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Its answers to a batch of NumPy, in NumPy, for a cache."""
        tensors = {name: torch.from_numpy(values).to(self.model.device) for name, values in part.items()}
        return {name: to_numpy(value) for name, value in self(tensors).items()}


class DistillationObjective:
    """The triple loss of masked language modelling with a teacher."""

    def __init__(self, settings: LossSettings, teacher: Teacher | None) -> None:
        """Take the weights of the terms, and who answers; None where batches bring the answers."""
        self.settings = settings
        self.teacher = teacher

    def __call__(self, model: Any, part: Part) -> tuple[dict[str, Tensor], ModelOutput]:
        """The terms of the loss and the student's answers; without `token_weights` its plain masked LM loss."""
        if "token_weights" not in part:
            return plain_loss(model, part)
        settings = self.settings
        output = model(**seen(part, settings.at_masks), output_hidden_states=True, return_dict=True)
        teacher = cached(part) if self.teacher is None else self.teacher(part)
        terms = {}
        if settings.alpha_ce:
            weights = part["weights" if settings.restrict_ce_to_mask else "token_weights"]  # (B, T) or (B, P)
            losses = soft_losses(output.logits, teacher, settings.temperature)  # (B, T) or (B, P)
            terms["ce"] = settings.alpha_ce * (weights * losses).sum()  # ()
        if settings.alpha_mlm:
            logits = output.logits if settings.at_masks else at_places(output.logits, part["places"])  # (B, P, V)
            losses = cross_entropies(logits, part["labels"], 0.0)  # (B, P)
            terms["mlm"] = settings.alpha_mlm * (part["weights"] * losses).sum()  # ()
        if settings.alpha_cos:
            losses = cosine_distances(output.hidden_states[-1], teacher["hidden"])  # (B, T)
            terms["cos"] = settings.alpha_cos * (part["token_weights"] * losses).sum()  # ()
        return terms, output


class TaskDistillationObjective:
    """Soft labels of a teacher, and perhaps hard ones."""

    def __init__(self, settings: LossSettings) -> None:
        """Take the weights of the terms."""
        self.settings = settings

    def __call__(self, model: Any, part: Part) -> tuple[dict[str, Tensor], ModelOutput]:
        """The terms of the loss and the student's answers; without the teacher's logits the plain loss."""
        if "teacher_logits" not in part:
            return plain_loss(model, part)
        output = model(**model_inputs(part), return_dict=True)
        terms = {}
        if self.settings.alpha_ce:
            losses = divergences(output.logits, part["teacher_logits"], self.settings.temperature)  # (B,)
            terms["ce"] = self.settings.alpha_ce * (part["weights"] * losses).sum()  # ()
        if self.settings.alpha_label:
            losses = cross_entropies(output.logits, part["labels"], 0.0)  # (B,)
            terms["label"] = self.settings.alpha_label * (part["label_weights"] * losses).sum()  # ()
        return terms, output


def seen(part: Part, at_masks: bool) -> Part:
    """What student and teacher are asked: all places, or the masked ones where only these count."""
    found = model_inputs(part)
    if not at_masks:
        found.pop("places", None)
    return found


def cached(part: Part) -> Part:
    """The teacher's answers that a part brings: `ids` and `probabilities`, `hidden`, or `logits`."""
    return {name.removeprefix("teacher_"): value for name, value in part.items() if name.startswith("teacher_")}


def plain_loss(model: Any, part: Part) -> tuple[dict[str, Tensor], ModelOutput]:
    """The loss without a teacher, of evaluations, and the student's answers."""
    output = model(**model_inputs(part), return_dict=True)
    losses = cross_entropies(output.logits, part["labels"], 0.0)  # (B,) or (B, P)
    return {"loss": (part["weights"] * losses).sum()}, output


def soft_losses(logits: Tensor, teacher: Part, temperature: float) -> Tensor:
    """What each place loses by not answering as the teacher: logits (..., V) -> (...)."""
    if "ids" in teacher:
        return by_rows(
            partial(kept_divergences, temperature=temperature), logits, teacher["ids"], teacher["probabilities"]
        )  # (...)
    return by_rows(partial(divergences, temperature=temperature), logits, teacher["logits"])  # (...)


def divergences(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL of softened answers, one for each item: logits (..., V), (..., V) -> (...)."""
    log_q = torch.log_softmax(at_least_float32(student) / temperature, -1)  # (..., V)
    log_p = torch.log_softmax(at_least_float32(teacher) / temperature, -1)  # (..., V)
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(-1)


def kept_divergences(student: Tensor, ids: Tensor, probabilities: Tensor, temperature: float) -> Tensor:
    """The same where of the teacher K pieces and a rest are known: logits (..., V), (..., K), (..., K + 1) -> (...)."""
    log_q = torch.log_softmax(at_least_float32(student) / temperature, -1)  # (..., V)
    kept = torch.gather(log_q, -1, ids.long())  # (..., K)
    rest = (1 - kept.exp().sum(-1, keepdim=True)).clip(min=LEAST_REST)  # (..., 1)
    known = torch.cat([kept, rest.log()], -1)  # (..., K + 1)
    log_p = probabilities.clip(min=1e-30).log()  # (..., K + 1)
    return temperature**2 * (probabilities * (log_p - known)).sum(-1)


def cosine_distances(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine, one for each token: (..., d), (..., d) -> (...)."""
    h = at_least_float32(student)  # (..., d)
    g = teacher.to(h.dtype)  # (..., d)
    squares = (h.square().sum(-1) + COSINE_EPSILON) * (g.square().sum(-1) + COSINE_EPSILON)  # (...)
    return 1 - (h * g).sum(-1) * squares.rsqrt()
