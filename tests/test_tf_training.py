# SPDX-License-Identifier: Apache-2.0
"""What is TensorFlow's own in training: AdamW by XLA, graphs for batches of all sizes, dropout that can be repeated,
frozen tensors, mixed precision."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
import tensorflow as tf

from distilbert import tf as models
from distilbert.tf import adamw
from distilbert.tf.adamw import AdamW
from distilbert.tf.training import Engine, TaskObjective
from distilbert.training.batch import normalised
from distilbert.training.engine import EngineSettings, State, TensorPlan

from .samples import TINY

CONFIG = TINY.replace(n_layers=1)
PLAN = TensorPlan(trained=True, decay=0.1, rate_factor=1.0)
RATE = 1e-3


def batch(seed: int, rows: int = 4, tokens: int = 6) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "input_ids": random.integers(5, 99, (rows, tokens)).astype(np.int32),
        "attention_mask": np.ones((rows, tokens), np.int32),
        "labels": random.integers(0, 3, rows).astype(np.int32),
        "weights": np.ones(rows, np.float32),
    }


def engine(config=CONFIG, plans=None, bf16=False, **options) -> Engine:
    with Engine.loading(bf16):
        model = models.DistilBertForSequenceClassification(config, seed=0)
    plans = dict.fromkeys(model.tensor_specs, PLAN) | (plans or {})
    return Engine(model, TaskObjective(config, model.task, 0.0), EngineSettings(plans, bf16=bf16, **options))


def train(trained: Engine, steps: range) -> list[dict[str, float]]:
    """Steps of two parts of different sizes each."""
    parts = [normalised([batch(2 * step), batch(2 * step + 1, 3, 9)]) for step in steps]
    return [trained.step(part, RATE, step).terms for step, part in zip(steps, parts, strict=True)]


def assert_same_bits(one: State, other: State) -> None:
    assert one.step == other.step
    for first, second in ((one.weights, other.weights), (one.first, other.first), (one.second, other.second)):
        assert first.keys() == second.keys()
        assert all(values.tobytes() == second[name].tobytes() for name, values in first.items())


@pytest.mark.parametrize("longest", [0.0, 1.0])
def test_adamw_against_numpy(longest):
    random = np.random.default_rng(0)
    parameters = {
        name: keras.Variable(random.normal(size=shape), dtype="float32") for name, shape in (("a", (3, 4)), ("b", (5,)))
    }
    plans = {"a": TensorPlan(True, 0.1, 0.5), "b": TensorPlan(True, 0.0, 1.0)}
    settings = EngineSettings(plans, beta1=0.8, beta2=0.99, epsilon=1e-2, max_grad_norm=longest)
    expected = {name: [parameter.numpy().astype(np.float64), 0.0, 0.0] for name, parameter in parameters.items()}
    optimizer = AdamW(parameters, settings)
    for step in range(1, 5):
        gradients = {name: random.normal(size=values[0].shape) for name, values in expected.items()}
        norm = math.sqrt(sum(np.square(gradient).sum() for gradient in gradients.values()))
        given = [tf.constant(gradient, tf.float32) for gradient in gradients.values()]
        assert float(optimizer.apply(given, 0.1 / step)) == pytest.approx(norm, rel=1e-6)
        scale = min(1.0, longest / (norm + 1e-6)) if longest else 1.0
        for name, gradient in gradients.items():
            weight, first, second = expected[name]
            rate = 0.1 / step * plans[name].rate_factor
            first = 0.8 * first + 0.2 * scale * gradient
            second = 0.99 * second + 0.01 * np.square(scale * gradient)
            root = np.sqrt(second / (1 - 0.99**step))
            weight = weight * (1 - rate * plans[name].decay) - rate * first / (1 - 0.8**step) / (root + 1e-2)
            expected[name] = [weight, first, second]
    for name, values in expected.items():
        found = (parameters[name], optimizer.first[name], optimizer.second[name])
        for variable, value in zip(found, values, strict=True):
            np.testing.assert_allclose(variable.numpy(), value, rtol=2e-6, atol=1e-7)


def test_a_training_that_goes_on_has_the_same_bits():
    config = CONFIG.replace(dropout=0.3, attention_dropout=0.3)
    whole = engine(config)
    train(whole, range(3))
    middle = whole.state()
    terms = train(whole, range(3, 5))
    keras.utils.set_random_seed(7)  # has no say
    resumed = engine(config)
    resumed.load_state(middle)
    assert train(resumed, range(3, 5)) == terms
    assert_same_bits(resumed.state(), whole.state())


def test_each_engine_of_a_process_has_the_same_graph():
    """By name, which decides the order of sums."""
    sizes = {name: tf.TensorSpec([None] * values.ndim, values.dtype) for name, values in batch(0).items()}
    config = CONFIG.replace(n_layers=2)
    engines = [engine(config), engine(config)]
    graphs = [trained._gradients.get_concrete_function(sizes, tf.TensorSpec((), tf.int64)).graph for trained in engines]
    one, other = ([operation.name for operation in graph.get_operations()] for graph in graphs)
    assert one == other


def test_layers_that_are_computed_twice_drop_the_same():
    config = CONFIG.replace(dropout=0.3, attention_dropout=0.3)
    once, twice = engine(config), engine(config, gradient_checkpointing=True)
    (expected,), (found,) = (train(trained, range(1)) for trained in (once, twice))
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)
    one, two = once.state().first, twice.state().first
    assert max(np.abs(one[name] - two[name]).max() for name in one) < 1e-6


def test_each_layer_each_part_and_each_step_drop_other_things():
    trained = engine(CONFIG.replace(dropout=0.5, attention_dropout=0.5))
    states = [tuple(value.numpy()) for _, value in trained._dropout_states(tf.constant(5, tf.int64))]
    assert len(set(states)) == len(states) == 4, "of the embeddings, the head, and two in the layer"
    part = {**batch(0), "weights": np.full(4, 1 / 8, np.float32)}
    alone, again, two, later = (
        trained.step(parts, 0.0, number).terms["loss"]
        for parts, number in (([part], 0), ([part], 0), ([part] * 2, 0), ([part], 1))
    )
    assert alone == again
    assert two != pytest.approx(2 * alone, rel=1e-4)
    assert later != pytest.approx(alone, rel=1e-4)


def test_graphs_are_made_once_for_batches_of_all_sizes():
    trained = engine()
    for rows, tokens in ((1, 1), (4, 6), (3, 9), (5, 2)):
        trained.step(normalised([batch(0, rows, tokens), batch(1, tokens, rows)]), RATE, 0)
        trained.evaluate(batch(2, rows, tokens))
    assert trained._gradients.experimental_get_tracing_count() == 1
    assert trained._answers.experimental_get_tracing_count() == 1
    assert trained.optimizer._update_all.experimental_get_tracing_count() == 1


def test_updates_are_compiled_once_for_each_shape():
    before = adamw.update.experimental_get_tracing_count()
    for trained in (engine(CONFIG.replace(hidden_dim=11)), engine(CONFIG.replace(hidden_dim=11))):
        trained.step(normalised([batch(0)]), RATE, 0)
    assert adamw.update.experimental_get_tracing_count() - before <= 3, "of the two matrices and one bias of a network"


def test_frozen_tensors_stay_and_have_no_moments():
    frozen = [name for name in engine().model.tensor_specs if "embeddings" in name]
    trained = engine(plans=dict.fromkeys(frozen, TensorPlan(False, 0.1, 1.0)))
    before = trained.model.dump_tensors()
    train(trained, range(2))
    after = trained.state()
    assert frozen
    assert set(after.first) == set(after.second) == before.keys() - set(frozen)
    assert all((before[name].tobytes() == after.weights[name].tobytes()) == (name in frozen) for name in before)


def test_mixed_precision_keeps_weights_and_moments_in_float32():
    steady = CONFIG.replace(dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0)
    half, single = engine(steady, bf16=True), engine(steady)
    assert keras.config.dtype_policy().name == "float32", "the policy is that of before"
    assert half.model.compute_dtype == "bfloat16"
    found, expected = train(half, range(3)), train(single, range(3))
    assert found != expected
    for one, other in zip(found, expected, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=2e-2)
    state = half.state()
    assert {values.dtype.name for group in (state.weights, state.first, state.second) for values in group.values()} == {
        "float32"
    }
    terms, answers = half.evaluate(batch(0))
    assert answers.logits.dtype == np.float32
    assert terms["loss"] == pytest.approx(single.evaluate(batch(0))[0]["loss"], rel=2e-2)


def test_words_are_guessed_at_places_only():
    model = models.DistilBertForMaskedLM(CONFIG, seed=0)
    ids, places = batch(0)["input_ids"], np.array([[0, 5], [2, 2], [1, 0], [4, 3]])
    everywhere = model(ids).logits.numpy()
    found = model(ids, places=places).logits.numpy()
    np.testing.assert_allclose(found, np.take_along_axis(everywhere, places[..., None], 1), rtol=0, atol=2e-6)
    compiled = tf.function(lambda ids, places: model(ids, places=places).logits)
    np.testing.assert_allclose(compiled(ids, places + 3 * (places == 5)), found, rtol=0, atol=2e-6)
