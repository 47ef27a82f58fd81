# SPDX-License-Identifier: Apache-2.0
"""The losses of the heads in PyTorch: scalars, computed in float32 or better.

Every loss is a mean over the labels that count; labels of -100 do not, and a batch without any that counts has loss 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from distilbert import inputs
from distilbert.config import DistilBertConfig
from distilbert.inputs import IGNORED_LABEL
from distilbert.pt.io import bounds

CACHED = 2**18  # logits that are worked on at a time on a CPU


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of classes: logits (..., L), labels (...) -> ()."""
    known = torch.where(labels == IGNORED_LABEL, 0, labels)
    inputs.check_class_labels(labels, tuple(logits.shape[:-1]), logits.shape[-1], bounds(known))
    return cross_entropy(logits, labels, IGNORED_LABEL)


def classification_loss(config: DistilBertConfig, logits: Tensor, labels: Tensor) -> Tensor:
    """The loss for the problem type: logits (B, L), labels (B,) classes or values, or (B, L) values -> ()."""
    problem = inputs.problem_type(config, labels)
    if problem == "single_label_classification":
        return token_loss(logits, labels)
    inputs.check_value_labels(labels, tuple(logits.shape))
    return value_losses(problem, logits, labels.reshape(logits.shape)).mean()


def value_losses(problem: str, logits: Tensor, labels: Tensor) -> Tensor:
    """One for each text, the mean over its values: logits (B, L), labels (B, L) -> (B,)."""
    logits = at_least_float32(logits)  # (B, L)
    targets = labels.to(logits.dtype)  # (B, L)
    if problem == "regression":
        return F.mse_loss(logits, targets, reduction="none").mean(-1)
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(-1)


def span_loss(
    start_logits: Tensor, end_logits: Tensor, start_positions: Tensor | None, end_positions: Tensor | None
) -> Tensor | None:
    """Mean of the cross-entropies of start and end: logits (B, T), positions (B,) or (B, 1) -> ().

    Positions are clamped to the text; one at or beyond its end does not count.
    """
    inputs.check_span_labels(start_positions, end_positions, start_logits.shape[0])
    if start_positions is None or end_positions is None:
        return None
    length = start_logits.shape[1]
    starts = start_positions.reshape(-1).clip(0, length)  # (B,)
    ends = end_positions.reshape(-1).clip(0, length)  # (B,)
    return (cross_entropy(start_logits, starts, length) + cross_entropy(end_logits, ends, length)) / 2


def cross_entropy(logits: Tensor, labels: Tensor, ignored: int) -> Tensor:
    """Mean over the labels that are not `ignored`: logits (..., L), labels (...) -> ()."""
    kept = labels != ignored  # (...)
    losses = cross_entropies(logits, torch.where(kept, labels, 0), 0.0)  # (...)
    return torch.where(kept, losses, 0).sum() / kept.sum().clip(min=1)


def cross_entropies(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """One for each label: logits (..., L), labels (...) -> (...); a share `smoothing` of each goes to all classes."""
    log_probabilities = torch.log_softmax(at_least_float32(logits), -1)  # (..., L)
    losses = -torch.gather(log_probabilities, -1, labels.long()[..., None])[..., 0]  # (...)
    if smoothing == 0:
        return losses
    return (1 - smoothing) * losses - smoothing * log_probabilities.mean(-1)


def at_least_float32(logits: Tensor) -> Tensor:
    """Half-precision logits as float32, others as they are."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def by_rows(losses: Callable[..., Tensor], logits: Tensor, *others: Tensor) -> Tensor:
    """Losses of rows by a function that takes them row by row: logits (..., V), others (..., n) -> (...).

    On a CPU so many rows at a time as its cache holds, with their gradient in the same pass: of a whole table every
    operation goes through memory, which took as long as all products of a training step. Others get no gradient.
    """
    if logits.device.type != "cpu":
        return losses(logits, *others)
    found: Tensor = _ByRows.apply(losses, *(one.flatten(0, -2) for one in (logits, *others)))
    return found.reshape(logits.shape[:-1])


class _ByRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, losses: Callable[..., Tensor], logits: Tensor, *others: Tensor) -> Tensor:
        found, slopes = [], torch.empty_like(logits)  # (N, V)
        count = max(1, CACHED // logits.shape[-1])
        tables = [table.split(count) for table in (slopes, logits, *others)]
        for slope, part, *rest in zip(*tables, strict=True):
            part = part.detach().requires_grad_()
            with torch.enable_grad():
                some = losses(part, *rest)  # (n,)
                slope.copy_(torch.autograd.grad(some.sum(), part)[0])
            found.append(some.detach())
        ctx.save_for_backward(slopes)
        ctx.others = len(others)
        return torch.cat(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return None, slopes * gradients[0].to(slopes.dtype)[:, None], *[None] * ctx.others
