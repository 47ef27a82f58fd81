# SPDX-License-Identifier: Apache-2.0
"""Multiple choice in training: where choices and labels are, bad data, batches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import DistilBertTokenizer
from distilbert.errors import InputError
from distilbert.outputs import MultipleChoiceModelOutput

from .task_samples import make_task, real_tokenizer, small_tokenizer, write_lines, write_text

TASK = "multiple-choice"
ITEM = {"prompt": "a b", "choices": ["c d e", "f"], "label": 1}


@pytest.fixture
def tokenizer(tmp_path: Path) -> DistilBertTokenizer:
    return small_tokenizer(tmp_path)


def test_batches(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task = make_task(TASK, tokenizer)
    rows = [ITEM, {**ITEM, "label": "0"}, {"prompt": "a", "choices": ["b", "c"], "label": 1.0}]
    examples = task.read([write_lines(tmp_path / "a.jsonl", rows)], None, True)
    assert examples.lengths.tolist() == [8, 8, 5]
    batch = task.collate(examples, np.array([2, 0]), 8, None)
    expected = tokenizer(["a", "a", "a b", "a b"], ["b", "c", "c d e", "f"], padding="max_length", max_length=8)
    np.testing.assert_array_equal(batch["input_ids"].reshape(4, 8), expected["input_ids"])
    np.testing.assert_array_equal(batch["attention_mask"].reshape(4, 8), expected["attention_mask"])
    assert (batch["labels"].tolist(), batch["weights"].tolist()) == ([1, 1], [1, 1])
    assert task.config_changes() == {}


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ('prompt,choices,label\na b,"[""c d e"", ""f""]",1\n', []),
        ("prompt,x,y,label\na b,c d e,f,1\n", ["choices=x,y"]),
        ("s,q,x,y,label\na,b,c d e,f,1\n", ["prompt=s,q", "choices=x,y"]),
    ],
)
def test_columns(tmp_path: Path, tokenizer: DistilBertTokenizer, text: str, columns: list[str]) -> None:
    wanted = make_task(TASK, tokenizer).read([write_lines(tmp_path / "a.jsonl", [ITEM])], None, True)
    found = make_task(TASK, tokenizer, column=columns).read([write_text(tmp_path / "a.csv", text)], None, True)
    assert found.ids.values.tolist() == wanted.ids.values.tolist()
    assert found.labels.tolist() == [1]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"label": 2}, "row 1: label: expected the place of a choice, from 0 to 1; found '2'"),
        ({"label": -1}, "row 1: label: expected the place of a choice, from 0 to 1; found '-1'"),
        ({"label": None}, "row 1: label: is missing"),
        ({"label": 0.5}, "found '0.5'"),
        ({"choices": ["a", "b", "c"]}, "row 1: choices: expected 2, as in the first row, found 3"),
        ({"choices": ["a"]}, "row 1: choices: expected a list of at least two texts, found 1"),
        ({"choices": None}, "row 1: choices: expected a list of at least two texts, found NoneType"),
        ({"choices": ["a", ""]}, "row 1: choice 1: is empty"),
        ({"choices": "a"}, "row 1: choices: expected a list, or one in JSON; found 'a'"),
        ({"prompt": " "}, "row 1: prompt: is blank"),
        ({"prompt": ["a"]}, None),
    ],
)
def test_bad_rows(
    tmp_path: Path, tokenizer: DistilBertTokenizer, changes: dict[str, Any], expected: str | None
) -> None:
    path = write_text(tmp_path / "a.jsonl", json.dumps(ITEM) + "\n" + json.dumps({**ITEM, **changes}))
    task = make_task(TASK, tokenizer)
    if expected is None:
        assert len(task.read([path], None, True)) == 2
        return
    with pytest.raises(InputError, match=expected):
        task.read([path], None, True)


def test_metrics(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task = make_task(TASK, tokenizer)
    examples = task.read([write_lines(tmp_path / "a.jsonl", [ITEM, ITEM])], None, True)
    answers = [MultipleChoiceModelOutput(logits=np.array(logits)) for logits in ([0.0, 1], [1, 0])]
    assert task.score(examples, answers) == {"accuracy": 0.5}


def test_cosmos_qa(data_folder: Path) -> None:
    columns = ["prompt=context,question", "choices=answer0,answer1,answer2,answer3"]
    task = make_task(TASK, real_tokenizer(data_folder), column=columns)
    examples = task.read([data_folder / "multiple_choice" / "cosmosqa_valid.csv"], 200, True)
    assert (len(examples), examples.count, len(set(examples.labels.tolist()))) == (200, 4, 4)
    assert task.collate(examples, np.arange(3), 128, None)["input_ids"].shape == (3, 4, 128)
