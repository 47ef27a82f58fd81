# SPDX-License-Identifier: Apache-2.0
"""Calls of JAX models under `jax.jit`, ours and those of transformers alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from distilbert.bench.contenders.base import RATE

if TYPE_CHECKING:
    from distilbert.bench.contenders.base import Ids, Predict, Step

Loss = Callable[[Any, Any, Any, Any, Any], Any]  # of parameters, ids, mask, labels and the key for dropout


def predictor(model: Any) -> Predict:
    """Ids and mask to the first output, compiled for each shape; parameters are arguments, as in training."""
    import jax
    import numpy as np

    compiled = jax.jit(lambda params, ids, mask: model(ids, attention_mask=mask, params=params)[0])
    params = jax.device_put(model.params)
    return lambda ids, mask: np.asarray(compiled(params, ids, mask))


def stepper(params: Any, loss: Loss) -> Step:
    """One step of AdamW with dropout, compiled as a whole; parameters and state are given up to their successors."""
    import jax
    import optax

    optimizer = optax.adamw(RATE, weight_decay=0.01)

    def update(params: Any, state: Any, key: Any, ids: Any, mask: Any, labels: Any) -> Any:
        key, used = jax.random.split(key)
        value, gradients = jax.value_and_grad(loss)(params, ids, mask, labels, used)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, key, value

    compiled = jax.jit(update, donate_argnums=(0, 1))
    params = jax.tree.map(jax.numpy.array, params)
    held = [params, optimizer.init(params), jax.random.key(0)]

    def step(*arrays: Ids) -> None:
        *held[:], value = compiled(*held, *arrays)
        value.block_until_ready()

    return step
