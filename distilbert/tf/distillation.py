# SPDX-License-Identifier: Apache-2.0
"""What TensorFlow students are trained for: to answer as their teacher does.

Read beside `pt/distillation.py` and `flax/distillation.py`. Batches and formulas are those of
`distilbert/training/distillation/batches.py`, whose letters are used here; `reference.py` beside it has them in NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from distilbert.outputs import ModelOutput
from distilbert.tf.heads import at_places
from distilbert.tf.layers import at_least_float32
from distilbert.tf.losses import cross_entropies
from distilbert.tf.objectives import model_inputs
from distilbert.training.distillation.reference import COSINE_EPSILON, LEAST_REST, LossSettings

Part = dict[str, tf.Tensor]


class Teacher:
    """A model that is asked, and does not learn: the tape of a step watches the student's variables alone."""

    def __init__(self, model: Any, settings: LossSettings, coordinates: NDArray[np.int64] | None) -> None:
        """Take who answers.

        Args:
            model: a masked language model, or a bare encoder where its hidden states alone are asked for.
            settings: of the loss.
            coordinates: (d,) of its hidden states, which the student has; None for all.
        """
        self.model = model
        self.at_masks = settings.at_masks
        self.coordinates = None if coordinates is None else tf.constant(coordinates, tf.int32)

    def __call__(self, part: Part) -> Part:
        """Its answers to a part: `hidden` (B, T, d), and `logits` (B, T, V) or (B, P, V) if it has a head."""
        has_head = self.model.task != "encoder"
        output = self.model(
            **seen(part, self.at_masks and has_head), output_hidden_states=True, return_dict=True, training=False
        )
        hidden = output.hidden_states[-1]  # (B, T, D)
        if self.coordinates is not None:
            hidden = tf.gather(hidden, self.coordinates, axis=-1)  # (B, T, d)
        return {"hidden": hidden, "logits": output.logits} if has_head else {"hidden": hidden}

    def ask(self, part: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Its answers to a batch of NumPy, in NumPy, for a cache."""
        tensors = {name: tf.convert_to_tensor(values) for name, values in part.items()}
        return {name: value.numpy() for name, value in self._answers(tensors).items()}

    @tf.function(reduce_retracing=True)
    def _answers(self, part: Part) -> Part:
        return {name: at_least_float32(value) for name, value in self(part).items()}


class DistillationObjective:
    """The triple loss of masked language modelling with a teacher."""

    def __init__(self, settings: LossSettings, teacher: Teacher | None) -> None:
        """Take the weights of the terms, and who answers; None where batches bring the answers."""
        self.settings = settings
        self.teacher = teacher

    def __call__(self, model: Any, part: Part, training: bool) -> tuple[dict[str, tf.Tensor], ModelOutput]:
        """The terms of the loss and the student's answers; without `token_weights` its plain masked LM loss."""
        if "token_weights" not in part:
            return plain_loss(model, part, training)
        settings = self.settings
        output = model(**seen(part, settings.at_masks), output_hidden_states=True, return_dict=True, training=training)
        teacher = cached(part) if self.teacher is None else self.teacher(part)
        terms = {}
        if settings.alpha_ce:
            weights = part["weights" if settings.restrict_ce_to_mask else "token_weights"]  # (B, T) or (B, P)
            losses = soft_losses(output.logits, teacher, settings.temperature)  # (B, T) or (B, P)
            terms["ce"] = settings.alpha_ce * weighted_sum(losses, weights)  # ()
        if settings.alpha_mlm:
            logits = output.logits if settings.at_masks else at_places(output.logits, part["places"])  # (B, P, V)
            losses = cross_entropies(logits, part["labels"], 0.0)  # (B, P)
            terms["mlm"] = settings.alpha_mlm * weighted_sum(losses, part["weights"])  # ()
        if settings.alpha_cos:
            losses = cosine_distances(output.hidden_states[-1], teacher["hidden"])  # (B, T)
            terms["cos"] = settings.alpha_cos * weighted_sum(losses, part["token_weights"])  # ()
        return terms, output


class TaskDistillationObjective:
    """Soft labels of a teacher, and perhaps hard ones."""

    def __init__(self, settings: LossSettings) -> None:
        """Take the weights of the terms."""
        self.settings = settings

    def __call__(self, model: Any, part: Part, training: bool) -> tuple[dict[str, tf.Tensor], ModelOutput]:
        """The terms of the loss and the student's answers; without the teacher's logits the plain loss."""
        if "teacher_logits" not in part:
            return plain_loss(model, part, training)
        output = model(**model_inputs(part), return_dict=True, training=training)
        terms = {}
        if self.settings.alpha_ce:
            losses = divergences(output.logits, part["teacher_logits"], self.settings.temperature)  # (B,)
            terms["ce"] = self.settings.alpha_ce * weighted_sum(losses, part["weights"])  # ()
        if self.settings.alpha_label:
            losses = cross_entropies(output.logits, part["labels"], 0.0)  # (B,)
            terms["label"] = self.settings.alpha_label * weighted_sum(losses, part["label_weights"])  # ()
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


def plain_loss(model: Any, part: Part, training: bool) -> tuple[dict[str, tf.Tensor], ModelOutput]:
    """The loss without a teacher, of evaluations, and the student's answers."""
    output = model(**model_inputs(part), return_dict=True, training=training)
    losses = cross_entropies(output.logits, part["labels"], 0.0)  # (B,) or (B, P)
    return {"loss": weighted_sum(losses, part["weights"])}, output


def soft_losses(logits: tf.Tensor, teacher: Part, temperature: float) -> tf.Tensor:
    """What each place loses by not answering as the teacher: logits (..., V) -> (...)."""
    if "ids" in teacher:
        return kept_divergences(logits, teacher["ids"], teacher["probabilities"], temperature)  # (...)
    return divergences(logits, teacher["logits"], temperature)  # (...)


def divergences(student: tf.Tensor, teacher: tf.Tensor, temperature: float) -> tf.Tensor:
    """T^2 KL of softened answers, one for each item: logits (..., V), (..., V) -> (...)."""
    log_q = tf.nn.log_softmax(at_least_float32(student) / temperature, -1)  # (..., V)
    log_p = tf.nn.log_softmax(tf.cast(teacher, log_q.dtype) / temperature, -1)  # (..., V)
    return temperature**2 * tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), -1)


def kept_divergences(student: tf.Tensor, ids: tf.Tensor, probabilities: tf.Tensor, temperature: float) -> tf.Tensor:
    """The same where of the teacher K pieces and a rest are known: logits (..., V), (..., K), (..., K + 1) -> (...)."""
    log_q = tf.nn.log_softmax(at_least_float32(student) / temperature, -1)  # (..., V)
    kept = tf.gather(log_q, ids, axis=-1, batch_dims=-1)  # (..., K)
    rest = tf.maximum(1 - tf.reduce_sum(tf.exp(kept), -1, keepdims=True), LEAST_REST)  # (..., 1)
    known = tf.concat([kept, tf.math.log(rest)], -1)  # (..., K + 1)
    probabilities = tf.cast(probabilities, log_q.dtype)  # (..., K + 1)
    log_p = tf.math.log(tf.maximum(probabilities, 1e-30))  # (..., K + 1)
    return temperature**2 * tf.reduce_sum(probabilities * (log_p - known), -1)


def cosine_distances(student: tf.Tensor, teacher: tf.Tensor) -> tf.Tensor:
    """1 - cosine, one for each token: (..., d), (..., d) -> (...)."""
    h = at_least_float32(student)  # (..., d)
    g = tf.cast(teacher, h.dtype)  # (..., d)
    squares = (tf.reduce_sum(tf.square(h), -1) + COSINE_EPSILON) * (
        tf.reduce_sum(tf.square(g), -1) + COSINE_EPSILON
    )  # (...)
    return 1 - tf.reduce_sum(h * g, -1) * tf.math.rsqrt(squares)


def weighted_sum(losses: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Of losses (...) times weights (...): ()."""
    return tf.reduce_sum(tf.cast(weights, losses.dtype) * losses)
