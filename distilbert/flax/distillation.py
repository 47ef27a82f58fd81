# SPDX-License-Identifier: Apache-2.0
"""What JAX students are trained for: to answer as their teacher does.

Read beside `pt/distillation.py` and `tf/distillation.py`. Batches and formulas are those of
`distilbert/training/distillation/batches.py`, whose letters are used here; `reference.py` beside it has them in NumPy.

Teachers and objectives are pytrees: a teacher's parameters are arguments of the compiled step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax, tree_util
from numpy.typing import NDArray

from distilbert.flax.heads import at_places
from distilbert.flax.io import PreTrainedModel
from distilbert.flax.layers import Linear, at_least_float32
from distilbert.flax.losses import cross_entropies
from distilbert.flax.objectives import INPUTS, model_inputs
from distilbert.outputs import ModelOutput
from distilbert.training.distillation.reference import COSINE_EPSILON, LEAST_REST, LossSettings

Part = dict[str, Array]
SIZES = (8, 16)  # rows and tokens of what a teacher is asked are multiples of these, since each shape is compiled


@tree_util.register_pytree_node_class
class Teacher:
    """A model that is asked, and does not learn."""

    def __init__(self, model: Any, settings: LossSettings, coordinates: NDArray[np.int64] | None) -> None:
        """Take who answers; its parameters stay in the host's memory, from where an engine puts them on its devices.

        Args:
            model: a masked language model, or a bare encoder where its hidden states alone are asked for.
            settings: of the loss.
            coordinates: (d,) of its hidden states, which the student has; None for all.
        """
        self.model = without_values(model, str(model.dtype))
        self.params = jax.tree.map(np.asarray, model.params)
        self.at_masks = settings.at_masks
        self.coordinates = None if coordinates is None else np.asarray(coordinates, np.int32)

    def __call__(self, part: Part, learner: Any = None) -> Part:
        """Its answers to a part: `hidden` (B, T, d), and `logits` (B, T, V) or (B, P, V) if it has a head.

        They are computed as the learner computes, if there is one.
        """
        has_head = self.model.task != "encoder"
        model = functools.partial(computing_as(learner, self.model), params=self.params, train=False)
        output = model(**seen(part, self.at_masks and has_head), output_hidden_states=True, return_dict=True)
        hidden = output.hidden_states[-1]  # (B, T, D)
        if self.coordinates is not None:
            hidden = hidden[..., self.coordinates]  # (B, T, d)
        return {"hidden": hidden, "logits": output.logits} if has_head else {"hidden": hidden}

    def ask(self, part: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Its answers to a batch of NumPy, in NumPy, for a cache."""
        inputs = {name: filled_up(part[name]) for name in INPUTS if name in part}
        answers = self._answers(inputs)
        rows, length = part["input_ids"].shape
        sizes = {"hidden": length, "logits": part["places"].shape[1] if self.at_masks else length}
        return {name: np.asarray(value[:rows, : sizes[name]]) for name, value in answers.items()}

    @functools.cached_property
    def _answers(self) -> Callable[..., Any]:
        return functools.partial(jax.jit(lambda teacher, part: teacher(part)), jax.device_put(self))

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return (self.params, self.coordinates), (self.model, self.at_masks)

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], arrays: tuple[Any, ...]) -> Self:
        teacher = object.__new__(cls)
        teacher.model, teacher.at_masks = static
        teacher.params, teacher.coordinates = arrays
        return teacher


@tree_util.register_pytree_node_class
class DistillationObjective:
    """The triple loss of masked language modelling with a teacher."""

    def __init__(self, settings: LossSettings, teacher: Teacher | None) -> None:
        """Take the weights of the terms, and who answers; None where batches bring the answers."""
        self.settings = settings
        self.teacher = teacher

    def __call__(self, model: Callable[..., Any], part: Part) -> tuple[dict[str, Array], ModelOutput]:
        """The terms of the loss and the student's answers; without `token_weights` its plain masked LM loss."""
        if "token_weights" not in part:
            return plain_loss(model, part)
        settings = self.settings
        output = model(**seen(part, settings.at_masks), output_hidden_states=True, return_dict=True)
        teacher = cached(part) if self.teacher is None else self.teacher(part, model)
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

    def tree_flatten(self) -> tuple[tuple[Any, ...], LossSettings]:
        return (self.teacher,), self.settings

    @classmethod
    def tree_unflatten(cls, settings: LossSettings, children: tuple[Any, ...]) -> Self:
        return cls(settings, *children)


@tree_util.register_static
class TaskDistillationObjective:
    """Soft labels of a teacher, and perhaps hard ones."""

    def __init__(self, settings: LossSettings) -> None:
        """Take the weights of the terms."""
        self.settings = settings

    def __call__(self, model: Callable[..., Any], part: Part) -> tuple[dict[str, Array], ModelOutput]:
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


def plain_loss(model: Callable[..., Any], part: Part) -> tuple[dict[str, Array], ModelOutput]:
    """The loss without a teacher, of evaluations, and the student's answers."""
    output = model(**model_inputs(part), return_dict=True)
    losses = cross_entropies(output.logits, part["labels"], 0.0)  # (B,) or (B, P)
    return {"loss": (part["weights"] * losses).sum()}, output


def soft_losses(logits: Array, teacher: Part, temperature: float) -> Array:
    """What each place loses by not answering as the teacher: logits (..., V) -> (...)."""
    if "ids" in teacher:
        return kept_divergences(logits, teacher["ids"], teacher["probabilities"], temperature)  # (...)
    return divergences(logits, teacher["logits"], temperature)  # (...)


def divergences(student: Array, teacher: Array, temperature: float) -> Array:
    """T^2 KL of softened answers, one for each item: logits (..., V), (..., V) -> (...)."""
    log_q = jax.nn.log_softmax(at_least_float32(student) / temperature, -1)  # (..., V)
    log_p = jax.nn.log_softmax(at_least_float32(teacher) / temperature, -1)  # (..., V)
    return temperature**2 * (jnp.exp(log_p) * (log_p - log_q)).sum(-1)


def kept_divergences(student: Array, ids: Array, probabilities: Array, temperature: float) -> Array:
    """The same where of the teacher K pieces and a rest are known: logits (..., V), (..., K), (..., K + 1) -> (...)."""
    log_q = jax.nn.log_softmax(at_least_float32(student) / temperature, -1)  # (..., V)
    kept = jnp.take_along_axis(log_q, ids, -1, mode="clip")  # (..., K)
    rest = (1 - jnp.exp(kept).sum(-1, keepdims=True)).clip(min=LEAST_REST)  # (..., 1)
    known = jnp.concatenate([kept, jnp.log(rest)], -1)  # (..., K + 1)
    log_p = jnp.log(probabilities.clip(min=1e-30))  # (..., K + 1)
    return temperature**2 * (probabilities * (log_p - known)).sum(-1)


def cosine_distances(student: Array, teacher: Array) -> Array:
    """1 - cosine, one for each token: (..., d), (..., d) -> (...)."""
    h = at_least_float32(student)  # (..., d)
    g = teacher.astype(h.dtype)  # (..., d)
    squares = (jnp.square(h).sum(-1) + COSINE_EPSILON) * (jnp.square(g).sum(-1) + COSINE_EPSILON)  # (...)
    return 1 - (h * g).sum(-1) * lax.rsqrt(squares)


# What only JAX needs.


def computing_as(student: Any, model: Any) -> Any:
    """A model without values in the precision of a student, which may come with parameters; as it is without one."""
    student = student.func if isinstance(student, functools.partial) else student
    if not isinstance(student, PreTrainedModel):
        return model
    computing = without_values(model, str(student.dtype))
    layers = [module for _, module in nnx.iter_modules(student) if isinstance(module, Linear)]
    computing.set_half_products(any(layer.half_products for layer in layers))
    return computing


def without_values(model: Any, dtype: str) -> Any:
    """A model that computes like another, in this float type, with parameters that are given in each call."""
    computing = type(model).empty(model.config, dtype)
    computing.set_attn_implementation(model.attn_implementation)
    return computing


def filled_up(values: NDArray[Any]) -> NDArray[Any]:
    """(rows, tokens) or (rows, places), with empty ones at the end up to multiples of `SIZES`."""
    return np.pad(values, [(0, -count % size) for count, size in zip(values.shape, SIZES, strict=True)])
