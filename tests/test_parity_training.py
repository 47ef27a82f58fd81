# SPDX-License-Identifier: Apache-2.0
"""Gradients, and parameters after ten steps of AdamW, in every framework against the float64 reference and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from distilbert import backend, reference, spec
from distilbert.parity.measuring import relative_error
from distilbert.parity.running import running
from distilbert.parity.tolerances import FLOAT32_TRAINING, FLOAT64

from .samples import TINY, random_tensors, sample_call, task_config
from .test_parity import backends

trained_tasks = pytest.mark.parametrize("task", [task for task in spec.TASKS if task != "encoder"])

# Keras adds epsilon before the bias correction, the others after it: at the usual 1e-8 that alone moves a parameter by
# up to 4e-5, in float64 too. At 1e-12 the three optimizers are the same formula.
STEPS, RATE, DECAY, EPSILON = 10, 5e-5, 0.01, 1e-12


@backends
@trained_tasks
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradients(name, task, dtype):
    config = task_config(TINY, task)
    tensors, call = random_tensors(config, task), sample_call(config, task)
    wide = {key: values.astype(np.float64) for key, values in tensors.items()}
    expected = reference.gradients(task, config, wide, **call)
    given = wide if dtype == "float64" else tensors
    with running(name, task, config, given, dtype) as runner:
        found = runner.loss_gradients(call)
    assert found.keys() == expected.keys()
    bound = FLOAT64.bound if dtype == "float64" else FLOAT32_TRAINING.bound
    assert far_from(found, expected, bound) == {}


def far_from(found: dict[str, Any], expected: dict[str, Any], bound: float) -> dict[str, float]:
    """Gradients that differ by more than a bound, relative to the largest of their layer.

    Some biases (of k_lin, of scores that a softmax compares) have the gradient 0 but for rounding, so alone they have
    no size to compare with.
    """
    largest = {key: max(np.abs(g).max() for k, g in expected.items() if layer(k) == layer(key)) for key in expected}
    wrong = {key: np.abs(found[key] - expected[key]).max() / largest[key] for key in expected}
    return {key: error for key, error in wrong.items() if not error <= bound}


@backends
def test_gradient_checkpointing_changes_nothing(name):
    tensors, call = random_tensors(TINY, "masked-lm"), sample_call(TINY, "masked-lm")
    with running(name, "masked-lm", TINY.replace(dropout=0.0, attention_dropout=0.0), tensors, "float32") as runner:
        plain = runner.loss_gradients(call)
        runner.model.gradient_checkpointing_enable()
        assert runner.model.gradient_checkpointing
        again = runner.loss_gradients(call)
    assert max(relative_error(again[key], plain[key]) for key in plain if "k_lin.bias" not in key) <= 1e-6


@backends
@pytest.mark.parametrize("task", ["masked-lm", "sequence-classification"])
def test_ten_steps_of_adamw(name, task):
    if backend.BACKENDS["pt"].missing:
        pytest.skip("PyTorch is not installed, and it is what is compared with")
    config = task_config(TINY, task)
    tensors = random_tensors(config, task)
    calls = [sample_call(config, task, seed) for seed in range(STEPS)]
    expected = train("pt", task, config, tensors, calls, "float64")
    found = train(name, task, config, tensors, calls, "float32")
    moved = max(np.abs(expected[key] - tensors[key]).max() for key in tensors)
    assert moved > 3e-4, "training must move the parameters for the comparison to mean anything"
    # AdamW divides a gradient by its own size, so where it is 0 but for rounding the steps are noise.
    compared = [key for key in tensors if "k_lin.bias" not in key]
    wrong = {key: relative_error(found[key], expected[key]) for key in compared}
    assert {key: error for key, error in wrong.items() if not error <= FLOAT32_TRAINING.bound} == {}


def layer(name: str) -> str:
    return "head" if spec.is_head_tensor(name) else ".".join(name.removeprefix(spec.PREFIX).split(".")[:3])


def train(name: str, task: str, config: Any, tensors: Any, calls: list[Any], dtype: str) -> dict[str, np.ndarray]:
    with running(name, task, config, {k: v.astype(dtype) for k, v in tensors.items()}, dtype) as runner:
        STEPPERS[name](runner, calls)
        return {key: np.asarray(values, np.float64) for key, values in runner.tensors().items()}


def train_pt(runner: Any, calls: list[Any]) -> None:
    import torch

    optimizer = torch.optim.AdamW(runner.model.parameters(), lr=RATE, weight_decay=DECAY, eps=EPSILON)
    for call in calls:
        optimizer.zero_grad()
        runner.model(**runner._tensors(call)).loss.backward()
        optimizer.step()


def train_tf(runner: Any, calls: list[Any]) -> None:
    import keras
    import tensorflow as tf

    optimizer = keras.optimizers.AdamW(learning_rate=RATE, weight_decay=DECAY, epsilon=EPSILON)
    variables = runner.model.trainable_variables
    for call in calls:
        with tf.GradientTape() as tape:
            loss = runner.model(**call).loss
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        optimizer.apply([tf.convert_to_tensor(gradient) for gradient in gradients], variables)


def train_flax(runner: Any, calls: list[Any]) -> None:
    import jax
    import optax

    optimizer = optax.adamw(RATE, weight_decay=DECAY, eps=EPSILON)
    params = runner.model.params
    state = optimizer.init(params)

    @jax.jit
    def step(params: Any, state: Any, call: Any) -> Any:
        gradients = jax.grad(lambda params: runner.model(**call, params=params).loss)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    for call in calls:
        params, state = step(params, state, call)
    runner.model.params = params


STEPPERS: dict[str, Callable[[Any, list[Any]], None]] = {"pt": train_pt, "tf": train_tf, "flax": train_flax}
