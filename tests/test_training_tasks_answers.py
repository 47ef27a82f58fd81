# SPDX-License-Identifier: Apache-2.0
"""Question answering in training: windows and where they hold the answer, bad data, metrics as SQuAD has them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import DistilBertTokenizer
from distilbert.errors import InputError
from distilbert.outputs import QuestionAnsweringModelOutput

from . import oracle
from .task_samples import make_task, real_tokenizer, small_tokenizer, write_lines, write_text

TASK = "question-answering"
CONTEXT = "a b c lives in berlin . d e f a b c"
SHORT = {"max_seq_length": 12, "doc_stride": 2}


@pytest.fixture
def tokenizer(tmp_path: Path) -> DistilBertTokenizer:
    return small_tokenizer(tmp_path)


def item(text: str | None = "berlin", start: int | None = None, **changes: Any) -> dict[str, Any]:
    """A row about one text."""
    place = start if start is not None else CONTEXT.find(str(text))
    answers = [] if text is None else [{"text": text, "answer_start": place}]
    return {"question": "where ?", "context": CONTEXT, "answers": answers, **changes}


def read(folder: Path, task: Any, rows: list[dict[str, Any]]) -> Any:
    return task.read([write_lines(folder / "a.jsonl", rows)], None, True)


def spoken(task: Any, examples: Any, spans: Any) -> list[Any]:
    """Answers of a model that is sure of these spans (first and last token for each window), with padding."""
    kept = []
    for row, (first, last) in enumerate(spans):
        starts, ends = np.full((2, int(examples.lengths[row]) + 3), -9.0)
        starts[first] = ends[last] = 9
        kept.append(task.kept(examples, row, QuestionAnsweringModelOutput(start_logits=starts, end_logits=ends)))
    return kept


def test_windows_know_the_answer_that_they_hold(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task = make_task(TASK, tokenizer, **SHORT)
    examples = read(tmp_path, task, [item(), item("lives in")])
    assert examples.counts == [3, 3]
    # [CLS] where ? [SEP] and 7 tokens of the context, 2 of them again in the next window
    assert tokenizer.convert_ids_to_tokens(examples.ids[1])[4:-1] == ["ber", "##lin", ".", "d", "e", "f", "a"]
    assert examples.spans.tolist() == [[9, 10], [4, 5], [0, 0], [7, 8], [0, 0], [0, 0]]
    batch = task.collate(examples, np.array([1, 5]), 16, None)
    assert [batch[name].tolist() for name in ("start_positions", "end_positions", "weights")] == [
        [4, 0],
        [5, 0],
        [1, 1],
    ]
    assert batch["attention_mask"].sum(1).tolist() == examples.lengths[[1, 5]].tolist()
    assert task.config_changes() == {"num_labels": 2}


def test_white_space_around_an_answer_is_not_part_of_it(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    examples = read(tmp_path, make_task(TASK, tokenizer), [item(" berlin "), item("lin")])
    assert examples.spans.tolist() == [[9, 10], [10, 10]]


def test_the_context_comes_first_where_padding_is_on_the_left(tmp_path: Path) -> None:
    tokenizer = small_tokenizer(tmp_path, padding_side="left")
    task = make_task(TASK, tokenizer)
    examples = read(tmp_path, task, [item()])
    assert tokenizer.convert_ids_to_tokens(examples.ids[0])[:3] == ["[CLS]", "a", "b"]
    assert examples.spans.tolist() == [[6, 7]]
    assert task.score(examples, spoken(task, examples, examples.spans))["exact_match"] == 100


@pytest.mark.parametrize(
    "answers",
    [
        {"text": ["berlin", "a"], "answer_start": [15, 0]},
        '{"text": ["berlin"], "answer_start": [15]}',
        '[{"text": "berlin", "answer_start": 15}]',
    ],
)
def test_forms_of_answers(tmp_path: Path, tokenizer: DistilBertTokenizer, answers: Any) -> None:
    examples = read(tmp_path, make_task(TASK, tokenizer), [item(answers=answers)])
    assert examples.spans.tolist() == [[9, 10]]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (item(start=3), "row 1: answer 0: expected 'berlin' at character 3 of the context, found ' c liv'"),
        (item(start=3000), "expected 'berlin' at character 3000 of the context, found ''"),
        (item(start=-1), "answer 0: answer_start: expected a character of the context, found -1"),
        (item("", 0), "answer 0: text: is empty"),
        (item(None), "row 1: answers: is empty; questions without an answer need version_2_with_negative"),
        (item(answers=None), "row 1: answers: expected a list of .*, found NoneType"),
        (item(answers="berlin"), "answers: expected a list, or one in JSON; found 'berlin'"),
        (item(answers=["berlin"]), "answer 0: expected a text and its answer_start, found str"),
        (item(answers={"text": ["a"], "answer_start": []}), "answers: expected as many texts as answer_start"),
        (item(question=" "), "row 1: question: is blank"),
        (item(context=None), "row 1: context: expected a text, found nothing"),
        (item(question="a " * 400), r"row 1: question: has 400 tokens, which leaves 0 of 384 for the context"),
    ],
)
def test_bad_rows(tmp_path: Path, tokenizer: DistilBertTokenizer, row: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        read(tmp_path, make_task(TASK, tokenizer), [item(), row, item()])


def test_a_stride_that_is_too_long_is_halved(tokenizer: DistilBertTokenizer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "distilbert"):
        assert make_task(TASK, tokenizer, doc_stride=128, max_seq_length=64).stride == 32
    assert "doc_stride: 32, half of max_seq_length" in caplog.text
    assert make_task(TASK, tokenizer, doc_stride=128, max_seq_length=384).stride == 128


def test_a_context_without_tokens(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    row = {"question": "a", "context": "\u200b\u200b", "answers": [{"text": "\u200b", "answer_start": 0}]}
    assert read(tmp_path, make_task(TASK, tokenizer), [row]).spans.tolist() == [[0, 0]]


def test_metrics_are_of_the_best_answer_of_all_windows(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task = make_task(TASK, tokenizer, **SHORT)
    examples = read(tmp_path, task, [item(), item("lives in")])
    assert task.score(examples, spoken(task, examples, examples.spans)) == {"exact_match": 100, "f1": 100}
    spans = examples.spans.copy()
    spans[3] = (7, 7)  # "lives" for "lives in"
    found = task.score(examples, spoken(task, examples, spans))
    assert found == pytest.approx({"exact_match": 50, "f1": (1 + 2 / 3) / 2 * 100})


def test_a_part_of_a_word_is_scored_as_it_is(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task = make_task(TASK, tokenizer)
    examples = read(tmp_path, task, [item("lin"), item("ber")])
    assert task.score(examples, spoken(task, examples, examples.spans)) == {"exact_match": 100, "f1": 100}


def test_questions_without_an_answer(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task = make_task(TASK, tokenizer, version_2_with_negative=True)
    examples = read(tmp_path, task, [item(), item(None)])
    assert examples.spans.tolist() == [[9, 10], [0, 0]]
    assert set(task.score(examples, spoken(task, examples, examples.spans)).values()) == {100}
    found = task.score(examples, spoken(task, examples, [(0, 0), (9, 10)]))
    assert set(found) >= {"HasAns_f1", "NoAns_f1"}
    assert set(found.values()) == {0}


def test_squad_files(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    row = item()
    paragraph = {"context": row["context"], "qas": [{"question": "who ?", "answers": row["answers"]}] * 2}
    path = write_text(tmp_path / "a.json", json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    task = make_task(TASK, tokenizer)
    examples = task.read(task.files([str(path)]), None, False)
    assert examples.spans.tolist() == [[9, 10]] * 2
    assert examples.questions[0].context is examples.questions[1].context


def test_windows_as_transformers_has_them(data_folder: Path) -> None:
    pytest.importorskip("transformers")
    with oracle.quiet():
        folder = data_folder / "vocab" / "bert-base-uncased"
        theirs = oracle.transformers().BertTokenizerFast(str(folder / "vocab.txt"))
    task = make_task(TASK, real_tokenizer(data_folder), max_seq_length=96, doc_stride=32)
    examples = task.read([data_folder / "squad_v1.1_dev" / "dev-v1.1.json"], 60, True)
    questions = examples.questions
    encoded = theirs(
        [question.question for question in questions],
        [question.context for question in questions],
        truncation="only_second",
        max_length=96,
        stride=32,
        return_overflowing_tokens=True,
    )
    owners = encoded["overflow_to_sample_mapping"]
    assert np.bincount(owners).tolist() == examples.counts
    assert [examples.ids[row].tolist() for row in range(len(examples))] == encoded["input_ids"]
    held = 0
    for row, owner in enumerate(owners):
        answer = questions[owner].answers[0]
        places = [encoded.char_to_token(row, place, 1) for place in (answer.start, answer.end - 1)]
        assert examples.spans[row].tolist() == ([0, 0] if None in places else places)
        held += None not in places
    assert 60 <= held < len(examples)


def test_right_spans_give_nearly_all_points(data_folder: Path) -> None:
    task = make_task(TASK, real_tokenizer(data_folder), max_seq_length=384)
    examples = task.read([data_folder / "squad_v1.1_dev" / "dev-v1.1.json"], 300, False)
    found = task.score(examples, spoken(task, examples, examples.spans))
    assert found["exact_match"] == pytest.approx(100 * 290 / 300)  # "gold" in the token "golden", "8" in "18", ...
    assert found["f1"] >= found["exact_match"]
