# SPDX-License-Identifier: Apache-2.0
"""Multiple choice: the numbers of transformers' model on the same pairs, and the same in the three frameworks."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import distilbert
from distilbert.errors import InputError
from distilbert.pipelines import Pipeline

from . import oracle
from .pipeline_samples import AWKWARD, assert_same, write_checkpoint
from .test_parity import backends

TASK = "multiple-choice"
ITEM = {"prompt": "My body cast a shadow over the grass.", "choices": ["The sun was rising.", "The grass was cut.", ""]}


@pytest.fixture(scope="module")
def folder(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("multiple-choice"), data_folder, TASK)


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return distilbert.pipeline(TASK, folder, backend="pt")


@pytest.fixture(scope="module")
def questions(data_folder: Path) -> list[dict[str, Any]]:
    """Questions of Balanced COPA, and one with more choices."""
    items = ElementTree.parse(data_folder / "multiple_choice" / "balanced-copa-dev-all.xml").getroot().findall("item")
    found = [
        {"prompt": item.findtext("p"), "choices": [item.findtext("a1"), item.findtext("a2")]} for item in items[:60]
    ]
    return [*found, ITEM]


def test_as_the_model_of_transformers(folder: Path, pipe: Pipeline, questions: list[dict[str, Any]]) -> None:
    pytest.importorskip("transformers")
    model, _ = oracle.load_hf("pt", TASK, folder)
    tokenizer = oracle.transformers().AutoTokenizer.from_pretrained(folder)
    for item, found in zip(questions, pipe(questions), strict=True):
        prompts = [item["prompt"]] * len(item["choices"])
        call = tokenizer(prompts, item["choices"], padding=True, return_tensors="np")
        logits = oracle.run_hf("pt", model, {name: values[None] for name, values in call.items()})["logits"][0]
        scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        expected = [
            {"label": int(place), "choice": item["choices"][place], "score": float(scores[place])}
            for place in np.argsort(-scores, kind="stable")
        ]
        assert_same(found, expected)


@backends
def test_same_in_every_backend(folder: Path, pipe: Pipeline, questions: list[dict[str, Any]], name: str) -> None:
    assert_same(distilbert.pipeline(TASK, folder, backend=name)(questions[-20:]), pipe(questions[-20:]))


def test_forms_of_input(pipe: Pipeline) -> None:
    prompt, choices = ITEM["prompt"], ITEM["choices"]
    expected = pipe(ITEM)
    assert sorted(found["label"] for found in expected) == [0, 1, 2]
    assert sum(found["score"] for found in expected) == pytest.approx(1)
    assert pipe(prompt, choices=choices) == pipe(prompt, tuple(choices)) == expected
    assert pipe([ITEM]) == pipe([prompt], choices=choices) == [expected]
    assert pipe(ITEM, top_k=1) == expected[:1]
    assert pipe(ITEM, top_k=9) == expected
    assert pipe([]) == []
    assert pipe("one", choices=["alone"]) == [{"label": 0, "choice": "alone", "score": 1.0}]


def test_equal_choices_keep_their_order(pipe: Pipeline) -> None:
    assert [found["label"] for found in pipe("a", choices=["same"] * 4)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ("alone", {}, r"expected \{'prompt': \.\.\., 'choices': \[\.\.\.\]\}, or a text with choices"),
        (5, {}, "expected a prompt, or .* found int"),
        (ITEM, {"choices": ["a"]}, "choices: given twice"),
        ("a", {"choices": []}, "choices: expected a list of texts, found an empty one"),
        ("a", {"choices": "bc"}, "choices: expected a list of texts, found str"),
        ("a", {"choices": ["b", 5]}, "choice 1: expected str, found int"),
        ([ITEM, {"prompt": "a"}], {}, "input 1: inputs: expected the keys choices, prompt; found prompt"),
        ([ITEM, {**ITEM, "answer": 1}], {}, "found prompt, choices, answer"),
        ({"prompt": None, "choices": ["a"]}, {}, "prompt: expected str, found NoneType"),
        ("a " * 80, {"choices": ["b"]}, "has 84 tokens, the model takes 64; use truncation=True"),
        (ITEM, {"top_k": -1}, "top_k: expected a number of at least 1, or None for all; found -1"),
    ],
)
def test_wrong_calls(pipe: Pipeline, inputs: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pipe(inputs, **options)


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD.keys())
def test_awkward_texts(pipe: Pipeline, text: str) -> None:
    found = pipe(text, choices=["a", text], truncation=True)
    assert {choice["choice"] for choice in found} == {"a", text}
    assert sum(choice["score"] for choice in found) == pytest.approx(1)


def test_long_texts_are_cut_when_asked(pipe: Pipeline) -> None:
    found = pipe("a " * 100, choices=["b", "c " * 100], truncation=True)
    assert len(found) == 2
    assert pipe("a " * 100, choices=["b"], truncation="only_first") == pipe("a " * 60, choices=["b"])


def test_stream_keeps_errors_in_their_places(pipe: Pipeline) -> None:
    found = list(pipe.stream(iter([ITEM, {"prompt": "a", "choices": []}, ITEM]), keep_errors=True))
    assert [type(result) for result in found] == [list, InputError, list]
    assert_same(found[0], pipe(ITEM))
    assert_same(found[2], found[0])
