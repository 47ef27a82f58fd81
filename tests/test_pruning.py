# SPDX-License-Identifier: Apache-2.0
"""Importance of attention heads against exact derivatives of the NumPy reference, and pruning by it."""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import backend, head_importance, load, prune, reference, spec, surgery
from distilbert.config import DistilBertConfig
from distilbert.convert import open_checkpoint
from distilbert.convert.arrays import same_bits
from distilbert.convert.tensor import FLOAT_DTYPES
from distilbert.errors import AnswerError, InputError, QualityError, WeightsError
from distilbert.parity.measuring import relative_error
from distilbert.parity.tolerances import FLOAT32, FLOAT64
from distilbert.pruning import choosing, importance, pruning
from distilbert.pruning.importance import HeadImportance, per_example
from distilbert.tokenizer import DistilBertTokenizer

from .samples import TINY, random_tensors, task_config, write_model
from .training_samples import write_reviews, write_start

LABELS = {0: "negative", 1: "positive"}
SCORES_IN_FLOAT32 = 1e-5  # sums of products of gradients, in another order in each framework

IN_MEMORY = {"normalize": False, "per_device_eval_batch_size": 4, "pad_to_multiple_of": 16}

frameworks = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(name not in backend.installed(), reason="not installed"))
        for name in ("pt", "tf", "flax")
    ],
)


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """A random classifier of reviews with a tokenizer, and beside it reviews of different lengths."""
    folder = tmp_path_factory.mktemp("pruning")
    write_reviews(folder / "reviews.csv", 7)
    return write_start(folder / "start", "sequence-classification", id2label=LABELS)


@pytest.fixture(scope="module")
def reviews(start) -> Path:
    return start.parent / "reviews.csv"


def numpy_model(folder: Path) -> tuple[DistilBertConfig, dict[str, np.ndarray]]:
    found = open_checkpoint(folder)
    return found.config, {name: tensor.load().astype(np.float64) for name, tensor in found.tensors.items()}


def exact(
    task: str, config: DistilBertConfig, tensors: dict[str, np.ndarray], calls: list[dict[str, Any]]
) -> np.ndarray:
    """Derivatives (n_layers, B, H) of the reference: of its values a head is a linear function, so by a factor on them
    the derivative is the sum of weights times gradients."""
    rows = []
    for call in calls:
        gradients = reference.gradients(task, config, tensors, **call)
        layers = []
        for layer in range(config.n_layers):
            path = f"{spec.TASKS[task].prefix}transformer.layer.{layer}.attention.v_lin."
            products = (tensors[f"{path}weight"] * gradients[f"{path}weight"]).sum(1)
            products += tensors[f"{path}bias"] * gradients[f"{path}bias"]
            layers.append(products.reshape(config.n_heads, config.head_dim).sum(1))
        rows.append(layers)
    return np.array(rows).transpose(1, 0, 2)


def review_calls(folder: Path, path: Path) -> list[dict[str, Any]]:
    """The reviews one by one, without padding."""
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    lines = [line.split(",") for line in path.read_text().splitlines()[1:]]
    numbers = {name: number for number, name in LABELS.items()}
    return [
        {"input_ids": np.array([tokenizer(text)["input_ids"]]), "labels": np.array([numbers[label]])}
        for text, label in lines
    ]


def in_float64(name: str) -> Any:
    """JAX computes in float64 only where that is switched on."""
    if name != "flax":
        return nullcontext()
    import jax

    return jax.enable_x64(True)


def test_the_exact_derivatives_are_those_of_small_steps(start, reviews):
    (config, tensors), call = numpy_model(start), review_calls(start, reviews)[0]
    found, step = exact("sequence-classification", config, tensors, [call]), 1e-5
    for layer, head in ((0, 1), (1, 3)):
        losses = []
        for sign in (1, -1):
            mask = np.ones((config.n_layers, config.n_heads))
            mask[layer, head] += sign * step
            losses.append(
                float(reference.forward("sequence-classification", config, tensors, **call, head_mask=mask).loss)
            )
        assert abs((losses[0] - losses[1]) / (2 * step) - found[layer, 0, head]) < 1e-8 * np.abs(found).max()


@pytest.fixture(scope="module")
def expected(start, reviews) -> np.ndarray:
    """Mean absolute derivatives (n_layers, H), from the reference."""
    return np.abs(exact("sequence-classification", *numpy_model(start), review_calls(start, reviews))).mean(1)


@frameworks
def test_scores_are_mean_absolute_derivatives(name, start, reviews, expected):
    found = head_importance(start, reviews, backend=name)
    assert found.examples == 7
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert relative_error(found.scores, unit) <= SCORES_IN_FLOAT32
    with in_float64(name):
        model = load(start, backend=name, dtype="float64")
        found = head_importance(model, reviews, **IN_MEMORY, tokenizer=DistilBertTokenizer.from_pretrained(start))
    assert relative_error(found.scores, expected) <= FLOAT64.bound


def test_signs_that_cancel_are_seen(start, reviews, expected, monkeypatch):
    """The mutation of the test above: the mean of the derivatives, not of their absolute values."""
    monkeypatch.setattr(importance, "magnitudes", lambda found: np.abs(found.sum(1)))
    assert relative_error(head_importance(start, reviews, backend="pt", normalize=False).scores, expected) > 1e-2


def task_batch(task: str) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """A batch of three examples, and the same as calls of the reference."""
    random = np.random.default_rng(3)
    ids = random.integers(1, 99, (3, 2, 6) if task == "multiple-choice" else (3, 6)).astype(np.int32)
    batch = {"input_ids": ids, "attention_mask": np.ones_like(ids), "weights": np.ones(3)}
    calls: list[dict[str, Any]] = [{"input_ids": ids[row : row + 1]} for row in range(3)]
    if task == "question-answering":
        spans = {"start_positions": np.array([1, 4, 2], np.int32), "end_positions": np.array([2, 5, 2], np.int32)}
        labels = spans
    elif task == "token-classification":
        labels = {"labels": np.where(ids % 2, ids % 3, -100).astype(np.int32)}
        counted = labels["labels"] >= 0
        batch["weights"] = counted / counted.sum(1, keepdims=True)
    elif task == "masked-lm":
        labels = {"labels": np.where(np.arange(6) % 4 == 1, ids[:, ::-1], -100).astype(np.int32)}
        batch |= {"places": np.tile(np.int32([1, 5]), (3, 1)), "weights": np.full((3, 2), 0.5)}
    else:
        labels = {"labels": np.array([1, 0, 1], np.int32)}
    for name, values in labels.items():
        for row in range(3):
            calls[row][name] = values[row : row + 1]
    if task == "masked-lm":
        labels = {"labels": labels["labels"][:, [1, 5]]}
    return {**batch, **labels}, calls


ALL_TASKS = ("masked-lm", "token-classification", "question-answering", "multiple-choice")
TASKS_OF = {"pt": ALL_TASKS, "tf": ("multiple-choice",), "flax": ("multiple-choice",)}  # compiling takes seconds each


@frameworks
def test_derivatives_of_each_example_in_one_pass(name):
    for task in TASKS_OF[name]:
        config = task_config(TINY, task)
        tensors = random_tensors(config, task, dtype=np.float64)
        batch, calls = task_batch(task)
        with in_float64(name):
            model = getattr(backend.load(name, "the tests"), spec.TASKS[task].class_name).empty(config, "float64")
            model.load_tensors(tensors)
            objective = importlib.import_module(f"distilbert.{name}.objectives").TaskObjective(config, task, 0.0)
            derivatives = importlib.import_module(f"distilbert.{name}.importance").Derivatives(model, objective)
            found = per_example(derivatives, batch, np.ones((2, 4)))
        assert relative_error(found, exact(task, config, tensors, calls)) <= FLOAT64.bound, task


# Pruning.


@frameworks
def test_a_head_that_does_nothing_goes_first_and_is_not_missed(name, start, reviews, tmp_path):
    config, tensors = numpy_model(start)
    width = config.head_dim
    tensors["distilbert.transformer.layer.1.attention.out_lin.weight"][:, 2 * width : 3 * width] = 0
    folder = tmp_path / "idle"
    write_start(folder, "sequence-classification", id2label=LABELS)
    idle = {key: values.astype(np.float32) for key, values in tensors.items()}
    write_model(folder, config, "sequence-classification", idle)
    done = prune(folder, tmp_path / "out", reviews, heads=1, backend=name, validation_file=str(reviews), max_drop=0)
    assert done.importance.scores[1, 2] == 0
    assert done.heads == {1: (2,)}
    assert (done.before.heads, done.after.heads) == (8, 7)
    assert done.before.parameters - done.after.parameters == width * (4 * config.dim + 3)
    assert relative_error(done.after.metrics["loss"], done.before.metrics["loss"]) <= FLOAT32.bound
    call = review_calls(folder, reviews)[0]
    expected = reference.forward("sequence-classification", config, tensors, **call).logits
    model = load(tmp_path / "out", backend=name)
    assert model.config.pruned_heads == {1: (2,)}
    ids = call["input_ids"][0].tolist()
    (answer,) = model.for_inference().run([ids])
    assert relative_error(answer.logits, expected[0]) <= FLOAT32.bound
    assert DistilBertTokenizer.from_pretrained(tmp_path / "out")("a film")["input_ids"]


def test_rounds_and_pruned_models_go_on_from_what_is_left(start, reviews, tmp_path):
    once = prune(start, tmp_path / "once", reviews, heads=2, rounds=2, backend="pt")
    prune(start, tmp_path / "first", reviews, heads=1, backend="pt")
    prune(tmp_path / "first", tmp_path / "second", reviews, heads=1, backend="pt")
    config, tensors = numpy_model(tmp_path / "once")
    assert dict(config.pruned_heads) == once.heads
    again, others = numpy_model(tmp_path / "second")
    assert again.pruned_heads == config.pruned_heads
    assert all(same_bits(tensors[key], others[key]) for key in tensors)


def test_restored_heads_add_nothing_and_go_again():
    config = TINY.replace(pruned_heads={0: [1], 1: [0, 3]})
    tensors = random_tensors(config, "encoder", dtype=np.float64)
    whole, restored = surgery.restore_heads(config, "encoder", tensors)
    assert whole.pruned_heads == {}
    ids = np.array([[5, 6, 7]])
    one = reference.forward("encoder", config, tensors, input_ids=ids).last_hidden_state
    other = reference.forward("encoder", whole, restored, input_ids=ids).last_hidden_state
    assert relative_error(other, one) <= FLOAT64.bound
    _, again = surgery.prune_heads(whole, "encoder", restored, config.pruned_heads)
    assert all(same_bits(again[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_float_type_of_the_file_is_kept(dtype, start, reviews, tmp_path):
    config, tensors = numpy_model(start)
    folder = write_start(tmp_path / "half", "sequence-classification", id2label=LABELS)
    half = {name: values.astype(FLOAT_DTYPES[dtype]) for name, values in tensors.items()}
    write_model(folder, config, "sequence-classification", half)
    done = prune(folder, tmp_path / "out", reviews, fraction=0.25, backend="pt")
    found = open_checkpoint(tmp_path / "out")
    assert found.dtype == dtype
    assert done.before.nbytes == 2 * done.before.parameters
    name = "distilbert.transformer.layer.1.ffn.lin1.weight"
    assert same_bits(found.tensors[name].load(), half[name])


def test_the_last_head_of_a_layer_stays():
    scores = HeadImportance(np.array([[1.0, 2, 3], [7, 8, 9]]), 1, {1: (0,)})
    assert choosing.least_important(scores, 3) == {0: (0, 1), 1: (1,)}
    tied = HeadImportance(np.ones((2, 3)), 1, {})
    assert choosing.least_important(tied, 3) == {0: (0, 1), 1: (0,)}
    assert choosing.round_counts(5, 2) == [3, 2]
    assert choosing.round_counts(2, 9) == [1, 1]


@pytest.mark.parametrize(("heads", "fraction", "count"), [(3, None, 3), (6, None, 6), (None, 0.25, 2), (None, 0.3, 2)])
def test_how_many(heads, fraction, count):
    assert choosing.head_count(TINY, heads, fraction) == count


@pytest.mark.parametrize(("heads", "fraction", "found"), [(7, None, "heads 7"), (None, 0.01, "0 "), (None, 0.9, "7 ")])
def test_too_many_or_none(heads, fraction, found):
    with pytest.raises(InputError, match=f"expected 1 to 6 heads to prune, found {found}|heads 7"):
        choosing.head_count(TINY, heads, fraction)


def test_beyond_max_drop_nothing_is_written(start, reviews, tmp_path, monkeypatch):
    found = iter([{"eval_loss": 1.0, "eval_accuracy": 0.90}, {"eval_loss": 1.2, "eval_accuracy": 0.87}] * 2)
    monkeypatch.setattr(pruning, "evaluate", lambda *arguments: next(found))
    options = {"heads": 2, "backend": "pt", "validation_file": str(reviews)}
    with pytest.raises(QualityError, match=r"at most 2 points of accuracy with 2 heads, found 3\.00"):
        prune(start, tmp_path / "out", reviews, max_drop=2, **options)
    assert list(tmp_path.iterdir()) == []
    done = prune(start, tmp_path / "out", reviews, max_drop=3.5, **options)
    assert (done.metric, done.after.metrics["accuracy"]) == ("accuracy", 0.87)


def test_what_cannot_be_pruned(start, reviews, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("text,label\na good film,happy\na bad film,sad\n")
    with pytest.raises(InputError, match="the labels of the model, negative, positive; found happy, sad"):
        prune(start, tmp_path / "out", other, heads=1)
    with pytest.raises(WeightsError, match="lacks the head of DistilBertForTokenClassification"):
        prune(write_start(tmp_path / "bare"), tmp_path / "out", reviews, heads=1, task="ner")
    with pytest.raises(InputError, match="encoder"):
        prune(tmp_path / "bare", tmp_path / "out", reviews, heads=1)
    with pytest.raises(InputError, match="heads, fraction: expected one of them, found both"):
        prune(start, tmp_path / "out", reviews, heads=1, fraction=0.5)
    with pytest.raises(InputError, match="needs its tokenizer"):
        head_importance(load(start, backend="pt"), reviews)
    assert not (tmp_path / "out").exists()


def test_derivatives_that_are_no_numbers(start, reviews, tmp_path):
    config, tensors = numpy_model(start)
    tensors["classifier.bias"][0] = np.nan
    folder = write_start(tmp_path / "broken", "sequence-classification", id2label=LABELS)
    write_model(folder, config, "sequence-classification", {key: x.astype(np.float32) for key, x in tensors.items()})
    with pytest.raises(AnswerError, match="NaN or infinite"):
        prune(folder, tmp_path / "out", reviews, heads=1, backend="pt")
    assert not (tmp_path / "out").exists()
