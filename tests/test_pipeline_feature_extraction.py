# SPDX-License-Identifier: Apache-2.0
"""Feature extraction: equal to transformers' pipeline, equal in all frameworks, and clear about what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import DistilBertTokenizer, pipeline
from distilbert.errors import InputError
from distilbert.pipelines.feature_extraction import FeatureExtraction

from .oracle import BOUND, quiet, transformers
from .samples import TINY, write_model

TEXTS = ["The cat sat on the mat.", "[MASK] in a text", "na\u00efve \u65e5\u672c e\u0301\u0301 \U0001f600", "a"]
AWKWARD = ["", "\x00", "\u05e9\u05dc\u05d5\u05dd \u202e", "\u0301\u0301", "x" * 100_000, "[CLS] [SEP] [PAD]", "\n\t "]
MODULES = {"pt": "torch", "tf": "tensorflow", "flax": "flax"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Path:
    """A small encoder with a real vocabulary."""
    target: Path = tmp_path_factory.mktemp("encoder")
    tokenizer = DistilBertTokenizer(data_folder / "vocab" / "bert-base-uncased" / "vocab.txt", model_max_length=48)
    write_model(target, TINY.replace(vocab_size=len(tokenizer)), "encoder")
    tokenizer.save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def pipe(folder: Path) -> FeatureExtraction:
    pytest.importorskip("torch")
    made = pipeline("feature-extraction", folder, backend="pt")
    assert isinstance(made, FeatureExtraction)
    return made


@pytest.fixture(scope="module")
def oracle(folder: Path) -> Any:
    pytest.importorskip("transformers")
    pytest.importorskip("torch")
    with quiet():
        return transformers().pipeline("feature-extraction", model=str(folder), framework="pt", device="cpu")


def distance(found: Any, expected: Any) -> float:
    """The largest difference between two nested lists of one shape."""
    left, right = np.asarray(found), np.asarray(expected)
    assert left.shape == right.shape
    return float(np.abs(left - right).max())


@pytest.mark.parametrize("backend", MODULES)
def test_equals_transformers(folder: Path, oracle: Any, backend: str) -> None:
    pytest.importorskip(MODULES[backend])
    ours = pipeline("feature-extraction", folder, backend=backend)
    found = ours(TEXTS)
    assert isinstance(found, list)
    assert type(found[0][0][0][0]) is float
    for text, features in zip(TEXTS, found, strict=True):
        with quiet():
            assert distance(features, oracle(text)) < BOUND
    assert distance(ours(TEXTS[0]), found[0]) < BOUND


@pytest.mark.parametrize(
    "options",
    [
        {"truncation": True},
        {"tokenize_kwargs": {"truncation": True, "max_length": 5}},
        {"truncation": "only_first", "tokenize_kwargs": {"max_length": 3, "padding": True}},
        {"tokenize_kwargs": {"add_special_tokens": False}},
    ],
)
def test_options_of_transformers(pipe: FeatureExtraction, oracle: Any, options: dict[str, Any]) -> None:
    text = "one two three four five six seven" * (8 if options == {"truncation": True} else 1)
    with quiet():
        expected = oracle(text, **{name: dict(v) if isinstance(v, dict) else v for name, v in options.items()})
    assert distance(pipe(text, **options), expected) < BOUND


@pytest.mark.parametrize("kind", [True, "np", "pt", "tf", "jax"])
def test_return_tensors(pipe: FeatureExtraction, kind: Any) -> None:
    module = {"pt": "torch", "tf": "tensorflow", "jax": "jax"}.get(kind, "numpy")
    pytest.importorskip(module)
    lists = pipe(TEXTS[:2])
    for found, expected in zip(pipe(TEXTS[:2], return_tensors=kind), lists, strict=True):
        assert type(found).__module__.partition(".")[0] in (module, f"{module}lib")
        assert tuple(found.shape) == np.shape(expected)
        assert np.array_equal(np.asarray(found), np.asarray(expected, np.float32))
    assert pipe(TEXTS[:2], return_tensors=False) == lists


def test_forms_of_input(pipe: FeatureExtraction) -> None:
    assert pipe([]) == []
    assert len(pipe(iter(TEXTS))) == len(pipe(tuple(TEXTS))) == len(TEXTS)
    short = FeatureExtraction(pipe.fast, pipe.tokenizer, truncation=True)
    assert np.shape(short("a " * 90)) == (1, 48, 32)


def test_what_is_refused(pipe: FeatureExtraction) -> None:
    with pytest.raises(InputError, match="expected texts.*found int"):
        pipe(3)
    with pytest.raises(InputError, match="input 1: text: expected str, found NoneType"):
        pipe(["a", None])
    with pytest.raises(InputError, match="52 tokens, the model takes 48; use truncation=True"):
        pipe("a " * 50)
    with pytest.raises(InputError, match="has no tokens"):
        pipe("", tokenize_kwargs={"add_special_tokens": False})
    with pytest.raises(InputError, match="4 problems") as caught:
        wrong = {"truncation": True, "padding": "max_length", "colour": 1}
        pipe("a", return_tensors="mxnet", truncation=False, tokenize_kwargs=wrong)
    for part in ("found 'mxnet'", "given twice", "padding 'max_length'", "colour: unknown; expected truncation"):
        assert part in str(caught.value)
    with pytest.raises(InputError, match="tokenize_kwargs: expected a dict, found list"):
        pipe("a", tokenize_kwargs=[1])
    with pytest.raises(InputError, match="truncation: expected 'longest_first'"):
        pipe("a", truncation="middle")
    with pytest.raises(InputError, match="max_length: expected a whole number"):
        pipe("a", tokenize_kwargs={"max_length": "9"})


def test_awkward_texts(pipe: FeatureExtraction) -> None:
    results = list(pipe.stream(AWKWARD, keep_errors=True))
    assert all(np.isfinite(result).all() for result in results)
    with pytest.raises(InputError, match="no tokens"):
        pipe("\x00", tokenize_kwargs={"add_special_tokens": False})


def test_stream_keeps_errors_in_their_places(pipe: FeatureExtraction) -> None:
    items = ["a", 7, "b", "long " * 60, "c"]
    results = list(pipe.stream(items, keep_errors=True))
    assert [isinstance(result, InputError) for result in results] == [False, True, False, True, False]
    assert results[4] == pipe("c")
    with pytest.raises(InputError, match="input 1"):
        list(pipe.stream(items))
