# SPDX-License-Identifier: Apache-2.0
"""The engines of training, each against AdamW in NumPy on the float64 reference's gradients, and against each other."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import reference, spec
from distilbert.config import DistilBertConfig
from distilbert.parity.measuring import relative_error
from distilbert.parity.tolerances import FLOAT32_TRAINING
from distilbert.training.batch import Batch, normalised, share
from distilbert.training.engine import Engine, EngineSettings, TensorPlan

from .samples import TINY, random_tensors, sample_call, task_config
from .test_parity import backends

SHAPES = 2  # of batches, which take turns, since JAX compiles for each
STEPS, RATE, NORM, BETA1, BETA2 = 6, 3e-3, 0.4, 0.8, 0.95
# Large, so that its place in the formula matters, and gradients that are 0 but for rounding do not.
EPSILON = 1e-3
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "qa_dropout": 0.0, "seq_classif_dropout": 0.0}
trained_tasks = pytest.mark.parametrize("task", [task for task in spec.TASKS if task != "encoder"])


def config_of(task: str, **changes: Any) -> DistilBertConfig:
    return task_config(TINY, task).replace(**{**NO_DROPOUT, **changes})


def plans_of(config: DistilBertConfig, task: str) -> dict[str, TensorPlan]:
    """Every kind of plan: frozen embeddings, a lower rate for the first layer, decay of matrices."""
    return {
        name: TensorPlan(
            trained="embeddings" not in name,
            decay=0.1 if len(tensor.shape) > 1 else 0.0,
            rate_factor=0.5 if "layer.0" in name else 1.0,
        )
        for name, tensor in spec.tensors(config, task).items()
    }


def engine_of(name: str, task: str, config: DistilBertConfig, tensors: Mapping[str, Any], **settings: Any) -> Engine:
    package, module = (
        importlib.import_module(f"distilbert.{name}"),
        importlib.import_module(f"distilbert.{name}.training"),
    )
    with module.Engine.loading(settings.get("bf16", False)):
        model = getattr(package, spec.TASKS[task].class_name)(config)
    model.load_tensors(tensors)
    usual = {"plans": plans_of(config, task), "epsilon": EPSILON, "beta1": BETA1, "beta2": BETA2, "max_grad_norm": NORM}
    objective = module.TaskObjective(config, task, settings.pop("smoothing", 0.0))
    return module.Engine(model, objective, EngineSettings(**{**usual, **settings}))


def call_of(config: DistilBertConfig, task: str, seed: int) -> dict[str, Any]:
    call = sample_call(config, task, seed)
    del call["position_ids"]
    if task == "question-answering":  # in training padding is no place for an answer; the reference takes it for one
        call["attention_mask"] = np.ones_like(call["attention_mask"])
    if task == "masked-lm":  # nor is it a masked word
        call["labels"] = np.where(call["attention_mask"] == 1, call["labels"], -100)
    return call


def batch_of(task: str, call: Mapping[str, Any]) -> Batch:
    """A reference call as a batch of training: masked words by their places, others with a weight for each label."""
    batch = {name: values.astype(np.int32) for name, values in call.items()}
    if task == "token-classification":
        batch["weights"] = (batch["labels"] != -100).astype(np.float32)
    elif task == "masked-lm":
        masked = batch["labels"] != -100
        count = masked.sum(1).max()
        batch["places"] = np.argsort(~masked, 1, kind="stable")[:, :count].astype(np.int32)
        batch["weights"] = np.take_along_axis(masked, batch["places"], 1).astype(np.float32)
        batch["labels"] = np.take_along_axis(batch["labels"], batch["places"], 1) * (batch["weights"] > 0)
    else:
        batch["weights"] = np.ones(len(batch["input_ids"]), np.float32)
    return {name: values.astype(np.float32 if name == "weights" else np.int32) for name, values in batch.items()}


def cut(batch: Batch, *places: int) -> list[Batch]:
    """The batch in parts of its rows."""
    bounds = [0, *places, len(batch["weights"])]
    return [{name: values[start:end] for name, values in batch.items()} for start, end in pairwise(bounds)]


def expected_steps(task: str, config: DistilBertConfig, calls: list[dict[str, Any]]) -> tuple[dict[str, Any], float]:
    """Weights after AdamW on the reference's gradients, in float64; and the norm of the last gradient."""
    weights = {name: values.astype(np.float64) for name, values in random_tensors(config, task).items()}
    plans = plans_of(config, task)
    first = {name: np.zeros_like(values) for name, values in weights.items()}
    second = {name: np.zeros_like(values) for name, values in weights.items()}
    norm = 0.0
    for step, call in enumerate(calls, 1):
        found = reference.gradients(task, config, weights, **call)
        found = {name: gradient for name, gradient in found.items() if plans[name].trained}
        norm = float(np.sqrt(sum((gradient**2).sum() for gradient in found.values())))
        for name, gradient in found.items():
            gradient = gradient * min(1.0, NORM / (norm + 1e-6))
            first[name] = BETA1 * first[name] + (1 - BETA1) * gradient
            second[name] = BETA2 * second[name] + (1 - BETA2) * gradient**2
            mean, square = first[name] / (1 - BETA1**step), second[name] / (1 - BETA2**step)
            rate = RATE * plans[name].rate_factor
            weights[name] = weights[name] * (1 - rate * plans[name].decay) - rate * mean / (np.sqrt(square) + EPSILON)
    return weights, norm


def far_from(found: Mapping[str, Any], expected: Mapping[str, Any], bound: float) -> dict[str, float]:
    wrong = {name: relative_error(np.asarray(found[name], np.float64), expected[name]) for name in expected}
    return {name: error for name, error in wrong.items() if not error <= bound}


@backends
@trained_tasks
def test_steps_are_those_of_adamw_on_the_references_gradients(name: str, task: str) -> None:
    config = config_of(task)
    calls = [call_of(config, task, step % SHAPES) for step in range(STEPS)]
    tensors = random_tensors(config, task)
    expected, norm = expected_steps(task, config, calls)
    engine = engine_of(name, task, config, tensors)
    for number, call in enumerate(calls):
        result = engine.step(cut(normalised([batch_of(task, call)])[0], 1), RATE, number)
    found = engine.state().weights
    assert far_from(found, expected, FLOAT32_TRAINING.bound) == {}
    assert result.gradient_norm == pytest.approx(norm, rel=1e-4)
    assert norm > NORM, "the clipping must matter for the comparison to mean anything"
    for tensor, values in tensors.items():
        if tensor.endswith("weight"):
            assert np.array_equal(found[tensor], values) == ("embeddings" in tensor)


@backends
def test_the_comparison_sees_a_wrong_place_of_epsilon(name: str) -> None:
    config = config_of("sequence-classification")
    calls = [call_of(config, "sequence-classification", step % SHAPES) for step in range(STEPS)]
    expected, _ = expected_steps("sequence-classification", config, calls)
    tensors = random_tensors(config, "sequence-classification")
    engine = engine_of(name, "sequence-classification", config, tensors, epsilon=EPSILON * 1.05)
    for number, call in enumerate(calls):
        engine.step(normalised([batch_of("sequence-classification", call)]), RATE, number)
    assert far_from(engine.state().weights, expected, FLOAT32_TRAINING.bound)


@backends
@pytest.mark.parametrize("task", ["masked-lm", pytest.param("token-classification", marks=pytest.mark.slow)])
def test_a_step_is_the_same_however_it_is_cut(name: str, task: str) -> None:
    config = config_of(task)
    batch = normalised([batch_of(task, call_of(config, task, 0))])[0]
    found = []
    for parts in ([batch], cut(batch, 1, 2), [share(batch, rank, 2, 2) for rank in range(2)]):
        engine = engine_of(name, task, config, random_tensors(config, task))
        result = engine.step(parts, RATE, 0)
        found.append((engine.state().weights, result.terms["loss"]))
    for weights, loss in found[1:]:
        assert loss == pytest.approx(found[0][1], rel=1e-5)
        assert far_from(weights, found[0][0], FLOAT32_TRAINING.bound) == {}


@backends
@pytest.mark.parametrize("task", ["question-answering", "sequence-classification"])
def test_padding_changes_no_step(name: str, task: str) -> None:
    config = config_of(task)
    batch = normalised([batch_of(task, call_of(config, task, 0))])[0]
    wide = {key: np.pad(batch[key], ((0, 0), (0, 9))) for key in ("input_ids", "attention_mask")}
    losses, weights = [], []
    for changes in ({}, wide):
        engine = engine_of(name, task, config, random_tensors(config, task))
        losses.append(engine.evaluate({**batch, **changes})[0]["loss"])
        engine.step([{**batch, **changes}], RATE, 0)
        weights.append(engine.state().weights)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert far_from(weights[1], weights[0], FLOAT32_TRAINING.bound) == {}


@backends
def test_padding_is_not_computed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers see a row of tokens, as no batch of texts is shaped."""
    task = "token-classification"
    config = config_of(task)
    engine = engine_of(name, task, config, random_tensors(config, task))
    batch = normalised([batch_of(task, call_of(config, task, 0))])[0]
    layers = importlib.import_module(f"distilbert.{name}.modeling").FFN
    (call,) = {"forward", "call", "__call__"} & vars(layers).keys()
    original, ranks = getattr(layers, call), []

    def watched(self: Any, hidden: Any, *rest: Any, **options: Any) -> Any:
        ranks.append(hidden.ndim)
        return original(self, hidden, *rest, **options)

    monkeypatch.setattr(layers, call, watched)
    engine.step([batch], RATE, 0)
    engine.evaluate(batch)
    assert ranks == [2] * 2 * config.n_layers


@backends
@pytest.mark.parametrize("problem", ["regression", "multi_label_classification"])
def test_losses_of_values(name: str, problem: str) -> None:
    config = config_of("sequence-classification", problem_type=problem)
    call = call_of(config, "sequence-classification", 0)
    labels = np.random.default_rng(0).random((3, 3)).astype(np.float32)
    batch = {**batch_of("sequence-classification", call), "labels": labels}
    tensors = random_tensors(config, "sequence-classification")
    expected = reference.forward("sequence-classification", config, tensors, **{**call, "labels": labels}).loss
    terms, output = engine_of(name, "sequence-classification", config, tensors).evaluate(normalised([batch])[0])
    assert terms["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert output.logits.shape == (3, 3)
    assert isinstance(output.logits, np.ndarray)


@backends
def test_smoothing_is_that_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    config = config_of("token-classification")
    batch = batch_of("token-classification", call_of(config, "token-classification", 0))
    tensors = random_tensors(config, "token-classification")
    terms, output = engine_of(name, "token-classification", config, tensors, smoothing=0.3).evaluate(
        normalised([batch])[0]
    )
    logits, labels = torch.tensor(output.logits).flatten(0, 1), torch.tensor(batch["labels"]).flatten().long()
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.3)
    assert terms["loss"] == pytest.approx(float(expected), rel=1e-5)


@backends
def test_a_state_goes_on_as_if_nothing_had_been(name: str) -> None:
    """Bit for bit, with dropout, in an engine that has drawn other numbers before."""
    config = TINY
    tensors = random_tensors(config, "sequence-classification")
    parts = [
        cut(
            normalised(
                [batch_of("sequence-classification", call_of(config, "sequence-classification", step % SHAPES))]
            )[0],
            2,
        )
        for step in range(6)
    ]
    engine = engine_of(name, "sequence-classification", config, tensors, seed=3)
    for number in range(3):
        engine.step(parts[number], RATE, number)
    middle = engine.state()
    assert middle.step == 3
    for number in range(3, 6):
        last = engine.step(parts[number], RATE, number)
    other = engine_of(name, "sequence-classification", config, tensors, seed=3)
    other.step(parts[5], RATE, 77)
    other.load_state(middle)
    for number in range(3, 6):
        again = other.step(parts[number], RATE, number)
    assert again == last
    end, found = engine.state(), other.state()
    for kind in ("weights", "first", "second"):
        expected = getattr(end, kind)
        assert expected.keys() == getattr(found, kind).keys()
        assert all(np.array_equal(values, getattr(found, kind)[tensor]) for tensor, values in expected.items())
    without = engine_of(name, "sequence-classification", config.replace(**NO_DROPOUT), tensors, seed=3)
    without.load_state(middle)
    assert without.step(parts[3], RATE, 3).terms != engine.step(parts[3], RATE, 3).terms


@backends
def test_a_state_without_moments_begins_anew(name: str) -> None:
    config = config_of("sequence-classification")
    tensors = random_tensors(config, "sequence-classification")
    parts = normalised([batch_of("sequence-classification", call_of(config, "sequence-classification", 0))])
    engine = engine_of(name, "sequence-classification", config, tensors)
    begin = engine.state()
    assert (begin.step, begin.first, begin.second) == (0, {}, {})
    engine.step(parts, RATE, 0)
    first = engine.state()
    engine.load_state(begin)
    engine.step(parts, RATE, 0)
    again = engine.state()
    assert again.step == 1
    assert all(np.array_equal(again.weights[tensor], values) for tensor, values in first.weights.items())
    assert all(np.array_equal(again.second[tensor], values) for tensor, values in first.second.items())


@backends
def test_another_framework_goes_on(name: str) -> None:
    """Three steps in each framework, one after the other, are nine in one."""
    config = config_of("sequence-classification")
    parts = [
        normalised([batch_of("sequence-classification", call_of(config, "sequence-classification", step % SHAPES))])
        for step in range(9)
    ]
    tensors = random_tensors(config, "sequence-classification")
    alone = engine_of(name, "sequence-classification", config, tensors)
    for number in range(9):
        alone.step(parts[number], RATE, number)
    state = engine_of("pt", "sequence-classification", config, tensors).state()
    for place, framework in enumerate(("pt", "flax", "tf")):
        engine = engine_of(framework, "sequence-classification", config, tensors)
        engine.load_state(state)
        for number in range(3 * place, 3 * place + 3):
            engine.step(parts[number], RATE, number)
        state = engine.state()
    assert state.step == 9
    assert far_from(state.weights, alone.state().weights, FLOAT32_TRAINING.bound) == {}
    squares = alone.state().second
    squares = {key: squares[key] for key in squares if "k_lin.bias" not in key}  # there it is 0 but for rounding
    assert far_from(state.second, squares, 1e-4) == {}


@backends
def test_bfloat16_computes_nearly_the_same_with_weights_in_float32(name: str) -> None:
    config = config_of("sequence-classification")
    tensors = random_tensors(config, "sequence-classification", std=0.05)
    parts = normalised([batch_of("sequence-classification", call_of(config, "sequence-classification", 0))])
    found = []
    for bf16 in (False, True):
        engine = engine_of(name, "sequence-classification", config, tensors, bf16=bf16)
        result = engine.step(parts, RATE, 0)
        state = engine.state()
        assert {values.dtype for values in (*state.weights.values(), *state.first.values())} == {np.dtype("float32")}
        found.append((result, state))
    assert found[0][0].terms["loss"] == pytest.approx(found[1][0].terms["loss"], rel=2e-2)
    assert found[0][0] != found[1][0]
    name_of_one = "distilbert.transformer.layer.1.ffn.lin1.weight"
    assert relative_error(found[1][1].first[name_of_one], found[0][1].first[name_of_one]) < 5e-2


@backends
def test_checkpointed_gradients_are_the_same(name: str) -> None:
    config = config_of("sequence-classification")
    tensors = random_tensors(config, "sequence-classification")
    parts = normalised([batch_of("sequence-classification", call_of(config, "sequence-classification", 0))])
    found = []
    for checkpointing in (False, True):
        engine = engine_of(name, "sequence-classification", config, tensors, gradient_checkpointing=checkpointing)
        engine.step(parts, RATE, 0)
        found.append(engine.state().first)
    assert far_from(found[1], {k: v for k, v in found[0].items() if "k_lin.bias" not in k}, 1e-5) == {}


@backends
@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has a GPU")
def test_a_cpu_is_no_accelerator(name: str) -> None:
    task = "sequence-classification"
    config = config_of(task)
    assert engine_of(name, task, config, random_tensors(config, task)).accelerator == ""
