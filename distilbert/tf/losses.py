# SPDX-License-Identifier: Apache-2.0
"""The losses of the heads in TensorFlow: scalars, computed in float32 or better.

Every loss is a mean over the labels that count; labels of -100 do not, and a batch without any that counts has loss 0.
"""

from __future__ import annotations

import tensorflow as tf
from keras import ops

from distilbert import inputs
from distilbert.config import DistilBertConfig
from distilbert.inputs import IGNORED_LABEL
from distilbert.tf.io import bounds
from distilbert.tf.layers import at_least_float32


def token_loss(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of classes: logits (..., L), labels (...) -> ()."""
    classes = tf.cast(labels, tf.int64)  # (...)
    known = tf.where(tf.equal(classes, IGNORED_LABEL), tf.zeros_like(classes), classes)  # (...)
    inputs.check_class_labels(labels, tuple(logits.shape[:-1]), logits.shape[-1], bounds(known))
    return cross_entropy(logits, classes, IGNORED_LABEL)


def classification_loss(config: DistilBertConfig, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """The loss for the problem type: logits (B, L), labels (B,) classes or values, or (B, L) values -> ()."""
    problem = inputs.problem_type(config, labels)
    if problem == "single_label_classification":
        return token_loss(logits, labels)
    inputs.check_value_labels(labels, tuple(logits.shape))
    return tf.reduce_mean(value_losses(problem, logits, tf.reshape(labels, ops.shape(logits))))


def value_losses(problem: str, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """One for each text, the mean over its values: logits (B, L), labels (B, L) -> (B,)."""
    logits = at_least_float32(logits)  # (B, L)
    targets = tf.cast(labels, logits.dtype)  # (B, L)
    if problem == "regression":
        return tf.reduce_mean(tf.math.squared_difference(logits, targets), -1)
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits), -1)


def span_loss(
    start_logits: tf.Tensor,
    end_logits: tf.Tensor,
    start_positions: tf.Tensor | None,
    end_positions: tf.Tensor | None,
) -> tf.Tensor | None:
    """Mean of the cross-entropies of start and end: logits (B, T), positions (B,) or (B, 1) -> ().

    Positions are clamped to the text; one at or beyond its end does not count.
    """
    inputs.check_span_labels(start_positions, end_positions, start_logits.shape[0])
    if start_positions is None or end_positions is None:
        return None
    length = tf.cast(ops.shape(start_logits)[1], tf.int64)  # ()
    starts = tf.clip_by_value(tf.cast(tf.reshape(start_positions, (-1,)), tf.int64), 0, length)  # (B,)
    ends = tf.clip_by_value(tf.cast(tf.reshape(end_positions, (-1,)), tf.int64), 0, length)  # (B,)
    return (cross_entropy(start_logits, starts, length) + cross_entropy(end_logits, ends, length)) / 2


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor, ignored: tf.Tensor | int) -> tf.Tensor:
    """Mean over the labels that are not `ignored`: logits (..., L), labels (...) of int64 -> ()."""
    kept = tf.not_equal(labels, ignored)  # (...)
    losses = cross_entropies(logits, tf.where(kept, labels, tf.zeros_like(labels)), 0.0)  # (...)
    count = tf.maximum(tf.math.count_nonzero(kept), 1)  # ()
    return tf.reduce_sum(tf.where(kept, losses, tf.zeros_like(losses))) / tf.cast(count, losses.dtype)


def cross_entropies(logits: tf.Tensor, labels: tf.Tensor, smoothing: float) -> tf.Tensor:
    """One for each label: logits (..., L), labels (...) -> (...); a share `smoothing` of each goes to all classes.

    Classes outside 0 to L - 1, seen only in compiled code, are clamped: on some devices they would give NaN.
    """
    logits = at_least_float32(logits)  # (..., L)
    targets = tf.clip_by_value(tf.cast(labels, tf.int32), 0, ops.shape(logits)[-1] - 1)  # (...)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)  # (...)
    if smoothing == 0:
        return losses
    return (1 - smoothing) * losses - smoothing * tf.reduce_mean(tf.nn.log_softmax(logits), -1)
