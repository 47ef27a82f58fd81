# SPDX-License-Identifier: Apache-2.0
"""AdamW in JAX as PyTorch has it: functions without state over tensors by name, to be compiled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from distilbert.training.engine import EngineSettings

Tensors = Mapping[str, Array]


class Moments(NamedTuple):
    """Running means of gradients and of their squares, which begin at 0."""

    first: dict[str, Any]
    second: dict[str, Any]


class Pace(NamedTuple):
    """What changes from step to step: the learning rate, and what the running means lack because they began at 0."""

    rate: float
    first: float
    second: float


def pace(settings: EngineSettings, rate: float, count: int) -> Pace:
    """The pace of a step, the first of which has count 1."""
    return Pace(rate, 1 - settings.beta1**count, 1 - settings.beta2**count)


def clipped(gradients: Tensors, longest: float) -> tuple[dict[str, Array], Array]:
    """Gradients scaled down to the longest that is allowed, unless that is 0, and the norm of all of them before."""
    norm = jnp.sqrt(sum(jnp.square(gradient).sum() for gradient in gradients.values()))
    scale = jnp.minimum(1, longest / (norm + 1e-6)) if longest else jnp.ones_like(norm)
    return {name: gradient * scale for name, gradient in gradients.items()}, norm


def adamw(
    settings: EngineSettings, weights: Tensors, moments: Moments, gradients: Tensors, pace: Pace
) -> tuple[dict[str, Array], Moments]:
    """Weights and running means after a step."""
    beta1, beta2 = settings.beta1, settings.beta2
    first = {name: beta1 * moments.first[name] + (1 - beta1) * gradient for name, gradient in gradients.items()}
    second = {
        name: beta2 * moments.second[name] + (1 - beta2) * jnp.square(gradient) for name, gradient in gradients.items()
    }
    changed = {}
    for name, values in weights.items():
        plan = settings.plans[name]
        rate = pace.rate * plan.rate_factor
        scale = jnp.sqrt(second[name]) / jnp.sqrt(pace.second) + settings.epsilon
        changed[name] = values * (1 - rate * plan.decay) - rate / pace.first * first[name] / scale
    return changed, Moments(first, second)
