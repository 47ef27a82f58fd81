# SPDX-License-Identifier: Apache-2.0
"""The losses of the heads in JAX: scalars, computed in float32 or better.

Every loss is a mean over the labels that count; labels of -100 do not, and a batch without any that counts has loss 0.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from distilbert import inputs
from distilbert.config import DistilBertConfig
from distilbert.flax.calls import bounds
from distilbert.flax.layers import at_least_float32
from distilbert.inputs import IGNORED_LABEL


def token_loss(logits: Array, labels: Array) -> Array:
    """Cross-entropy of classes: logits (..., L), labels (...) -> ()."""
    known = jnp.where(labels == IGNORED_LABEL, 0, labels)
    inputs.check_class_labels(labels, tuple(logits.shape[:-1]), logits.shape[-1], bounds(known))
    return cross_entropy(logits, labels, IGNORED_LABEL)


def classification_loss(config: DistilBertConfig, logits: Array, labels: Array) -> Array:
    """The loss for the problem type: logits (B, L), labels (B,) classes or values, or (B, L) values -> ()."""
    problem = inputs.problem_type(config, labels)
    if problem == "single_label_classification":
        return token_loss(logits, labels)
    inputs.check_value_labels(labels, tuple(logits.shape))
    return value_losses(problem, logits, labels.reshape(logits.shape)).mean()


def value_losses(problem: str, logits: Array, labels: Array) -> Array:
    """One for each text, the mean over its values: logits (B, L), labels (B, L) -> (B,)."""
    logits = at_least_float32(logits)  # (B, L)
    targets = jnp.asarray(labels, logits.dtype)  # (B, L)
    if problem == "regression":
        return jnp.square(logits - targets).mean(-1)
    return (jax.nn.softplus(logits) - targets * logits).mean(-1)


def span_loss(
    start_logits: Array, end_logits: Array, start_positions: Array | None, end_positions: Array | None
) -> Array | None:
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


def cross_entropy(logits: Array, labels: Array, ignored: int) -> Array:
    """Mean over the labels that are not `ignored`: logits (..., L), labels (...) -> ()."""
    kept = labels != ignored  # (...)
    losses = cross_entropies(logits, jnp.where(kept, labels, 0), 0.0)  # (...)
    return jnp.where(kept, losses, 0).sum() / kept.sum().clip(min=1).astype(losses.dtype)


def cross_entropies(logits: Array, labels: Array, smoothing: float) -> Array:
    """One for each label: logits (..., L), labels (...) -> (...); a share `smoothing` of each goes to all classes."""
    log_probabilities = jax.nn.log_softmax(at_least_float32(logits), -1)  # (..., L)
    losses = -jnp.take_along_axis(log_probabilities, labels[..., None], -1, mode="clip")[..., 0]  # (...)
    if smoothing == 0:
        return losses
    return (1 - smoothing) * losses - smoothing * log_probabilities.mean(-1)
