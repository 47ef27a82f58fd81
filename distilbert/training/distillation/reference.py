# SPDX-License-Identifier: Apache-2.0
"""The losses of distillation in NumPy, with their gradients: what the three frameworks' objectives must compute.

Every term is a sum of item losses times weights, so that the parts of a step add up; `batch.normalised` makes the
weights of a term add up to 1 over a step, and the term a mean. Item losses, for student logits s and teacher logits t:

    soft cross-entropy   T^2 sum_v p_v (log p_v - log q_v)    p = softmax(t / T), q = softmax(s / T)
    cross-entropy        -log softmax(s)_label
    cosine               1 - h . g / sqrt((|h|^2 + e) (|g|^2 + e)), e = 1e-12

The factor T^2 keeps the gradient's size apart from the temperature. Values are in the float type of the arguments; for
a reference, float64. `triple_loss` and `task_loss` put the terms together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.training.batch import Batch

Array = NDArray[Any]
COSINE_EPSILON = 1e-12
LEAST_REST = 1e-6  # the student's rest outside the kept pieces is taken to be at least this; float32 can tell it from 0


@dataclass(frozen=True)
class LossSettings:
    """How the terms are put together; the fields are those of the recipe."""

    temperature: float = 2.0
    alpha_ce: float = 5.0
    alpha_mlm: float = 2.0
    alpha_cos: float = 1.0
    alpha_label: float = 0.0
    restrict_ce_to_mask: bool = False

    @property
    def at_masks(self) -> bool:
        """Whether logits are needed at the masked places alone."""
        return self.restrict_ce_to_mask or not self.alpha_ce


@dataclass(frozen=True)
class Loss:
    """A loss and where it falls.

    Attributes:
        terms: by name, their weights included; the loss is their sum.
        d_logits: gradient of the loss with respect to the student's logits, of their shape.
        d_hidden: the same of its last hidden states; None where they take no part.
    """

    terms: dict[str, float]
    d_logits: Array
    d_hidden: Array | None


def soft_cross_entropy(student: Array, teacher: Array, weights: Array, temperature: float) -> tuple[float, Array]:
    """Sum over items of weights (...) times the divergence of student from teacher, both (..., V), and its gradient."""
    log_q, log_p = log_softmax(student / temperature), log_softmax(teacher / temperature)
    p = np.exp(log_p)
    items = temperature**2 * (p * (log_p - log_q)).sum(-1)
    return float((weights * items).sum()), weights[..., None] * temperature * (np.exp(log_q) - p)


def kept_cross_entropy(
    student: Array, ids: Array, probabilities: Array, weights: Array, temperature: float
) -> tuple[float, Array]:
    """The same where of each teacher's answer only K pieces are known, and all others as one rest.

    log q of the rest is log(max(1 - sum of q over the K pieces, 1e-6)). The divergence of these K + 1 probabilities is
    at most that of all V, and equal to it where student and teacher share out the rest alike.

    Args:
        student: (..., V) logits.
        ids: (..., K) which pieces are known.
        probabilities: (..., K + 1) the teacher's at this temperature, the rest last.
        weights: (...).
        temperature: of both.
    """
    log_q = log_softmax(student / temperature)
    kept = np.take_along_axis(log_q, ids, -1)
    rest = 1 - np.exp(kept).sum(-1, keepdims=True)
    known = np.concatenate([kept, np.log(np.maximum(rest, LEAST_REST))], -1)
    p = probabilities
    items = temperature**2 * (p * (np.log(np.maximum(p, 1e-30)) - known)).sum(-1)
    # d(items)/d(kept) = -T^2 p_k + T^2 p_rest q_k / q_rest, the second only where the rest is not held at its least
    share = np.where(rest > LEAST_REST, p[..., -1:] / np.maximum(rest, LEAST_REST), 0)
    d_kept = temperature * (share * np.exp(kept) - p[..., :-1])
    gradient = -np.exp(log_q) * d_kept.sum(-1, keepdims=True)
    np.put_along_axis(gradient, ids, np.take_along_axis(gradient, ids, -1) + d_kept, -1)
    return float((weights * items).sum()), weights[..., None] * gradient


def cross_entropy(logits: Array, labels: Array, weights: Array) -> tuple[float, Array]:
    """Sum over items of weights (...) times the cross-entropy of logits (..., V) with labels (...); its gradient."""
    log_q, places = log_softmax(logits), labels[..., None].astype(np.int64)
    picked = np.take_along_axis(log_q, places, -1)
    gradient = np.exp(log_q)
    np.put_along_axis(gradient, places, np.exp(picked) - 1, -1)
    return float(-(weights * picked[..., 0]).sum()), weights[..., None] * gradient


def cosine_distance(student: Array, teacher: Array, weights: Array) -> tuple[float, Array]:
    """Sum over items of weights (...) times 1 - cosine of hidden states (..., D), and its gradient for the student."""
    square, other = (student * student).sum(-1) + COSINE_EPSILON, (teacher * teacher).sum(-1) + COSINE_EPSILON
    cosine = (student * teacher).sum(-1) / np.sqrt(square * other)
    direction = teacher / np.sqrt(square * other)[..., None] - student * (cosine / square)[..., None]
    return float((weights * (1 - cosine)).sum()), -weights[..., None] * direction


def triple_loss(
    settings: LossSettings,
    batch: Batch,
    student: Mapping[str, Array],
    teacher: Mapping[str, Array],
    coordinates: Array | None = None,
) -> Loss:
    """The loss of masked-LM distillation.

    Args:
        settings: of the recipe.
        batch: as `batches.Distillation` makes it in training.
        student: `logits`, (B, T, V), or (B, P, V) at `places` where these suffice (`settings.at_masks`); and `hidden`
            (B, T, d), its last hidden states.
        teacher: the same of the teacher, `hidden` (B, T, D); empty where the batch has its answers from a cache.
        coordinates: (d,) which of the teacher's are the student's, as `Prepared.coordinates`; None for all.
    """
    logits, hidden = student["logits"], student["hidden"]
    token_weights, weights = batch["token_weights"], batch["weights"]
    terms: dict[str, float] = {}
    d_logits = np.zeros_like(logits)
    if settings.alpha_ce:
        counted = weights if settings.restrict_ce_to_mask else token_weights
        if "teacher_ids" in batch:
            answer = batch["teacher_ids"].astype(np.int64), batch["teacher_probabilities"]
            value, gradient = kept_cross_entropy(logits, *answer, counted, settings.temperature)
        else:
            value, gradient = soft_cross_entropy(logits, teacher["logits"], counted, settings.temperature)
        terms["ce"] = settings.alpha_ce * value
        d_logits += settings.alpha_ce * gradient
    if settings.alpha_mlm:
        places = batch["places"]
        scored = logits if settings.at_masks else np.take_along_axis(logits, places[..., None].astype(np.int64), 1)
        value, gradient = cross_entropy(scored, batch["labels"], weights)
        terms["mlm"] = settings.alpha_mlm * value
        d_logits += settings.alpha_mlm * (gradient if settings.at_masks else _scattered(gradient, places, logits.shape))
    d_hidden = None
    if settings.alpha_cos:
        aim = batch["teacher_hidden"] if "teacher_hidden" in batch else kept_hidden(teacher["hidden"], coordinates)
        value, gradient = cosine_distance(hidden, aim.astype(hidden.dtype), token_weights)
        terms["cos"] = settings.alpha_cos * value
        d_hidden = settings.alpha_cos * gradient
    return Loss(terms, d_logits, d_hidden)


def task_loss(settings: LossSettings, batch: Batch, logits: Array) -> Loss:
    """The loss of task distillation; logits (B, L) of the student, the teacher's are `teacher_logits` of the batch."""
    terms: dict[str, float] = {}
    d_logits = np.zeros_like(logits)
    if settings.alpha_ce:
        aim = batch["teacher_logits"].astype(logits.dtype)
        value, gradient = soft_cross_entropy(logits, aim, batch["weights"], settings.temperature)
        terms["ce"] = settings.alpha_ce * value
        d_logits += settings.alpha_ce * gradient
    if settings.alpha_label:
        value, gradient = cross_entropy(logits, batch["labels"], batch["label_weights"])
        terms["label"] = settings.alpha_label * value
        d_logits += settings.alpha_label * gradient
    return Loss(terms, d_logits, None)


def kept_hidden(hidden: Array, coordinates: Array | None) -> Array:
    """Of the teacher's hidden states (..., D) the coordinates (..., d) that the student has."""
    return hidden if coordinates is None else hidden[..., coordinates]


def log_softmax(logits: Array) -> Array:
    """Logarithms of the probabilities along the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return result


def _scattered(gradient: Array, places: Array, shape: tuple[int, ...]) -> Array:
    """A gradient at places (B, P, V) as one over all tokens (B, T, V); places may repeat."""
    full = np.zeros(shape, gradient.dtype)
    np.add.at(full, (np.arange(len(places))[:, None], places), gradient)
    return full
