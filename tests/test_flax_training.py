# SPDX-License-Identifier: Apache-2.0
"""What only the JAX engine of training has: its optimizer, dropout bits and products, and what it compiles."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from distilbert.errors import BackendError
from distilbert.training.batch import normalised
from distilbert.training.engine import Engine, EngineSettings, TensorPlan

from .flax_samples import SMALL, flax_model, jax, relative, strict_jax  # noqa: F401

jnp = jax.numpy
TASK = "sequence-classification"
PLAN = TensorPlan(trained=True, decay=0.1, rate_factor=1.0)


def engine(
    task: str = TASK, plan: TensorPlan = PLAN, frozen: str = "none", dtype: str = "float32", **options
) -> Engine:
    """An engine of a small model; tensors with `frozen` in their names stay as they are."""
    from distilbert.flax.training import Engine, TaskObjective

    model = flax_model(TASK, SMALL, std=0.1)
    plans = {name: dataclasses.replace(PLAN, trained=frozen not in name) for name in model.tensor_specs}
    return Engine(model, TaskObjective(model.config, TASK, 0.0), EngineSettings(plans, **options))


def batch(seed: int, rows: int = 8, length: int = 6) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    mask = (np.arange(length) < random.integers(2, length + 1, (rows, 1))).astype(np.int32)
    ids = random.integers(5, SMALL.vocab_size, (rows, length)).astype(np.int32)
    labels = random.integers(0, 2, rows).astype(np.int32)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "weights": np.ones(rows, np.float32)}


def run(trained: Engine, steps: range) -> list[float]:
    """Losses of some steps, each of two parts of the same shape."""
    return [
        trained.step(normalised([batch(2 * step), batch(2 * step + 1)]), 1e-2, step).terms["loss"] for step in steps
    ]


# The optimizer.


def test_adamw_against_float64():
    from distilbert.flax.optimizer import Moments, adamw, clipped, pace

    random = np.random.default_rng(0)
    plans = {"a": TensorPlan(True, 0.1, 1.0), "b": TensorPlan(True, 0.0, 0.5)}
    settings = EngineSettings(plans, beta1=0.8, beta2=0.99, epsilon=1e-3, max_grad_norm=1.0)
    weights = {name: random.standard_normal((5, 7)) for name in plans}
    first, second = ({name: np.zeros((5, 7)) for name in plans} for _ in range(2))
    found = single(weights), Moments(single(first), single(second))
    for count in range(1, 6):
        gradients = {name: random.standard_normal((5, 7)) * count / 4 for name in plans}
        scaled, norm = clipped(single(gradients), settings.max_grad_norm)
        found = adamw(settings, *found, scaled, pace(settings, 0.1, count))
        expected = np.sqrt(sum((values**2).sum() for values in gradients.values()))
        assert relative(norm, expected) < 1e-6
        for name, plan in plans.items():
            gradient = gradients[name] * min(1, 1 / (expected + 1e-6))
            first[name] = 0.8 * first[name] + 0.2 * gradient
            second[name] = 0.99 * second[name] + 0.01 * gradient**2
            weights[name] *= 1 - 0.1 * plan.rate_factor * plan.decay
            scale = np.sqrt(second[name] / (1 - 0.99**count)) + 1e-3
            weights[name] -= 0.1 * plan.rate_factor * first[name] / (1 - 0.8**count) / scale
    for name in plans:
        assert relative(found[0][name], weights[name]) < 2e-6
        assert relative(found[1].first[name], first[name]) < 2e-6
        assert relative(found[1].second[name], second[name]) < 2e-6


def single(tensors: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    return {name: jnp.asarray(values, jnp.float32) for name, values in tensors.items()}


def test_the_norm_of_many_numbers_is_exact():
    from distilbert.flax.optimizer import clipped

    values = np.random.default_rng(0).standard_normal((30000, 128)).astype(np.float32)
    scaled, norm = jax.jit(clipped, static_argnums=1)({"a": values}, 0)
    assert relative(norm, np.linalg.norm(values.astype(np.float64))) < 1e-6
    assert np.array_equal(scaled["a"], values)


# Steps.


def test_a_resumed_training_is_the_same_bit_for_bit():
    whole = engine()
    losses = run(whole, range(10))
    before = engine()
    begun = run(before, range(5))
    after = engine()
    after.load_state(before.state())
    assert begun + run(after, range(5, 10)) == losses
    one, other = whole.state(), after.state()
    assert one.step == other.step == 10
    for field in ("weights", "first", "second"):
        for name, values in getattr(one, field).items():
            assert np.array_equal(values, getattr(other, field)[name]), name
    assert run(engine(seed=1), range(1)) != losses[:1], "dropout does not follow the seed"


def test_a_state_is_no_view_of_what_changes():
    trained = engine()
    run(trained, range(1))
    state = trained.state()
    kept = {name: values.copy() for name, values in state.weights.items()}
    other = engine()
    other.load_state(state)
    run(trained, range(1, 3))
    run(other, range(1, 3))
    assert all(np.array_equal(values, kept[name]) for name, values in state.weights.items())
    assert all(values.flags.c_contiguous for values in state.weights.values())


def test_frozen_tensors_have_no_moments():
    trained = engine(frozen="ffn")
    before = trained.state()
    assert (before.step, before.first, before.second) == (0, {}, {})
    run(trained, range(2))
    after = trained.state()
    assert sorted(after.weights) == sorted(before.weights)
    for name, values in before.weights.items():
        assert np.array_equal(values, after.weights[name]) == ("ffn" in name), name
        assert (name in after.first) == (name in after.second) == ("ffn" not in name), name


def test_checkpointing_changes_no_number_beyond_rounding():
    losses = run(engine(), range(3))
    assert np.allclose(run(engine(gradient_checkpointing=True), range(3)), losses, rtol=1e-5)


def test_half_precision_keeps_float32_where_it_adds_up():
    trained = engine(bf16=True)
    losses, expected = run(trained, range(3)), run(engine(), range(3))
    assert np.allclose(losses, expected, rtol=2e-2)
    assert losses != expected
    state = trained.state()
    for tensors in (state.weights, state.first, state.second):
        assert {values.dtype for values in tensors.values()} == {np.dtype(np.float32)}
    terms, answers = trained.evaluate(batch(0))
    assert answers.logits.dtype == np.float32
    assert np.isfinite(terms["loss"])


def test_half_precision_on_other_devices(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    trained = engine(bf16=True)
    assert trained.model.dtype == jnp.bfloat16
    assert np.allclose(run(trained, range(3)), run(engine(), range(3)), rtol=2e-2)
    assert {values.dtype for values in trained.state().first.values()} == {np.dtype(np.float32)}
    assert trained.evaluate(batch(0))[1].logits.dtype == np.float32


def test_each_shape_is_compiled_once():
    trained = engine()
    run(trained, range(3))
    trained.load_state(trained.state())
    run(trained, range(3, 5))
    trained.step(normalised([batch(0, length=4)]), 1e-2, 5)
    for rows in (1, 5, 8):
        assert trained.evaluate(batch(0, rows))[1].logits.shape == (rows, SMALL.num_labels)
    assert trained.gradients._cache_size() == 2
    assert trained.update._cache_size() == trained.add._cache_size() == trained.answers._cache_size() == 1


def test_evaluation_has_no_dropout_and_follows_the_weights():
    trained = engine()
    one = trained.evaluate(batch(0, 3))
    assert one[0] == trained.evaluate(batch(0, 3))[0]
    run(trained, range(1))
    assert one[0] != trained.evaluate(batch(0, 3))[0]
    model = flax_model(TASK, SMALL)
    model.load_tensors(trained.state().weights)
    call = batch(0, 3)
    output = model(call["input_ids"], call["attention_mask"], labels=call["labels"])
    terms, answers = trained.evaluate(call)
    assert relative(answers.logits, np.asarray(output.logits)) < 1e-6
    assert np.isclose(terms["loss"], 3 * float(output.loss), rtol=1e-6)


def test_arrays_of_an_objective_are_arguments_of_the_program():
    from flax import nnx

    from distilbert.flax.training import Engine

    class Distance(nnx.Module):
        """Squared distance of the answers from those of a teacher."""

        def __init__(self, teacher):
            self.teacher = teacher

        def __call__(self, model, part):
            output = model(part["input_ids"], part["attention_mask"])
            wanted = self.teacher(part["input_ids"], part["attention_mask"], train=False).logits
            losses = jnp.square(output.logits - wanted).sum(-1)
            return {"distance": (part["weights"] * losses).sum()}, output

    teacher, student = flax_model(TASK, SMALL), flax_model(TASK, SMALL, std=0.1)
    plans = dict.fromkeys(student.tensor_specs, PLAN)
    trained = Engine(student, Distance(teacher), EngineSettings(plans))
    part = normalised([batch(0)])
    losses = [trained.step(part, 3e-3, step).terms["distance"] for step in range(20)]
    assert losses[-1] < losses[0] / 2
    arrays = trained.devices.put_rows(part[0])
    program = trained.gradients.lower(
        trained.weights, trained.frozen, trained.shared_objective, arrays, np.uint32(0)
    ).as_text()
    assert 'dense<"0x' not in program, "weights are constants of the program"


# Parts.


def test_places_out_of_range_are_clipped_in_compiled_code():
    model = flax_model("masked-lm", SMALL)
    ids = np.arange(5, 13).reshape(2, 4)
    whole = np.asarray(model(ids).logits)
    run = jax.jit(lambda places: model(ids, places=places).logits)
    found = run(np.array([[1, 7], [-1, 2]]))
    assert np.allclose(found[0], whole[0, [1, 3]], atol=1e-5)
    assert np.allclose(found[1], whole[1, [0, 2]], atol=1e-5) or np.allclose(found[1], whole[1, [3, 2]], atol=1e-5)


def test_random_bits_of_different_keys_have_nothing_in_common():
    from distilbert.flax.dropout_bits import mixed_key, random_bits

    keys = [mixed_key(jax.random.key(seed), number) for seed in range(3) for number in range(4)]
    keys += [mixed_key(keys[0], number) for number in range(4)]
    assert len({tuple(np.asarray(key).tolist()) for key in keys}) == len(keys)
    bits = np.stack([np.asarray(random_bits(key, (64, 256))).ravel() for key in keys])
    ones = np.unpackbits(bits.view(np.uint8).reshape(len(keys), -1, 4), axis=2)  # (K, N, 32)
    assert np.abs(ones.mean(1) - 0.5).max() < 5 * 0.5 / np.sqrt(ones.shape[1])
    correlations = np.corrcoef(bits.astype(np.float64)) - np.eye(len(keys))
    assert np.abs(correlations).max() < 5 / np.sqrt(bits.shape[1])
    shifted = np.corrcoef(np.stack([np.roll(bits[0], shift).astype(np.float64) for shift in (0, 1, 2, 256, 512)]))
    assert np.abs(shifted - np.eye(5)).max() < 5 / np.sqrt(bits.shape[1])


def test_half_products_and_their_gradients():
    from distilbert.flax.products import half_matmul

    random = np.random.default_rng(0)
    x, matrix, weight = (random.standard_normal(shape) for shape in ((2, 3, 5), (5, 7), (2, 3, 7)))
    arrays = [jnp.asarray(values, jnp.float32) for values in (x, matrix)]
    product = half_matmul(*arrays)
    assert product.dtype == jnp.float32
    assert 1e-4 < relative(product, x @ matrix) < 1e-2
    loss = jax.grad(lambda *a: (half_matmul(*a) * jnp.asarray(weight, jnp.float32)).sum(), argnums=(0, 1))
    by_x, by_matrix = loss(*arrays)
    assert (by_x.dtype, by_matrix.dtype) == (jnp.float32, jnp.float32)
    assert relative(by_x, weight @ matrix.T) < 1e-2
    assert relative(by_matrix, np.einsum("abi,abj->ij", x, weight)) < 1e-2


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DISTILBERT_TENSOR_PARALLEL", "3", "expected a divisor of the 1 devices, found 3"),
        ("DISTILBERT_TENSOR_PARALLEL", "two", "expected a whole number, found 'two'"),
    ],
)
def test_wrong_environment(monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    with pytest.raises(BackendError, match=f"{name}: {message}"):
        engine()


def test_processes_that_cannot_meet(monkeypatch):
    from distilbert.flax.training import Engine

    assert (Engine.join().rank, Engine.join().size) == (0, 1)
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "127.0.0.1:1")
    with pytest.raises(BackendError, match="jax.distributed: the processes cannot meet: .*must be called before"):
        Engine.join()
    monkeypatch.setenv("JAX_PROCESS_ID", "first")
    with pytest.raises(BackendError, match="JAX_PROCESS_ID: expected a whole number, found 'first'"):
        Engine.join()
