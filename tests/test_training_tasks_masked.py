# SPDX-License-Identifier: Apache-2.0
"""Masked language modelling in training: runs of joined texts, and masks that depend on nothing but their example."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import DistilBertTokenizer
from distilbert.errors import InputError
from distilbert.outputs import MaskedLMOutput

from .task_samples import make_task, real_tokenizer, small_tokenizer, write_lines, write_text

TASK = "fill-mask"
SPECIAL = {0, 1, 2, 3, 4}  # [PAD] [UNK] [CLS] [SEP] [MASK]


@pytest.fixture
def tokenizer(tmp_path: Path) -> DistilBertTokenizer:
    return small_tokenizer(tmp_path)


def long_text(folder: Path, lines: int = 300) -> Path:
    """Paragraphs of one to nine words, some of two pieces."""
    words = ["a", "b", "c", "berlin", "films", "d", "paris", "e", "lives", "f"]
    return write_text(folder / "a.txt", "\n\n".join(" ".join(words[: 1 + line % 9]) for line in range(lines)))


def texts(task: Any, examples: Any) -> list[str]:
    return [" ".join(task.tokenizer.convert_ids_to_tokens(examples.ids[row])) for row in range(len(examples))]


def test_texts_are_joined_and_cut(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    path = write_text(tmp_path / "a.txt", "a b c d\n\n \ne f\na b c d e f a b\n")
    task = make_task(TASK, tokenizer, max_seq_length=8)
    assert texts(task, task.read([path], None, True)) == [
        "[CLS] a b c d [SEP] e [SEP]",
        "[CLS] f [SEP] a b c d [SEP]",
        "[CLS] e f a b [SEP]",
    ]
    task = make_task(TASK, tokenizer, max_seq_length=8, line_by_line=True)
    assert texts(task, task.read([path], None, True)) == [
        "[CLS] a b c d [SEP]",
        "[CLS] e f [SEP]",
        "[CLS] a b c d e f [SEP]",
    ]
    assert task.config_changes() == {}


def test_runs_of_full_length_leave_no_rest(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    path = write_text(tmp_path / "a.txt", "a b c d e f\n")
    examples = make_task(TASK, tokenizer, max_seq_length=8).read([path], None, True)
    assert examples.lengths.tolist() == [8]


def test_tables_of_texts(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task = make_task(TASK, tokenizer, column=["review"])
    path = write_lines(tmp_path / "a.jsonl", [{"review": "a b"}, {"review": "c"}])
    assert texts(task, task.read([path], None, True)) == ["[CLS] a b [SEP] c [SEP]"]
    with pytest.raises(InputError, match="row 1: text: is blank"):
        task.read([write_lines(path, [{"review": "a b"}, {"review": " "}])], None, True)
    with pytest.raises(InputError, match="a.txt: holds no rows"):
        make_task(TASK, tokenizer).read([write_text(tmp_path / "a.txt", "\n \n")], None, True)


@pytest.mark.parametrize("whole_words", [False, True])
def test_masks_depend_on_draws_and_example_alone(
    tmp_path: Path, tokenizer: DistilBertTokenizer, whole_words: bool
) -> None:
    task = make_task(TASK, tokenizer, max_seq_length=64, whole_word_masking=whole_words)
    examples = task.read([long_text(tmp_path)], None, True)
    rows = np.arange(len(examples))
    together = task.collate(examples, rows, 64, (7, 1))
    for row in rows[::5]:
        alone = task.collate(examples, rows[row : row + 1], int(examples.lengths[row]), (7, 1))
        count = int(alone["weights"].sum())
        width = int(examples.lengths[row])
        assert together["input_ids"][row, :width].tolist() == alone["input_ids"][0].tolist()
        assert together["weights"][row].sum() == count
        for name in ("places", "labels"):
            assert together[name][row, :count].tolist() == alone[name][0, :count].tolist()
    assert (task.collate(examples, rows, 64, (7, 2))["input_ids"] != together["input_ids"]).any()
    assert (task.collate(examples, rows, 64, (8, 1))["input_ids"] != together["input_ids"]).any()
    evaluations = [task.collate(examples, rows, 64, None)["input_ids"] for _ in range(2)]
    np.testing.assert_array_equal(*evaluations)


def test_what_is_masked(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task = make_task(TASK, tokenizer, max_seq_length=64, mlm_probability=0.25)
    examples = task.read([long_text(tmp_path, 3000)], None, True)
    rows = np.arange(len(examples))
    batch = task.collate(examples, rows, 64, (0, 0))
    ids = examples.ids.padded(rows, 64, 0)
    counted = batch["weights"] == 1
    assert batch["places"].shape[1] % 8 == 0
    assert not batch["places"][~counted].any()
    right = np.take_along_axis(ids, batch["places"], 1)[counted]
    seen = np.take_along_axis(batch["input_ids"], batch["places"], 1)[counted]
    np.testing.assert_array_equal(batch["labels"][counted], right)
    assert not SPECIAL & set(right.tolist())
    ordinary = (~np.isin(ids, list(SPECIAL))).sum(1)
    np.testing.assert_array_equal(counted.sum(1), np.rint(ordinary * 0.25))
    is_mask, stays = seen == tokenizer.mask_token_id, seen == right
    assert len(seen) > 3000
    assert is_mask.mean() == pytest.approx(0.8, abs=0.03)
    assert stays.mean() == pytest.approx(0.1 + 0.1 / 26, abs=0.03)
    assert not SPECIAL & set(seen[~is_mask].tolist())
    changed = batch["input_ids"] != ids
    assert changed.sum() == (~stays).sum()  # nothing changes but what is to be guessed


def test_whole_words(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task = make_task(TASK, tokenizer, max_seq_length=64, whole_word_masking=True)
    examples = task.read([long_text(tmp_path)], None, True)
    batch = task.collate(examples, np.arange(len(examples)), 64, (0, 0))
    begins, goes_on = tokenizer.convert_tokens_to_ids(["ber", "##lin"])
    seen = 0
    for row in range(len(examples)):
        chosen = set(batch["places"][row, batch["weights"][row] == 1].tolist())
        ids = examples.ids[row].tolist()
        pairs = [place for place in range(len(ids) - 1) if ids[place : place + 2] == [begins, goes_on]]
        assert all((place in chosen) == (place + 1 in chosen) for place in pairs)
        seen += sum(place in chosen for place in pairs)
    assert seen > 5


def test_metrics(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task = make_task(TASK, tokenizer, max_seq_length=32)
    examples = task.read([long_text(tmp_path)], None, False)
    rows = np.arange(4)
    batch = task.collate(examples, rows, 32, None)
    logits = np.zeros((*batch["places"].shape, len(tokenizer)), np.float32)
    kept = [task.kept(examples, row, MaskedLMOutput(logits=logits[row])) for row in rows]
    assert task.score(examples, kept)["perplexity"] == pytest.approx(len(tokenizer))
    np.put_along_axis(logits, batch["labels"][..., None].astype(int), math.log(9), -1)
    kept = [task.kept(examples, row, MaskedLMOutput(logits=logits[row])) for row in rows]
    expected = (9 + len(tokenizer) - 1) / 9
    assert task.score(examples, kept) == pytest.approx({"accuracy": 1, "perplexity": expected})
    assert task.score(examples, [guesses._replace(surprise=1e9) for guesses in kept])["perplexity"] < math.inf


def test_wikitext(data_folder: Path) -> None:
    task = make_task(TASK, real_tokenizer(data_folder))
    examples = task.read([data_folder / "wikitext2" / "valid.txt"], 300, True)
    assert set(examples.lengths[:-1].tolist()) == {128}
    assert task.collate(examples, np.arange(32), 128, (0, 0))["places"].shape == (32, 24)
