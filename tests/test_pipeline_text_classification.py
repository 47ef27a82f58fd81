# SPDX-License-Identifier: Apache-2.0
"""Text classification: as transformers' pipeline on the same checkpoint, and the same in the three frameworks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import distilbert
from distilbert.errors import InputError
from distilbert.pipelines import Pipeline

from .pipeline_samples import AWKWARD, assert_same, sentences, theirs, write_checkpoint
from .test_parity import backends

TASK = "text-classification"
MODELS: dict[str, dict[str, Any]] = {
    "named": {"id2label": {0: "bad", 1: "so-so", 2: "good"}},
    "two": {"num_labels": 2, "problem_type": "single_label_classification"},
    "several": {"num_labels": 4, "problem_type": "multi_label_classification"},
    "regression": {"num_labels": 1, "problem_type": "regression"},
    "one": {"num_labels": 1},
}
PAIR = {"text": "a warm film .", "text_pair": "it is cold"}
INPUTS: dict[str, Any] = {
    "text": "a warm , funny film .",
    "list": ["a warm film .", "two hours of boredom", ""],
    "list-of-one": ["a warm film ."],
    "pair": PAIR,
    "pairs": [PAIR, {"text": "no second one"}, {"text": "an empty one", "text_pair": ""}],
    "empty-list": [],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "all": {"top_k": None},
    "one": {"top_k": 1},
    "two": {"top_k": 2},
    "more-than-there-are": {"top_k": 99},
    "softmax": {"function_to_apply": "softmax", "top_k": None},
    "sigmoid": {"function_to_apply": "sigmoid"},
    "no-function": {"function_to_apply": "NONE", "top_k": 2},
    "tokenizer": {"padding": True, "truncation": True, "max_length": 5, "batch_size": 2},
}


@pytest.fixture(scope="module")
def folders(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("classification")
    return {
        name: write_checkpoint(top / name, data_folder, "sequence-classification", **MODELS[name]) for name in MODELS
    }


@pytest.fixture(scope="module")
def pipe(folders: dict[str, Path]) -> Pipeline:
    return distilbert.pipeline(TASK, folders["named"], backend="pt")


@pytest.mark.parametrize("model", MODELS)
def test_as_transformers(folders: dict[str, Path], model: str) -> None:
    pytest.importorskip("transformers")
    mine, other = distilbert.pipeline(TASK, folders[model], backend="pt"), theirs(TASK, folders[model])
    for inputs in INPUTS.values():
        for options in OPTIONS.values():
            assert_same(mine(inputs, **options), other(inputs, **options))


def test_defaults_of_the_pipeline_as_in_transformers(folders: dict[str, Path]) -> None:
    transformers = pytest.importorskip("transformers")
    mine = distilbert.pipeline(TASK, folders["named"], backend="pt", top_k=2, function_to_apply="sigmoid")
    other = transformers.pipeline(TASK, str(folders["named"]), device="cpu", top_k=2, function_to_apply="sigmoid")
    for inputs in INPUTS.values():
        assert_same(mine(inputs), other(inputs))
        assert_same(mine(inputs, top_k=1), other(inputs, top_k=1))


def test_old_argument_as_in_transformers(folders: dict[str, Path], pipe: Pipeline) -> None:
    pytest.importorskip("transformers")
    other = theirs(TASK, folders["named"])
    for value in (True, False):
        for inputs in ("a warm film .", ["cold", "warm"]):
            with pytest.warns(UserWarning, match="use top_k=None"):
                found = pipe(inputs, return_all_scores=value)
            assert_same(found, other(inputs, return_all_scores=value))


def test_real_text_as_transformers(folders: dict[str, Path], pipe: Pipeline, data_folder: Path) -> None:
    pytest.importorskip("transformers")
    texts = sentences(data_folder, 200)
    found = pipe(texts, truncation=True, top_k=None)
    assert_same(found, theirs(TASK, folders["named"])(texts, truncation=True, top_k=None))
    assert len({labels[0]["label"] for labels in found}) > 1


@backends
def test_same_in_every_backend(folders: dict[str, Path], pipe: Pipeline, data_folder: Path, name: str) -> None:
    texts = [*sentences(data_folder, 20), PAIR]
    mine = distilbert.pipeline(TASK, folders["named"], backend=name)
    assert_same(mine(texts, top_k=None), pipe(texts, top_k=None))


def test_stream_keeps_errors_in_their_places(pipe: Pipeline) -> None:
    items = ["good", 5, "x " * 100, "\ud800", "bad"]
    found = list(pipe.stream(iter(items), keep_errors=True))
    assert [isinstance(result, dict) for result in found] == [True, False, False, False, True]
    assert [found[0], found[4]] == pipe(["good", "bad"])
    assert "expected str, found int" in str(found[1])
    assert "has 102 tokens, the model takes 64; use truncation=True" in str(found[2])
    assert "surrogate" in str(found[3])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (5, "expected a text or .*or a list of these; found int"),
        (None, "found NoneType"),
        (["good", b"bad"], "input 1: text: expected str, found bytes"),
        ([["a", "b"]], "input 0: text: expected str, found list; a pair is {'text'"),
        ({"txt": "a"}, "input 0: inputs: expected the keys text and perhaps text_pair; found txt"),
        ({"text": "a", "text_pair": 1}, "text_pair: expected str, found int"),
        ({}, "found none"),
    ],
)
def test_wrong_inputs(pipe: Pipeline, inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pipe(inputs)


def test_wrong_options_are_listed(pipe: Pipeline) -> None:
    with pytest.raises(InputError) as caught:
        pipe("good", top_k=0, function_to_apply="relu", truncation="left", max_length=True, topk=1, pad=2)
    for part in ("5 problems", "topk, pad: unknown", "top_k: expected", "function_to_apply: expected softmax, sigmoid"):
        assert part in str(caught.value)
    assert "max_length: expected a number of at least 1, found True" in str(caught.value)
    assert "truncation: expected True, False or one of longest_first" in str(caught.value)


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD.keys())
def test_awkward_texts(pipe: Pipeline, text: str) -> None:
    (alone,) = pipe(text)
    assert math.isfinite(alone["score"])
    assert pipe([{"text": text, "text_pair": text}, text], truncation=True)[1] == alone


def test_long_texts_are_cut_when_asked(pipe: Pipeline) -> None:
    text = "good " * 200
    assert pipe(text, truncation=True) == pipe("good " * 62)
    assert pipe(text, max_length=10) == pipe("good " * 8)
    assert pipe(text, truncation=True, max_length=500) == pipe("good " * 62)
    with pytest.raises(InputError, match="has 202 tokens, the model takes 64"):
        pipe(text, truncation=False, max_length=10)
