# SPDX-License-Identifier: Apache-2.0
"""Token classification in training: which tokens have labels, bad data, batches as transformers has them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import DistilBertConfig, DistilBertTokenizer
from distilbert.errors import InputError
from distilbert.outputs import TokenClassifierOutput
from distilbert.training.data import read_rows

from . import oracle
from .task_samples import make_task, real_tokenizer, small_tokenizer, write_lines, write_text

TASK = "token-classification"
CONLL = "a O\nberlin B-LOC\nparis I-LOC\n\nfilms B-ART\n.\tO\n"  # 6 + 4 tokens: berlin, paris, films are two each


@pytest.fixture
def tokenizer(tmp_path: Path) -> DistilBertTokenizer:
    return small_tokenizer(tmp_path)


def read(folder: Path, tokenizer: DistilBertTokenizer, **settings: Any) -> tuple[Any, Any]:
    """A task and its training examples, two sentences."""
    task = make_task(TASK, tokenizer, **settings)
    return task, task.read([write_text(folder / "train.conll", CONLL)], None, True)


def test_first_tokens_have_the_labels(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task, examples = read(tmp_path, tokenizer)
    assert task.config_changes() == {"id2label": {0: "B-ART", 1: "B-LOC", 2: "I-LOC", 3: "O"}}
    batch = task.collate(examples, np.array([1, 0]), 8, None)
    assert batch["labels"].tolist() == [[-100, 0, -100, 3] + [-100] * 4, [-100, 3, 1, -100, 2, -100, -100, -100]]
    assert batch["weights"].tolist() == [[0, 1, 0, 1] + [0] * 4, [0, 1, 1, 0, 1, 0, 0, 0]]
    words = tokenizer(["a", "berlin", "paris"], is_split_into_words=True)["input_ids"]
    assert batch["input_ids"][1, :7].tolist() == words
    assert batch["attention_mask"].sum(1).tolist() == [5, 7]


def test_all_tokens_have_labels_if_asked_for(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    _, examples = read(tmp_path, tokenizer, label_all_tokens=True)
    # What goes on in B-LOC is I-LOC; there is no I-ART.
    assert [examples.labels[row].tolist() for row in range(2)] == [[-100, 3, 1, 2, 2, 2, -100], [-100, 0, 0, 3, -100]]
    assert [examples.words(row).tolist() for row in range(2)] == [[1, 2, 4], [1, 3]]


@pytest.mark.parametrize(("first", "expected"), [("B", [0, 1, 1]), ("B-X", [0, 0, 0]), ("BE", [0, 0, 0])])
def test_what_goes_on_in_b_alone_is_i(
    tmp_path: Path, tokenizer: DistilBertTokenizer, first: str, expected: list[int]
) -> None:
    path = write_text(tmp_path / "a.conll", f"berlins {first}\na I\nb O\n")
    examples = make_task(TASK, tokenizer, label_all_tokens=True).read([path], None, True)
    assert examples.labels[0].tolist() == [-100, *expected, 1, 2, -100]


def test_numbers_without_names_are_said_to_be_no_entities(
    tmp_path: Path, tokenizer: DistilBertTokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"tokens": ["a", "b", "c"], "tags": [0, 1, 2]}])
    with caplog.at_level(logging.WARNING, "distilbert"):
        task = make_task(TASK, tokenizer)
        examples = task.read([path], None, True)
    assert "a.jsonl: tags are numbers, and the model has no names for them" in caplog.text
    assert task.score(examples, [np.array([0, 1, 2])])["f1"] == 1
    caplog.clear()
    with caplog.at_level(logging.WARNING, "distilbert"):
        named = make_task(TASK, tokenizer, DistilBertConfig(id2label={0: "O", 1: "B-X", 2: "I-X"}))
        named.read([path], None, True)
    assert "tags are numbers" not in caplog.text


def test_lists_of_numbers(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    rows = [{"words": ["a", "b"], "ner_tags": [0, 2]}, {"words": ["c"], "ner_tags": [1]}]
    path = write_lines(tmp_path / "a.jsonl", rows)
    settings = {"column": ["tokens=words", "tags=ner_tags"]}
    config = DistilBertConfig(id2label={0: "O", 1: "B-X", 2: "I-X"})
    task = make_task(TASK, tokenizer, config, **settings)
    assert task.read([path], None, True).labels.values.tolist() == [-100, 0, 2, -100, -100, 1, -100]
    assert task.names == ["O", "B-X", "I-X"]


def test_lists_in_csv(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    path = write_text(tmp_path / "a.csv", 'tokens,tags\n"[""a"", ""b""]","[""O"", ""X""]"\n')
    assert make_task(TASK, tokenizer).read([path], None, True).labels.values.tolist() == [-100, 0, 1, -100]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "row 1: tags: expected one for each of 2 tokens, found 1"),
        ({"tokens": "a b", "tags": ["O"]}, "row 1: tokens: expected a list, or one in JSON; found 'a b'"),
        (
            {"tokens": None, "tags": 3},
            "row 1: tokens: expected a list, found nothing; tags: expected a list, found int",
        ),
        ({"tokens": [], "tags": []}, "row 1: tokens: is empty"),
        ({"tokens": ["a", " ", 3], "tags": ["O"] * 3}, "row 1: token 1: is blank; token 2: expected a text, found int"),
        ({"tokens": ["a", "b"], "tags": ["O", None]}, "row 1: tag 1: is missing"),
        ({"tokens": [""] * 9, "tags": ["O"] * 9}, "token 4: is empty; and 4 more$"),
        ({"words": ["a"]}, "row 1: no column 'tokens'; no column 'tags'"),
    ],
)
def test_bad_rows(tmp_path: Path, tokenizer: DistilBertTokenizer, row: dict[str, Any], expected: str) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"tokens": ["a", "b"], "tags": ["O", "X"]}, row])
    with pytest.raises(InputError, match=expected):
        make_task(TASK, tokenizer).read([path], None, True)


def test_unknown_tags_in_evaluation_and_one_tag_alone(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task, _ = read(tmp_path, tokenizer)
    path = write_text(tmp_path / "b.conll", "a O\n\nb B-PER\nc B-PER\n")
    with pytest.raises(
        InputError, match=r"b.conll, row 1: label 'B-PER' \(and in 1 rows more\): expected one of B-ART"
    ):
        task.read([path], None, False)
    path.write_text("a O\nb O\n")
    with pytest.raises(InputError, match=r"b.conll: label: .* found 'O' alone"):
        make_task(TASK, tokenizer).read([path], None, True)


def test_words_without_a_token_are_counted(
    tmp_path: Path, tokenizer: DistilBertTokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_text(tmp_path / "a.conll", "a O\n" * 8 + "b X\n\na O\n\u200b O\nb X\n")
    with caplog.at_level(logging.WARNING, "distilbert"):
        task = make_task(TASK, tokenizer, max_seq_length=8)
        examples = task.read([path], None, True)
    assert examples.lengths.tolist() == [8, 4]
    assert [len(examples.words(row)) for row in range(2)] == [6, 2]
    assert "4 of 12 words have no token" in caplog.text
    assert examples.labels[1].tolist() == [-100, 0, 1, -100]


def test_metrics(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task, examples = read(tmp_path, tokenizer)
    logits = np.full((2, 12, 4), -1.0)  # longer than the sentences, as in a batch
    for row in range(2):
        for place, label in enumerate(examples.labels[row]):
            logits[row, place, max(label, 0)] = 1
    logits[0, 4] = [0, 0, 0, 1]  # the second word of the one place, now O
    kept = [task.kept(examples, row, TokenClassifierOutput(logits=logits[row])) for row in range(2)]
    assert [row.tolist() for row in kept] == [[3, 1, 3], [0, 3]]
    assert task.score(examples, kept) == pytest.approx({"precision": 0.5, "recall": 0.5, "f1": 0.5, "accuracy": 0.8})


def test_parts_of_speech_are_scored_by_class(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task = make_task(TASK, tokenizer)
    examples = task.read([write_text(tmp_path / "a.conll", "a NN\nb NN\nc VB\nd VB\n")], None, True)
    found = task.score(examples, [np.array([0, 0, 1, 0])])
    assert found["accuracy"] == 0.75
    assert found["recall"] == pytest.approx(0.75)
    assert found["f1"] == pytest.approx((2 * 2 / 5 + 2 / 3) / 2)


def test_batches_as_transformers_has_them(data_folder: Path) -> None:
    pytest.importorskip("transformers")
    transformers = oracle.transformers()
    path = data_folder / "wnut17" / "test.conll"
    task = make_task(TASK, real_tokenizer(data_folder))
    examples = task.read([path], 100, True)
    with oracle.quiet():
        theirs = transformers.BertTokenizerFast(str(data_folder / "vocab" / "bert-base-uncased" / "vocab.txt"))
        collator = transformers.DataCollatorForTokenClassification(theirs, pad_to_multiple_of=8)
    numbers = {name: number for number, name in enumerate(task.names)}
    features = []
    for row in list(read_rows(path, "conll", None))[:100]:
        assert row.values is not None
        encoded = theirs(row.values["tokens"], is_split_into_words=True, truncation=True, max_length=128)
        words = encoded.word_ids()
        labels = [
            -100 if word is None or word == before else numbers[row.values["tags"][word]]
            for word, before in zip(words, [None, *words], strict=False)
        ]
        features.append(
            {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"], "labels": labels}
        )
    rows = np.array([3, 99, 17, 50])
    with oracle.quiet():
        expected = collator([features[row] for row in rows])
    batch = task.collate(examples, rows, expected["input_ids"].shape[1], None)
    for name in ("input_ids", "attention_mask", "labels"):
        np.testing.assert_array_equal(batch[name], expected[name].numpy())
