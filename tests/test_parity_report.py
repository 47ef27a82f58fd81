# SPDX-License-Identifier: Apache-2.0
"""What measures parity: does it see what is wrong, name it, and accept what is right?"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from distilbert import reference, spec
from distilbert.backend import BACKENDS
from distilbert.config import DistilBertConfig
from distilbert.convert import StoredTensor, write_checkpoint
from distilbert.errors import BackendError, InputError
from distilbert.initialization import initial_tensors
from distilbert.parity import Report, compare, relative_error, sample_calls, tolerances, verify
from distilbert.parity.certificate import certificate, write_certificate
from distilbert.parity.measuring import layers_of_gradients, layers_of_output, measure, place, worst
from distilbert.parity.picture import check_plot, write_plot
from distilbert.parity.table import render
from distilbert.parity.weights import compare_weights

SIZES = {"vocab_size": 40, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 20}
CLASSIFIER = "sequence-classification"


def tiny(task=CLASSIFIER, std=0.2, **changes):
    """A tiny config and float32 weights that are nowhere zero."""
    config = DistilBertConfig(**{**SIZES, "initializer_range": std, **changes})
    random = np.random.default_rng(1)
    drawn = initial_tensors(config, spec.tensors(config, task).values(), 0)
    noisy = {name: values + random.normal(0, 0.02, values.shape).astype(np.float32) for name, values in drawn.items()}
    return config, noisy


def write(folder: Path, task=CLASSIFIER, format="safetensors", edit=None, **changes) -> Path:
    config, tensors = tiny(task, **changes)
    if edit:
        edit(tensors)
    folder.mkdir()
    config = config.replace(architectures=(spec.TASKS[task].class_name,))
    stored = {name: StoredTensor.of(name, values) for name, values in tensors.items()}
    write_checkpoint(folder, config, task, stored, format=format)
    return folder


def text_of(report: Report) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(render(report))
    return console.export_text()


# Errors and bounds.


def test_relative_error_is_relative_to_the_largest_expected_value():
    assert relative_error([1.0, -4.0], [1.0, -4.0]) == 0
    assert relative_error([1.5, -4.0], [1.0, -4.0]) == pytest.approx(0.125)
    assert relative_error(np.float32(3), 2.0) == pytest.approx(0.5)
    assert relative_error([0.0], [0.0]) == 0
    assert relative_error([1e-9], [0.0]) > 1


@pytest.mark.parametrize("found", [[np.nan, 1.0], [np.inf, 1.0]])
def test_what_is_not_finite_is_infinitely_wrong(found):
    assert relative_error(found, [1.0, 1.0]) == np.inf
    assert relative_error(found, found) == np.inf


def test_arrays_of_other_shapes_are_refused():
    with pytest.raises(InputError, match=r"expected shape \(2,\), found \(1, 2\)"):
        relative_error([[1.0, 2.0]], [1.0, 2.0])


def test_the_table_is_that_of_the_design():
    bounds = {row.name: row.bound for row in tolerances.TABLE}
    assert len(bounds) == len(tolerances.TABLE)
    assert bounds | {} == {
        "conversion": 0.0,
        "float64": 1e-11,
        "float32": 2e-6,
        "float32 training": 1e-5,
        "bfloat16": 2e-2,
        "float16": 2e-3,
        "rounding": 16,
        "half rounding": 4,
        "transformers": 1e-5,
        "invariance": 2e-6,
    }
    assert all(row.reason and row.compared_with for row in tolerances.TABLE)
    assert [str(row) for row in (tolerances.CONVERSION, tolerances.FLOAT32, tolerances.TRANSFORMERS)] == [
        "bit-equal",
        "2e-06 relative to the largest value",
        "1e-05 absolute",
    ]


def test_float_types_without_a_bound_are_refused():
    with pytest.raises(InputError, match="expected one of float64, float32, bfloat16, float16 .* found 'int8'"):
        tolerances.for_outputs("int8")
    with pytest.raises(InputError, match="to compare gradients; found 'float16'"):
        tolerances.for_gradients("float16")


# Layers.


def test_layers_are_named_and_ordered_as_they_are_computed():
    config, tensors = tiny("question-answering")
    call = sample_calls(config, "question-answering")[0].arguments
    layers = layers_of_output(reference.forward("question-answering", config, tensors, **call))
    layers |= layers_of_gradients(reference.gradients("question-answering", config, tensors, **call))
    assert sorted(layers, key=place) == [
        "embeddings",
        "layer 0 attention",
        "layer 0",
        "layer 1 attention",
        "layer 1",
        "start logits",
        "end logits",
        "loss",
        "gradient head",
        "gradient layer 1",
        "gradient layer 0",
        "gradient embeddings",
    ]
    assert sum(values.size for name, values in layers.items() if "gradient" in name) == sum(
        values.size for values in tensors.values()
    )


def test_a_layer_that_is_missing_or_misshapen_fails():
    expected = {"logits": np.ones(2), "loss": np.ones(())}
    found = measure([{"logits": np.ones(3)}], expected, backend="pt", call="a", bound=lambda layer: 1.0)
    assert [(one.layer, one.error, one.ok) for one in found] == [("logits", np.inf, False), ("loss", np.inf, False)]


def test_of_several_runs_and_calls_the_worst_counts():
    expected = {"logits": np.ones(2)}
    runs = [{"logits": np.ones(2)}, {"logits": np.array([1.0, 1.25])}]
    found = [
        one
        for call, some in (("a", runs[:1]), ("b", runs), ("c", runs[:1]))
        for one in measure(some, expected, backend="pt", call=call, bound=lambda layer: 1.0)
    ]
    assert [(one.call, one.error) for one in worst(found)] == [("b", 0.25)]


# Sample calls.


@pytest.mark.parametrize("task", spec.TASKS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"vocab_size": 1, "max_position_embeddings": 1},
        {"pad_token_id": None, "num_labels": 2, "max_position_embeddings": 3},
        {"num_labels": 1},
        {"num_labels": 3, "problem_type": "regression"},
        {"num_labels": 3, "problem_type": "multi_label_classification"},
    ],
    ids=str,
)
def test_sample_calls_fit_every_model(task, changes):
    if task == "question-answering":
        changes = {name: value for name, value in changes.items() if name != "num_labels"}
    config, tensors = tiny(task, **changes)
    for call in sample_calls(config, task):
        output = reference.forward(task, config, tensors, **call.arguments)
        assert all(np.isfinite(output[name]).all() for name in output if name not in ("hidden_states", "attentions"))
        assert (task == "encoder") == ("loss" not in output)


def test_sample_calls_hold_what_real_batches_hold():
    config, _ = tiny()
    first, second = sample_calls(config, CLASSIFIER), sample_calls(config, CLASSIFIER)
    assert all(
        np.array_equal(one.arguments[name], other.arguments[name])
        for one, other in zip(first, second, strict=True)
        for name in one.arguments
    )
    after, before, single, places, padding = first
    assert list(after.arguments["attention_mask"].sum(1)) == [12, 6, 11, 1, 9, 3, 12]
    assert (after.arguments["input_ids"][0] == after.arguments["input_ids"][6]).all()
    assert after.arguments["labels"][0] != after.arguments["labels"][6]
    assert list(before.arguments["attention_mask"][3]) == [0] * 11 + [1]
    assert list(before.arguments["position_ids"][1, -6:]) == [0, 1, 2, 3, 4, 5]
    assert single.arguments["input_ids"].shape == (3, 1)
    assert set(places.arguments["position_ids"]) == set(range(20))
    assert padding.finite_only
    assert padding.arguments["attention_mask"].sum(1).min() == 0
    other = sample_calls(config, CLASSIFIER, seed=1)[0].arguments["input_ids"]
    assert not np.array_equal(after.arguments["input_ids"], other)


# Comparing frameworks.


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_right_model_is_within_bounds(backend):
    for package in BACKENDS[backend].packages:
        pytest.importorskip(package)
    config, tensors = tiny("masked-lm")
    calls = sample_calls(config, "masked-lm")[:2]  # of one shape: JAX compiles every operation for every shape
    found = compare("masked-lm", config, tensors, backend, "float64", *calls, gradients=True)
    assert len(found) == 11
    assert [one.layer for one in found if not one.within_bound] == []


@pytest.mark.parametrize("eps", [1e-6, 1e-5, 1e-3])
def test_another_layer_norm_epsilon_is_seen_at_once(monkeypatch, eps):
    pytest.importorskip("torch")
    importlib.import_module("distilbert.pt")  # before the reference is changed: the models take its epsilon
    monkeypatch.setattr(reference, "LAYER_NORM_EPS", eps)
    config, tensors = tiny(std=0.02)
    for dtype in ("float64", "float32"):
        found = compare(CLASSIFIER, config, tensors, "pt", dtype, *sample_calls(config, CLASSIFIER))
        assert next(one.layer for one in found if not one.ok) == "embeddings"


def test_another_activation_is_seen_after_the_first_attention(monkeypatch):
    pytest.importorskip("torch")
    from distilbert.pt.activations import ACTIVATIONS

    monkeypatch.setitem(ACTIVATIONS, "gelu", ACTIVATIONS["gelu_new"])
    config, tensors = tiny()
    found = compare(CLASSIFIER, config, tensors, "pt", "float32", *sample_calls(config, CLASSIFIER))
    assert [one.layer for one in found if not one.ok] == [
        "layer 0",
        "layer 1 attention",
        "layer 1",
        "logits",
        "loss",
    ]


def test_a_wrong_gradient_is_seen_where_outputs_are_right(monkeypatch):
    torch = pytest.importorskip("torch")
    from distilbert.pt.activations import ACTIVATIONS

    gelu = ACTIVATIONS["gelu"]
    monkeypatch.setitem(ACTIVATIONS, "gelu", lambda x: gelu(x.detach()) + (x - x.detach()) * torch.sigmoid(x.detach()))
    config, tensors = tiny()
    calls = sample_calls(config, CLASSIFIER)
    found = compare(CLASSIFIER, config, tensors, "pt", "float64", *calls, gradients=True)
    assert [one.layer for one in found if not one.ok] == [
        "gradient layer 1",
        "gradient layer 0",
        "gradient embeddings",
    ]


def test_rounding_explains_a_sensitive_model_and_no_wrong_one(monkeypatch):
    pytest.importorskip("torch")
    config, tensors = tiny(std=2.0)
    calls = sample_calls(config, CLASSIFIER)
    found = compare(CLASSIFIER, config, tensors, "pt", "float32", *calls)
    beyond = [one for one in found if not one.within_bound]
    assert beyond
    assert all(one.ok and 0 < one.error <= one.rounding for one in beyond)
    from distilbert.pt.activations import ACTIVATIONS

    monkeypatch.setitem(ACTIVATIONS, "gelu", ACTIVATIONS["quick_gelu"])
    wrong = compare(CLASSIFIER, config, tensors, "pt", "float32", *calls)
    assert "layer 0" in [one.layer for one in wrong if not one.ok]


def test_there_is_nothing_to_compare_without_a_loss_or_a_bound():
    config, tensors = tiny("encoder")
    with pytest.raises(InputError, match="the bare encoder has no loss"):
        compare("encoder", config, tensors, "pt", "float64", gradients=True)
    with pytest.raises(InputError, match="to compare gradients; found 'bfloat16'"):
        compare(CLASSIFIER, *tiny(), "pt", "bfloat16", gradients=True)


def test_float64_in_jax_is_switched_on_for_the_comparison_only():
    jax = pytest.importorskip("jax")
    pytest.importorskip("flax")
    config, tensors = tiny("encoder")
    before = jax.config.jax_enable_x64
    found = compare("encoder", config, tensors, "flax", "float64", sample_calls(config, "encoder")[2])
    assert max(one.error for one in found) < 1e-13
    assert jax.config.jax_enable_x64 == before


# Weights.


def test_weights_are_compared_by_every_bit():
    ones = {"a": np.ones((2, 2), np.float32), "b": np.array([0.0], np.float32)}
    assert compare_weights("pt", ones, ones).ok
    assert compare_weights("pt", {**ones, "a": np.asfortranarray(ones["a"])}, ones).ok
    found = compare_weights("pt", {"a": ones["a"] + np.float32(0.5), "b": -ones["b"]}, ones)
    assert [(one.name, one.problem, one.largest) for one in found.differences] == [
        ("a", "values", 0.5),
        ("b", "values", 0),
    ]
    assert not found.misshapen
    found = compare_weights("pt", {"a": ones["a"][0], "c": ones["b"]}, ones)
    assert [(one.name, one.problem) for one in found.differences] == [
        ("a", "shape (2,), expected (2, 2)"),
        ("b", "missing"),
        ("c", "not expected"),
    ]
    assert found.misshapen
    found = compare_weights("pt", {**ones, "a": ones["a"].astype(np.float16)}, ones)
    assert [one.problem for one in found.differences] == ["float16, expected float32"]


# Whole checkpoints.


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")

    def add(tensors):
        tensors["distilbert.transformer.layer.1.ffn.lin1.weight"][0, 0] += np.float32(1e-3)

    def spoil(tensors):
        tensors["classifier.bias"][0] = np.nan

    return {
        "plain": write(root / "plain"),
        "flax": write(root / "flax", format="flax"),
        "changed": write(root / "changed", edit=add),
        "nan": write(root / "nan", edit=spoil),
        "wider": write(root / "wider", num_labels=3),
        "tanh": write(root / "tanh", activation="gelu_new"),
        "words": write(root / "words", task="masked-lm"),
    }


@pytest.fixture(scope="module")
def report(folders) -> Report:
    pytest.importorskip("torch")
    return verify(folders["plain"], against=folders["changed"], backends=["pt"])


def test_a_checkpoint_in_another_format_is_the_same(folders):
    found = verify(folders["plain"], against=folders["flax"], backends=[])
    assert found.ok
    assert found.columns == ["other"]
    assert [(one.subject, one.ok, one.tensors) for one in found.weights] == [("other", True, 40)]
    assert found.source.parameters == sum(values.size for values in tiny()[1].values())


def test_a_changed_weight_is_named_and_followed(report):
    assert not report.ok
    assert report.first_divergence("pt") is None
    first = report.first_divergence("other")
    assert first is not None
    assert first.layer == "layer 1"
    assert report.problems() == [
        "other checkpoint: 1 of 40 tensors differ from the checkpoint",
        f"other checkpoint: diverges first at layer 1 (error {first.text}, bound 2e-06, call: {first.call})",
    ]
    ours, other = report.weights
    assert ours.ok
    assert [one.name for one in other.differences] == ["distilbert.transformer.layer.1.ffn.lin1.weight"]
    assert other.differences[0].largest == pytest.approx(1e-3, rel=1e-3)


def test_a_config_that_computes_something_else_fails_with_equal_weights(folders):
    found = verify(folders["plain"], against=folders["tanh"], backends=[])
    assert [one.ok for one in found.weights] == [True]
    assert found.first_divergence("other").layer == "layer 0"


def test_checkpoints_of_other_shapes_are_not_run(folders):
    found = verify(folders["plain"], against=folders["wider"], backends=[])
    assert found.measurements == ()
    assert found.problems() == [
        "other checkpoint: 2 of 40 tensors differ from the checkpoint, and outputs were not compared"
    ]


def test_checkpoints_of_other_classes_are_refused(folders):
    with pytest.raises(InputError, match="expected DistilBertForSequenceClassification .* found DistilBertForMaskedLM"):
        verify(folders["plain"], against=folders["words"], backends=[])


def test_not_finite_weights_are_a_warning_and_only_bits_are_compared(folders):
    pytest.importorskip("torch")
    found = verify(folders["nan"], against=folders["nan"], backends=["pt"])
    assert found.ok
    assert found.not_finite == ("classifier.bias",)
    assert found.measurements == ()
    assert [one.ok for one in found.weights] == [True, True]
    assert "NaN or infinity in classifier.bias: outputs cannot be compared" in text_of(found)


def test_a_cast_nan_may_be_any_nan(folders):
    pytest.importorskip("torch")
    assert verify(folders["nan"], backends=["pt"], dtype="bfloat16").ok


def test_a_task_can_be_asked_for(folders):
    found = verify(folders["plain"], against=folders["plain"], backends=[], task="feature-extraction")
    assert found.source.class_name == "DistilBertModel"
    with pytest.raises(InputError, match="task: expected one of"):
        verify(folders["plain"], task="translation")


def test_backends_must_exist(folders, monkeypatch):
    with pytest.raises(BackendError, match="expected pt, tf, flax; found 'mx'"):
        verify(folders["plain"], backends=["pt", "mx"])
    monkeypatch.setattr("distilbert.parity.certify.installed", list)
    with pytest.raises(BackendError, match="no framework is installed"):
        verify(folders["plain"])


# How it is shown.


def test_json_has_everything_and_no_infinity(report, folders):
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert list(values) == [
        "ok",
        "source",
        "other",
        "dtype",
        "reference",
        "seed",
        "not_finite",
        "weights",
        "first_divergence",
        "measurements",
    ]
    weights = folders["plain"] / "model.safetensors"
    assert values["source"]["files"]["model.safetensors"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert list(values["source"]["files"]) == ["config.json", "model.safetensors"]
    assert values["first_divergence"] == {"pt": None, "other": "layer 1"}
    assert [one["ok"] for one in values["measurements"] if one["layer"] == "logits"] == [True, False]


def test_an_infinite_error_is_null_in_json(report):
    import dataclasses

    broken = dataclasses.replace(report.measurements[0], error=np.inf)
    broken_report = dataclasses.replace(report, measurements=(broken,))
    assert broken_report.to_dict()["measurements"][0]["error"] is None
    assert "FAIL not finite" in text_of(broken_report)


def test_the_certificate_is_the_same_every_time(report, folders, tmp_path):
    write_certificate(report, tmp_path / "one.json")
    again = verify(folders["plain"], against=folders["changed"], backends=["pt"])
    write_certificate(again, tmp_path / "two.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    values = certificate(report)
    assert values["verdict"] == "different"
    assert values["environment"]["torch"] == importlib.import_module("torch").__version__
    assert [row["name"] for row in values["bounds"]] == ["conversion", "float32"]
    assert values["config"]["n_layers"] == 2


def test_the_table_shows_where_it_goes_wrong(report):
    text = text_of(report)
    row = next(line for line in text.splitlines() if line.split()[:2] == ["layer", "1"] and "attention" not in line)
    assert "first ▸ FAIL" in row
    assert text.count("first ▸") == 1
    assert "1 of 40 tensors differ" in text
    assert "diverges first at layer 1" in text


def test_the_table_says_what_rounding_explains(tmp_path):
    pytest.importorskip("torch")
    found = verify(write(tmp_path / "sensitive", std=2.0), backends=["pt"])
    assert found.ok
    assert found.rounded
    text = text_of(found)
    assert "~ " in text
    assert "this model itself is sensitive to it" in text
    assert [row["name"] for row in certificate(found)["bounds"]] == ["conversion", "float32", "rounding"]


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_picture_is_written_whole(report, tmp_path, ending, start):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"errors.{ending}"
    write_plot(report, path)
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]


def test_a_picture_that_cannot_be_drawn_is_refused_before_the_work(monkeypatch, tmp_path):
    with pytest.raises(InputError, match=r"expected a picture file ending in .png, .svg, .pdf, found '.jpg'"):
        check_plot(tmp_path / "errors.jpg")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r'pip install "distilbert\[viz\]"'):
        check_plot(tmp_path / "errors.png")
