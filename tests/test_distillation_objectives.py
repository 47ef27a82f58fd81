# SPDX-License-Identifier: Apache-2.0
"""The objectives of distillation: against the reference in float64, and in engines of all frameworks."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from distilbert import backend, reference, spec
from distilbert.config import DistilBertConfig
from distilbert.outputs import MaskedLMOutput
from distilbert.parity.measuring import relative_error
from distilbert.parity.tolerances import FLOAT32, FLOAT64
from distilbert.training.batch import Batch, normalised
from distilbert.training.distillation.reference import (
    Loss,
    LossSettings,
    cross_entropy,
    kept_hidden,
    task_loss,
    triple_loss,
)
from distilbert.training.distillation.topk import compressed, probabilities
from distilbert.training.engine import EngineSettings, TensorPlan

from .samples import TINY, random_tensors, sample_call
from .test_parity import backends, build, precision

B, T, P, K, L = 3, 7, 4, 5, 3
V, WIDTH = TINY.vocab_size, TINY.dim
COORDINATES = np.array([0, 2, 3, 7, 11, 12, 20, 31])
STEPS, RATE = 5, 3e-3

# A teacher must never drop anything, so these rates must not matter.
TEACHER = TINY.replace(n_layers=4, dropout=0.5, attention_dropout=0.5)
SHALLOW = TEACHER.replace(n_layers=1)
STUDENT = TINY.replace(dim=len(COORDINATES), dropout=0.0, attention_dropout=0.0)

CASES: dict[str, dict[str, Any]] = {
    "all": {},
    "restricted": {"temperature": 3.5, "restrict_ce_to_mask": True},
    "no ce": {"alpha_ce": 0.0},
    "no mlm": {"alpha_mlm": 0.0},
    "no cos": {"alpha_cos": 0.0},
    "cos alone": {"alpha_ce": 0.0, "alpha_mlm": 0.0},
}
cases = pytest.mark.parametrize("case", CASES)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape) * 2


def batch_of(seed: int = 0) -> Batch:
    """As `batches.Distillation` makes it, with one place of a row given twice and some that fill up."""
    generator = np.random.default_rng(seed)
    call = sample_call(TINY, "masked-lm", seed)
    places = np.array([[1, 3, 4, 0], [2, 6, 6, 0], [3, 5, 0, 0]], np.int32)
    weights = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0]], np.float32)
    batch = {
        "input_ids": call["input_ids"].astype(np.int32),
        "attention_mask": call["attention_mask"].astype(np.int32),
        "places": places,
        "labels": np.where(weights > 0, generator.integers(0, V, (B, P)), 0).astype(np.int32),
        "weights": weights,
        "token_weights": call["attention_mask"].astype(np.float32),
    }
    return normalised([batch])[0]


def in_float64(batch: Mapping[str, np.ndarray]) -> Batch:
    return {name: values.astype(np.float64) if values.dtype.kind == "f" else values for name, values in batch.items()}


def module_of(name: str) -> Any:
    backend.load(name, "the tests")
    return importlib.import_module(f"distilbert.{name}.distillation")


def width_of(settings: LossSettings) -> int:
    return P if settings.at_masks else T


# A teacher is asked, and what it should say.


@functools.cache
def teacher_answers(at_masks: bool) -> dict[str, np.ndarray]:
    """By the reference in float64: `hidden` (B, T, D), and `logits` at all tokens or at `places`."""
    batch = batch_of()
    call = {name: batch[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
    tensors = random_tensors(SHALLOW, "masked-lm", dtype=np.float64)
    output = reference.forward("masked-lm", SHALLOW, tensors, **call)
    logits = output.logits
    if at_masks:
        logits = np.take_along_axis(logits, batch["places"][..., None], 1)
    return {"logits": logits, "hidden": output.hidden_states[-1]}


def teacher_of(
    name: str,
    settings: LossSettings,
    coordinates: np.ndarray | None,
    config: DistilBertConfig = SHALLOW,
    dtype: str = "float32",
    task: str = "masked-lm",
) -> Any:
    tensors = random_tensors(config, "masked-lm")
    prefix = spec.PREFIX if task == "encoder" else ""
    own = {path: tensors[prefix + path] for path in spec.tensors(config, task)}
    return module_of(name).Teacher(build(name, task, config, own, dtype), settings, coordinates)


@backends
@pytest.mark.parametrize(("case", "coordinates"), [("all", COORDINATES), ("restricted", None)], ids=["all", "masks"])
def test_a_teacher_is_asked(name: str, case: str, coordinates: np.ndarray | None) -> None:
    settings = LossSettings(**CASES[case])
    expected = teacher_answers(settings.at_masks)
    found = teacher_of(name, settings, coordinates).ask(batch_of())
    assert found["logits"].shape == (B, width_of(settings), V)
    assert {type(values) for values in found.values()} == {np.ndarray}
    assert {values.dtype for values in found.values()} == {np.dtype("float32")}
    assert relative_error(found["logits"], expected["logits"]) < FLOAT32.bound
    assert relative_error(found["hidden"], kept_hidden(expected["hidden"], coordinates)) < FLOAT32.bound


@backends
def test_a_teacher_without_a_head_is_asked(name: str) -> None:
    found = teacher_of(name, LossSettings(alpha_ce=0), COORDINATES, task="encoder").ask(batch_of())
    assert set(found) == {"hidden"}
    assert relative_error(found["hidden"], teacher_answers(True)["hidden"][..., COORDINATES]) < FLOAT32.bound


# Terms and gradients in float64, for a student that answers with given numbers.


def student_answers(settings: LossSettings, width: int = len(COORDINATES)) -> dict[str, np.ndarray]:
    return {"logits": random(B, width_of(settings), V), "hidden": random(B, T, width)}


def cached_answers(settings: LossSettings) -> Batch:
    """What a cache adds to a batch, K pieces of each answer kept."""
    answers = teacher_answers(settings.at_masks)
    kept = compressed(answers["logits"], K)
    return {
        "teacher_ids": kept["ids"].astype(np.int32),
        "teacher_probabilities": probabilities(kept["values"], kept["rest"], V, settings.temperature),
        "teacher_hidden": answers["hidden"][..., COORDINATES],
    }


def fake_student(leaves: Mapping[str, Any], asked: list[set[str]]) -> Callable[..., MaskedLMOutput]:
    """A model whose answers are the leaves."""

    def model(**options: Any) -> MaskedLMOutput:
        asked.append(set(options))
        return MaskedLMOutput(logits=leaves["logits"], hidden_states=(None, leaves["hidden"]))

    return model


def measured(
    name: str, objective: Any, batch: Batch, student: Mapping[str, np.ndarray], compiled: bool = False
) -> tuple[Loss, set[str]]:
    """Terms and gradients of an objective at a student's answers, in their float type; what the student was given."""
    asked: list[set[str]] = []
    measure = {"pt": of_pytorch, "tf": of_tensorflow, "flax": of_jax}[name]
    terms, gradients = measure(objective, batch, student, asked, compiled)
    numbers = {term: float(value) for term, value in terms.items()}
    return Loss(numbers, np.asarray(gradients["logits"]), np.asarray(gradients["hidden"])), asked[0]


def of_pytorch(
    objective: Any, batch: Batch, student: Mapping[str, np.ndarray], asked: list[set[str]], compiled: bool
) -> Any:
    import torch

    leaves = {key: torch.tensor(values, requires_grad=True) for key, values in student.items()}
    part = {key: torch.tensor(values) for key, values in batch.items()}
    terms, _ = objective(fake_student(leaves, asked), part)
    sum(terms.values()).backward()
    terms = {key: value.detach() for key, value in terms.items()}
    return terms, {key: np.zeros(leaf.shape) if leaf.grad is None else leaf.grad for key, leaf in leaves.items()}


def of_tensorflow(
    objective: Any, batch: Batch, student: Mapping[str, np.ndarray], asked: list[set[str]], compiled: bool
) -> Any:
    import tensorflow as tf

    def run(part: dict[str, Any], leaves: dict[str, Any]) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(leaves)
            terms, _ = objective(fake_student(leaves, asked), part, training=True)
            loss = tf.add_n(list(terms.values()))
        return terms, tape.gradient(loss, leaves, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    given = [{key: tf.constant(values) for key, values in arrays.items()} for arrays in (batch, student)]
    if compiled:  # as engines do, for batches of all sizes
        specs = [{key: tf.TensorSpec([None] * value.ndim, value.dtype) for key, value in row.items()} for row in given]
        specs[1] = {key: tf.TensorSpec([None, None, value.shape[-1]], value.dtype) for key, value in given[1].items()}
        return tf.function(run).get_concrete_function(*specs)(*given)
    return run(*given)


def of_jax(
    objective: Any, batch: Batch, student: Mapping[str, np.ndarray], asked: list[set[str]], compiled: bool
) -> Any:
    import jax

    def loss(leaves: Any, objective: Any, part: Any) -> Any:
        terms, _ = objective(fake_student(leaves, asked), part)
        return sum(terms.values()), terms

    part, leaves = ({key: jax.numpy.asarray(values) for key, values in arrays.items()} for arrays in (batch, student))
    gradient = jax.grad(loss, has_aux=True)
    gradients, terms = (jax.jit(gradient) if compiled else gradient)(leaves, objective, part)
    return terms, gradients


def says(name: str, answers: Mapping[str, np.ndarray]) -> Callable[..., Any]:
    """A teacher that always gives these answers."""
    if name == "flax":
        return lambda part, learner: dict(answers)
    tensor = importlib.import_module({"pt": "torch", "tf": "tensorflow"}[name])
    make = tensor.from_numpy if name == "pt" else tensor.constant
    return lambda part: {key: make(values) for key, values in answers.items()}


def differences(found: Loss, expected: Loss) -> list[str]:
    """Terms and gradients that are not the same to 1e-11 of the largest number."""
    hidden = np.zeros_like(found.d_hidden) if expected.d_hidden is None else expected.d_hidden
    wrong = [] if found.terms.keys() == expected.terms.keys() else ["names"]
    wrong += [
        term
        for term, value in expected.terms.items()
        if term in found.terms and not abs(found.terms[term] / value - 1) < FLOAT64.bound
    ]
    for kind, one, other in (("d_logits", found.d_logits, expected.d_logits), ("d_hidden", found.d_hidden, hidden)):
        assert one is not None
        assert one.dtype == np.float64
        if not (np.array_equal(one, other) or relative_error(one, other) < FLOAT64.bound):
            wrong.append(kind)
    return wrong


def compared(name: str, settings: LossSettings, cache: bool = False, own: LossSettings | None = None) -> list[str]:
    """What an objective (with settings of its `own`) has other than the reference."""
    student, answers = student_answers(settings), teacher_answers(settings.at_masks)
    kept = {**answers, "hidden": answers["hidden"][..., COORDINATES]}
    with precision(name, "float64"):
        teacher = None if cache else says(name, kept)
        batch = in_float64(batch_of() | (cached_answers(settings) if cache else {}))
        objective = module_of(name).DistillationObjective(own or settings, teacher)
        found, asked = measured(name, objective, batch, student)
    assert ("places" in asked) == settings.at_masks
    return differences(found, triple_loss(settings, batch, student, answers, COORDINATES))


@backends
@pytest.mark.parametrize("cache", [False, True], ids=["asked", "cached"])
@cases
def test_the_triple_loss(name: str, case: str, cache: bool) -> None:
    assert compared(name, LossSettings(**CASES[case]), cache) == []


@backends
@pytest.mark.parametrize("coordinates", [None, COORDINATES], ids=["wide", "narrow"])
def test_the_triple_loss_with_a_teacher_in_compiled_code(name: str, coordinates: np.ndarray | None) -> None:
    settings = LossSettings()
    student = student_answers(settings, WIDTH if coordinates is None else len(coordinates))
    batch = in_float64(batch_of())
    with precision(name, "float64"):
        teacher = teacher_of(name, settings, coordinates, dtype="float64")
        objective = module_of(name).DistillationObjective(settings, teacher)
        found, _ = measured(name, objective, batch, student, compiled=True)
    assert differences(found, triple_loss(settings, batch, student, teacher_answers(False), coordinates)) == []


@backends
@pytest.mark.parametrize("cache", [False, True], ids=["asked", "cached"])
@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"temperature": 2.0 * 1.02}, ["ce", "d_logits"]),
        ({"alpha_ce": 5.0 / 2.0**2}, ["ce", "d_logits"]),
        ({"alpha_mlm": 2.0 + 1e-9, "alpha_cos": 1.0 + 1e-9}, ["mlm", "cos", "d_logits", "d_hidden"]),
        ({"alpha_cos": 0.0}, ["names", "d_hidden"]),
    ],
)
def test_the_comparison_sees_another_loss(name: str, changes: dict[str, float], wrong: list[str], cache: bool) -> None:
    assert compared(name, LossSettings(), cache, own=LossSettings(**changes)) == wrong


TASK_BATCH: Batch = {
    "input_ids": np.ones((B, T), np.int32),
    "attention_mask": np.ones((B, T), np.int32),
    "teacher_logits": random(B, L, seed=1),
    "weights": np.array([0.5, 0.25, 0.25]),
    "labels": np.array([2, 0, 1], np.int32),
    "label_weights": np.array([0.5, 0.0, 0.5]),
}
TASK_SETTINGS = LossSettings(temperature=3.0, alpha_ce=2.0, alpha_label=0.5)


def of_task(name: str, settings: LossSettings, batch: Batch = TASK_BATCH) -> tuple[Loss, np.ndarray]:
    student = {"logits": random(B, L), "hidden": random(B, T, WIDTH)}
    with precision(name, "float64"):
        found, asked = measured(name, module_of(name).TaskDistillationObjective(settings), batch, student)
    assert asked >= {"input_ids", "attention_mask", "return_dict"}
    assert not asked & batch.keys() - {"input_ids", "attention_mask"}
    return found, student["logits"]


@backends
@pytest.mark.parametrize("changes", [{}, {"alpha_ce": 0.0}, {"alpha_label": 0.0}], ids=["both", "hard", "soft"])
def test_the_task_loss(name: str, changes: dict[str, float]) -> None:
    values = {"temperature": 3.0, "alpha_ce": 2.0, "alpha_label": 0.5, **changes}
    settings = LossSettings(**values)
    found, logits = of_task(name, settings)
    assert differences(found, task_loss(settings, TASK_BATCH, logits)) == []


@backends
@pytest.mark.parametrize("changes", [{"temperature": 3.06}, {"alpha_ce": 2 / 9}], ids=["temperature", "square"])
def test_the_comparison_sees_another_task_loss(name: str, changes: dict[str, float]) -> None:
    found, logits = of_task(name, LossSettings(**{"temperature": 3.0, "alpha_ce": 2.0, "alpha_label": 0.5, **changes}))
    assert differences(found, task_loss(TASK_SETTINGS, TASK_BATCH, logits)) == ["ce", "d_logits"]


@backends
def test_without_a_teacher_the_loss_is_plain(name: str) -> None:
    batch = {key: TASK_BATCH[key] for key in ("input_ids", "attention_mask", "labels", "weights")}
    found, logits = of_task(name, TASK_SETTINGS, batch)
    value, gradient = cross_entropy(logits, batch["labels"], batch["weights"])
    assert differences(found, Loss({"loss": value}, gradient, None)) == []


@backends
@pytest.mark.parametrize("cache", [False, True], ids=["asked", "cached"])
def test_extremes_stay_finite(name: str, cache: bool) -> None:
    """In float32: the student is certain of what its teacher rules out, and its hidden states are 0."""
    settings = LossSettings()
    answers = teacher_answers(False)
    student = {"logits": -1e4 * answers["logits"], "hidden": np.zeros((B, T, len(COORDINATES)))}
    batch = batch_of() | (cached_answers(settings) if cache else {})
    batch = {key: values.astype(np.float32) if values.dtype.kind == "f" else values for key, values in batch.items()}
    teacher = None if cache else says(name, {**answers, "hidden": answers["hidden"][..., COORDINATES]})
    objective = module_of(name).DistillationObjective(settings, teacher)
    found, _ = measured(name, objective, batch, {key: values.astype(np.float32) for key, values in student.items()})
    assert np.isfinite(list(found.terms.values())).all()
    assert np.isfinite(found.d_logits).all()
    assert found.d_hidden is not None
    assert np.isfinite(found.d_hidden).all()


# In engines.


def engine_of(
    name: str, settings: LossSettings, teacher: DistilBertConfig, student: DistilBertConfig, **options: Any
) -> Any:
    """An engine whose student learns from the teacher."""
    module = importlib.import_module(f"distilbert.{name}.training")
    with module.Engine.loading(options.get("bf16", False)):
        coordinates = COORDINATES if student.dim < teacher.dim else None
        objective = module_of(name).DistillationObjective(settings, teacher_of(name, settings, coordinates, teacher))
        model = build(name, "masked-lm", student, random_tensors(student, "masked-lm"), "float32")
    plans = {path: TensorPlan(True, 0.01, 1.0) for path in spec.tensors(student, "masked-lm")}
    return module.Engine(model, objective, EngineSettings(plans, epsilon=1e-3, **options))


def teacher_tensors(name: str, teacher: Any) -> dict[str, np.ndarray]:
    model = teacher.model.with_params(teacher.params) if name == "flax" else teacher.model
    return model.dump_tensors()


@functools.cache
def trained(name: str, case: str) -> tuple[list[dict[str, float]], dict[str, np.ndarray], dict[str, float]]:
    """Terms of some steps of two parts, the weights after them, and the loss of an evaluation."""
    engine = engine_of(name, LossSettings(**CASES[case]), TEACHER, STUDENT)
    steps = []
    for number in range(STEPS):
        parts = normalised([batch_of(2 * number), batch_of(2 * number + 1)])
        steps.append(engine.step(parts, RATE, number).terms)
    batch = {key: values for key, values in batch_of().items() if key != "token_weights"}
    terms, output = engine.evaluate(batch)
    assert output.logits.shape == (B, P, V)
    assert terms["loss"] == pytest.approx(cross_entropy(output.logits, batch["labels"], batch["weights"])[0], rel=1e-5)
    expected = random_tensors(TEACHER, "masked-lm")
    for kept in (engine.objective, getattr(engine, "shared_objective", engine.objective)):
        found = teacher_tensors(name, kept.teacher)
        assert all(np.array_equal(found[path], values) for path, values in expected.items())
    return steps, engine.state().weights, terms


@backends
@pytest.mark.parametrize("case", ["all", pytest.param("restricted", marks=pytest.mark.slow)])
def test_the_same_training_in_all_frameworks(name: str, case: str) -> None:
    others = [other for other in backend.installed() if other != name]
    if not others:
        pytest.skip("one framework is installed")
    steps, weights, evaluated = trained(name, case)
    assert sum(steps[-1].values()) < sum(steps[0].values())
    other_steps, other_weights, other_evaluated = trained(others[0], case)
    for found, expected in zip(steps, other_steps, strict=True):
        assert found == pytest.approx(expected, rel=1e-4)
    assert evaluated == pytest.approx(other_evaluated, rel=1e-4)
    start = random_tensors(STUDENT, "masked-lm")
    for path, values in weights.items():
        assert relative_error(values - start[path], other_weights[path] - start[path]) < 1e-3, path


@backends
def test_a_student_that_is_its_teacher_has_nothing_to_learn_in_bfloat16_either(name: str) -> None:
    """As the teacher computes in what the student computes in."""
    student = SHALLOW.replace(dropout=0.0, attention_dropout=0.0)
    engine = engine_of(name, LossSettings(), SHALLOW, student, bf16=True)
    terms = engine.step([batch_of()], RATE, 0).terms
    assert abs(terms["ce"]) < 1e-5
    assert abs(terms["cos"]) < 1e-5
    again = engine.step([batch_of()], RATE, 1).terms
    assert again["ce"] > 1e-4
    assert again["mlm"] < terms["mlm"]


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_pytorch_takes_the_rows_of_a_divergence_in_parts(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    distillation, losses = (importlib.import_module(f"distilbert.pt.{name}") for name in ("distillation", "losses"))
    teacher, weights = torch.from_numpy(random(2, 5, V)), torch.from_numpy(random(2, 5))

    probabilities, ids = torch.softmax(teacher, -1).topk(3)
    rest = 1 - probabilities.sum(-1, keepdim=True)
    kept = {"ids": ids, "probabilities": torch.cat([probabilities, rest], -1)}

    def plain(student: Any, answers: Batch, temperature: float) -> Any:
        if "ids" in answers:
            return distillation.kept_divergences(student, answers["ids"], answers["probabilities"], temperature)
        return distillation.divergences(student, answers["logits"], temperature)

    def found_by(soft_losses: Callable[..., Any], answers: Batch) -> tuple[np.ndarray, np.ndarray]:
        student = torch.from_numpy(random(2, 5, V, seed=1)).requires_grad_()
        found = soft_losses(student, answers, 3.0)
        (weights * found).sum().backward()
        return found.detach().numpy(), student.grad.numpy()

    monkeypatch.setattr(losses, "CACHED", rows * V)
    for answers in ({"logits": teacher}, kept):
        for values, expected in zip(found_by(distillation.soft_losses, answers), found_by(plain, answers), strict=True):
            assert relative_error(values, expected) < FLOAT64.bound


def test_a_teacher_of_jax_is_an_argument_of_the_step() -> None:
    jax = pytest.importorskip("jax")
    objective = module_of("flax").DistillationObjective(LossSettings(), teacher_of("flax", LossSettings(), COORDINATES))
    assert len(jax.tree.leaves(objective)) == len(spec.tensors(SHALLOW, "masked-lm")) + 1
    again = jax.tree.map(lambda values: values, objective)
    assert jax.tree.structure(again) == jax.tree.structure(objective)
