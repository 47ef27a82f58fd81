# SPDX-License-Identifier: Apache-2.0
"""What all pipelines share: how they are made and called, how they stream, and what is said of wrong arguments."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distilbert
from distilbert import DistilBertTokenizer, spec
from distilbert.errors import BackendError, FileError, HubError, InputError, TokenizerError
from distilbert.pipelines import Pipeline, scores
from distilbert.pipelines.registry import ALIASES, PIPELINES, find, for_checkpoint

from .pipeline_samples import write_checkpoint
from .test_lazy_imports import EVERY, modules_after


@pytest.fixture(scope="module")
def folder(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("common"), data_folder, "sequence-classification")


@pytest.fixture(scope="module")
def pipe() -> Pipeline:
    """The package's own sentiment model."""
    return distilbert.pipeline(backend="pt")


# Made.


def test_no_framework_is_imported() -> None:
    names = ", ".join(f"distilbert.pipelines.{module}" for module, _ in PIPELINES.values())
    assert not modules_after(f"import distilbert; distilbert.pipeline; import {names}") & EVERY


def test_the_package_has_a_model_of_its_own(pipe: Pipeline) -> None:
    assert (pipe.task, pipe.fast.dtype, pipe.fast.backend) == ("text-classification", "float32", "pt")
    assert [found["label"] for found in pipe(["a warm, funny film.", "a dull mess."])] == ["positive", "negative"]
    named = distilbert.pipeline("sentiment-analysis", backend="pt", dtype="bfloat16")
    assert named.fast.dtype == "bfloat16"
    with pytest.raises(InputError, match="fill-mask: name a model"):
        distilbert.pipeline("fill-mask", backend="pt")


@pytest.mark.parametrize("task", ["masked-lm", "sequence-classification", "multiple-choice"])
def test_checkpoints_say_what_they_are_for(data_folder: Path, tmp_path: Path, task: str) -> None:
    folder = write_checkpoint(tmp_path, data_folder, task)
    made = distilbert.pipeline(model=folder, backend="pt")
    assert made.model_task == task
    assert type(distilbert.pipeline(model=str(folder / "model.safetensors"), backend="pt")) is type(made)
    assert made.tokenizer.name_or_path == str(folder)


def test_registry(tmp_path: Path) -> None:
    for task in PIPELINES:
        assert find(task).task == task
    for name, task in ALIASES.items():
        assert find(name) is find(task)
    for task in spec.TASKS:
        assert for_checkpoint(task, tmp_path).model_task == task
    assert for_checkpoint("encoder", tmp_path) is find("feature-extraction")
    (tmp_path / "modules.json").write_text("[]")
    assert for_checkpoint("encoder", tmp_path) is find("sentence-embedding")
    with pytest.raises(InputError, match="task: expected one of fill-mask, .*-similarity; found 'summarization'"):
        find("summarization")


def test_loaded_models(folder: Path, pipe: Pipeline) -> None:
    model, tokenizer = distilbert.load(folder, backend="pt"), DistilBertTokenizer.from_pretrained(folder)
    expected = distilbert.pipeline(model=folder, backend="pt")("good")
    for made in (
        distilbert.pipeline(model=model, tokenizer=tokenizer),
        distilbert.pipeline("text-classification", model, tokenizer=folder, backend="pt"),
    ):
        assert made("good") == expected
    with pytest.raises(InputError) as caught:
        distilbert.pipeline(model=model, backend="tf", revision="main", subfolder="x")
    for part in ("4 problems", "revision: a loaded", "backend: expected pt", "tokenizer: name one"):
        assert part in str(caught.value)
    with pytest.raises(InputError, match="fill-mask: expected a DistilBertForMaskedLM, found a DistilBertForSequence"):
        distilbert.pipeline("fill-mask", model, tokenizer=tokenizer)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"task": "translation"}, InputError, "task: expected one of"),
        ({"model": 5}, InputError, "model: expected a folder, a name on the hub or .* found builtins.int"),
        ({"tokenizer": 5}, InputError, "tokenizer: expected a folder, .* found builtins.int"),
        ({"model": Path("/nowhere")}, FileError, "/nowhere"),
        ({"model": "no--name"}, HubError, "no--name"),
        ({"backend": "mxnet"}, BackendError, "mxnet"),
        ({"dtype": "float12"}, InputError, "float12"),
        ({"device": 0, "top_k": -1}, InputError, "device: unknown; expected .*\n.*top_k: expected"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        distilbert.pipeline(**{"backend": "pt", **arguments})


def test_tokenizer_of_another_model(data_folder: Path, folder: Path) -> None:
    other = DistilBertTokenizer(data_folder / "vocab" / "bert-base-multilingual-cased" / "vocab.txt")
    with pytest.raises(TokenizerError, match="119,547 tokens .* model has vocab_size 30,522"):
        distilbert.pipeline(model=folder, tokenizer=other, backend="pt")


# Called.


def test_wrong_calls(pipe: Pipeline) -> None:
    with pytest.raises(InputError, match="text-classification: missing a required argument: 'inputs'"):
        pipe()
    with pytest.raises(InputError, match="too many positional arguments"):
        pipe("a", "b")
    with pytest.raises(InputError, match="text, topk: unknown; expected batch_size, .*, top_k"):
        pipe(text="a", topk=1)
    assert pipe(inputs="good") == pipe("good")


def test_options_of_a_call_do_not_stay(pipe: Pipeline) -> None:
    before = pipe("good")
    assert len(pipe("good", top_k=2)) == 2
    assert pipe("good") == before


def test_any_collection_is_a_list(pipe: Pipeline) -> None:
    texts = ["good", "bad"]
    expected = pipe(texts)
    for same in (tuple(texts), iter(texts), np.array(texts), dict.fromkeys(texts).keys()):
        assert pipe(same) == expected


def test_results_are_plain_and_those_of_each_alone(pipe: Pipeline) -> None:
    texts = [f"{'very ' * (number % 30)}good number {number}" for number in range(700)]
    found = pipe(texts)
    assert json.loads(json.dumps(found)) == found
    for number in range(0, 700, 97):
        (alone,) = pipe(texts[number])
        assert alone["label"] == found[number]["label"]
        assert alone["score"] == pytest.approx(found[number]["score"], abs=1e-6)


# Streamed.


def test_stream_reads_ahead_in_bounds(pipe: Pipeline) -> None:
    read = itertools.count()
    endless = (f"film number {next(read)}" for _ in itertools.repeat(None))
    stream = pipe.stream(endless)
    assert len(list(itertools.islice(stream, 10))) == 10
    assert next(read) < 30_000


def test_stream_checks_options_at_once(pipe: Pipeline) -> None:
    with pytest.raises(InputError, match="top_k: expected"):
        pipe.stream([], top_k="x")


@pytest.mark.parametrize("keep_errors", [True, False])
def test_bad_items_are_found_among_many(pipe: Pipeline, keep_errors: bool) -> None:
    items: list[Any] = ["good"] * 600
    for place in (0, 255, 256, 300, 301, 599):
        items[place] = None
    if keep_errors:
        found = list(pipe.stream(items, keep_errors=True))
        assert [place for place, result in enumerate(found) if isinstance(result, InputError)] == [
            0, 255, 256, 300, 301, 599,
        ]  # fmt: skip
    else:
        with pytest.raises(InputError, match="^input 300: text: expected str, found NoneType$"):
            list(pipe.stream(items[2:255] + ["good"] * 47 + [None]))


def test_what_the_tokenizer_refuses_has_the_number_of_its_item_alone(pipe: Pipeline) -> None:
    with pytest.raises(InputError, match="^input 40: text: holds half of a surrogate pair, which is no character$"):
        list(pipe.stream([*["good"] * 40, "\ud800", *["good"] * 40]))
    found = list(pipe.stream([*["good"] * 40, "\ud800"], keep_errors=True))
    assert str(found[40]) == "text: holds half of a surrogate pair, which is no character"


def test_bad_items_cost_few_calls_of_the_tokenizer(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    encode = pipe.encode
    monkeypatch.setattr(pipe, "encode", lambda items, options: calls.append(len(items)) or encode(items, options))
    list(pipe.stream([*["good"] * 200, None, *["good"] * 55], keep_errors=True))
    assert len(calls) == 17  # all, then two halves of what had the bad one, eight times


def test_long_texts_are_tokenised_a_few_at_a_time(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    encode = pipe.encode
    monkeypatch.setattr(pipe, "encode", lambda items, options: sizes.append(len(items)) or encode(items, options))
    long = "x" * (2**17 + 1)
    assert len(list(pipe.stream(["good", {"text": long, "text_pair": long}, long, long, "good"], truncation=True))) == 5
    assert sizes == [2, 2, 1]


def test_windows_are_those_of_the_model(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pipeline hands over at a time must not leave a remainder that the model works on alone."""
    monkeypatch.setattr("distilbert.inference.streaming.WINDOW_PACKS", 1)
    sizes = []
    answers = type(pipe.fast)._answers

    def counted(self: Any, window: list[Any]) -> Any:
        sizes.append(len(window))
        return answers(self, window)

    monkeypatch.setattr(type(pipe.fast), "_answers", counted)
    assert len(pipe(["one two three"] * 1000)) == 1000
    assert len(sizes) > 2
    assert len(set(sizes[:-1])) == 1


# Scores.


def test_scores() -> None:
    logits = np.array([1000.0, -1000.0, 1000.0], np.float32)
    assert scores.softmax(logits).tolist() == [0.5, 0.0, 0.5]
    assert scores.sigmoid(np.array([0, 800, -800, 1], np.float32)) == pytest.approx([0.5, 1, 0, 0.7310585786300049])
    assert scores.softmax(logits).dtype == scores.sigmoid(logits).dtype == scores.unchanged(logits).dtype == np.float64


@pytest.mark.parametrize("count", [1, 3, 12, 13, 99, 100, 101, None])
def test_largest_prefers_the_first_of_equal_ones(count: int | None) -> None:
    values = np.random.default_rng(0).integers(0, 9, 100).astype(float)
    expected = sorted(range(100), key=lambda place: (-values[place], place))
    assert scores.largest(values, count) == expected[:count]
