# SPDX-License-Identifier: Apache-2.0
"""Filling masks: as transformers' pipeline on the same checkpoint, and the same in the three frameworks."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import distilbert
from distilbert.errors import InputError
from distilbert.pipelines import Pipeline

from .pipeline_samples import AWKWARD, assert_same, sentences, theirs, write_checkpoint
from .test_parity import backends

TASK = "fill-mask"
INPUTS: dict[str, Any] = {
    "one": "Paris is the [MASK] of France.",
    "several": "[MASK] is the capital of [MASK] , isn't it [MASK]",
    "list": ["a [MASK] film", "two [MASK] of [MASK]", "[MASK]"],
    "list-of-one": ["Paris is the [MASK] of France."],
    "list-of-one-with-several": ["[MASK] of [MASK]"],
    "specials-inside": "[CLS] a [SEP] [MASK] [PAD] b [UNK]",
    "specials-and-several": "[PAD] a [SEP] [MASK] [PAD] [MASK]",
    "empty-list": [],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "one": {"top_k": 1},
    "ten": {"top_k": 10},
    "hundred": {"top_k": 100},
    "targets": {"targets": ["capital", "city", "##ing", "city", ".", "[MASK]", "[PAD]"]},
    "target": {"targets": "capital"},
    "targets-and-top-k": {"targets": ["capital", "city", "town"], "top_k": 2},
    "tokenizer": {"tokenizer_kwargs": {"truncation": True, "max_length": 20}, "batch_size": 4},
}


@pytest.fixture(scope="module")
def folder(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("fill-mask"), data_folder, "masked-lm")


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return distilbert.pipeline(TASK, folder, backend="pt")


@pytest.fixture(scope="module")
def other(folder: Path) -> Any:
    pytest.importorskip("transformers")
    return theirs(TASK, folder)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS.keys())
def test_as_transformers(pipe: Pipeline, other: Any, inputs: Any, options: dict[str, Any]) -> None:
    assert_same(pipe(inputs, **options), other(inputs, **options))


def masked(data_folder: Path, count: int) -> list[str]:
    """Sentences with every fifth word masked."""
    rows = [line.split() for line in sentences(data_folder, count)]
    return [" ".join("[MASK]" if place % 5 == 2 else word for place, word in enumerate([*row, "."])) for row in rows]


def test_real_text_as_transformers(pipe: Pipeline, other: Any, data_folder: Path) -> None:
    texts = [text for text in masked(data_folder, 150) if "[MASK]" in text]
    assert_same(pipe(texts, truncation=True), other(texts, tokenizer_kwargs={"truncation": True}))


@pytest.mark.parametrize(
    "targets", ["Istanbulite", ["unbelievableness", "capital", " two words "], ["Capital", "\u200b", "city"]]
)
def test_targets_that_are_no_tokens_as_in_transformers(pipe: Pipeline, other: Any, targets: Any) -> None:
    text = "a [MASK] film"
    with pytest.warns(UserWarning, match="is no token; .* stands for it|has no tokens and is left out"):
        found = pipe(text, targets=targets)
    assert_same(found, other(text, targets=targets))


def test_targets_are_looked_up_once(data_folder: Path, folder: Path) -> None:
    with pytest.warns(UserWarning, match="targets: 'Istanbulite' is no token; 'istanbul' stands for it") as caught:
        pipe = distilbert.pipeline(TASK, folder, backend="pt", targets="Istanbulite")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [word["token_str"] for word in pipe("a [MASK]")] == ["istanbul"]
        assert [word["token_str"] for word in pipe("a [MASK]", targets="film")] == ["film"]
        assert len(pipe("a [MASK]", targets=None)) == 5


@backends
def test_same_in_every_backend(folder: Path, pipe: Pipeline, data_folder: Path, name: str) -> None:
    texts = [text for text in masked(data_folder, 12) if "[MASK]" in text]
    assert_same(distilbert.pipeline(TASK, folder, backend=name)(texts), pipe(texts))


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ("no mask", {}, r"input 0: text: has no \[MASK\] in its 4 tokens"),
        (["[MASK]", "none"], {}, r"input 1: text: has no \[MASK\]"),
        ("word " * 30 + "[MASK]", {"max_length": 10}, r"has no \[MASK\] in its 10 tokens"),
        ("[MASK] " * 100, {}, "has 102 tokens, the model takes 64; use truncation=True"),
        ({"text": "[MASK]"}, {}, "expected a text, or a list of these; found dict"),
        (["[MASK]", None], {}, "input 1: text: expected str, found NoneType"),
        ("[MASK]", {"top_k": 0}, "top_k: expected a number of at least 1, found 0"),
        ("[MASK]", {"targets": 5}, "targets: expected a word or a list of words, found 5"),
        ("[MASK]", {"targets": [5]}, "targets: expected a word or a list of words"),
        ("[MASK]", {"targets": []}, "targets: expected at least one word"),
        ("[MASK]", {"tokenizer_kwargs": 5}, "tokenizer_kwargs: expected a dict, found int"),
        ("[MASK]", {"tokenizer_kwargs": {"stride": 5}, "k": 1}, "stride, k: unknown; expected"),
    ],
)
def test_wrong_calls(pipe: Pipeline, inputs: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pipe(inputs, **options)


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD.keys())
def test_awkward_texts(pipe: Pipeline, other: Any, text: str) -> None:
    assert_same(pipe(f"{text} [MASK]"), other(f"{text} [MASK]"))
    with pytest.raises(InputError, match=r"has no \[MASK\]"):
        pipe(text)


def test_no_more_words_than_there_are(pipe: Pipeline) -> None:
    assert len({word["token"] for word in pipe("a [MASK]", top_k=10**9)}) == 30522


def test_stream_keeps_errors_in_their_places(pipe: Pipeline) -> None:
    found = list(pipe.stream(iter(["a [MASK]", "none", "[MASK] b [MASK]"]), keep_errors=True, top_k=1))
    assert [type(result) for result in found] == [list, InputError, list]
    assert [found[0], found[2]] == pipe(["a [MASK]", "[MASK] b [MASK]"], top_k=1)
