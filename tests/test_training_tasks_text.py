# SPDX-License-Identifier: Apache-2.0
"""Text classification in training: labels of all kinds, what is wrong with data, batches and metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import DistilBertConfig, DistilBertTokenizer
from distilbert.errors import InputError
from distilbert.outputs import SequenceClassifierOutput
from distilbert.tables import write_rows
from distilbert.training import tasks
from distilbert.training.tasks.text_classification import TextClassification

from .task_samples import make_task, small_tokenizer, write_lines, write_text

TASK = "text-classification"


@pytest.fixture
def tokenizer(tmp_path: Path) -> DistilBertTokenizer:
    return small_tokenizer(tmp_path)


def read(folder: Path, tokenizer: DistilBertTokenizer, labels: list[Any], **settings: Any) -> tuple[Any, Any]:
    """A task and its training examples, with these labels."""
    task = make_task(TASK, tokenizer, **settings)
    path = write_lines(folder / "train.jsonl", [{"text": "good film", "label": label} for label in labels])
    return task, task.read(task.files([str(path)]), None, True)


@pytest.mark.parametrize("name", [TASK, "sentiment-analysis", "sequence-classification", "TFDistilBertForMaskedLM"])
def test_tasks_have_all_their_names(name: str) -> None:
    assert (tasks.find(name) is TextClassification) == (name != "TFDistilBertForMaskedLM")


def test_what_cannot_be_learned_is_no_task() -> None:
    with pytest.raises(InputError, match=r"expected one of sequence-classification.*found 'feature-extraction'"):
        tasks.find("feature-extraction")


@pytest.mark.parametrize(
    ("labels", "names", "classes"),
    [
        (["pos", "neg", "pos"], ["neg", "pos"], [1, 0, 1]),
        ([10, 9, "2"], ["2", "9", "10"], [2, 1, 0]),
        ([True, False], ["false", "true"], [1, 0]),
        (["1.0", 0, 1.0], ["0", "1"], [1, 0, 1]),
        ([-1, 1, 0], ["-1", "0", "1"], [0, 2, 1]),
        (["01", "1", "b"], ["01", "1", "b"], [0, 1, 2]),
    ],
)
def test_one_label(
    tmp_path: Path, tokenizer: DistilBertTokenizer, labels: list[Any], names: list[str], classes: list[int]
) -> None:
    task, examples = read(tmp_path, tokenizer, labels)
    assert task.config_changes() == {
        "id2label": dict(enumerate(names)),
        "problem_type": "single_label_classification",
    }
    assert examples.labels.tolist() == classes
    assert DistilBertConfig().replace(**task.config_changes()).num_labels == len(names)


def test_numbers_that_are_not_whole_are_a_regression(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task, examples = read(tmp_path, tokenizer, ["5.000", 3.5, 2, "1e-1"])
    assert task.config_changes() == {"num_labels": 1, "problem_type": "regression"}
    assert task.main_metric == "spearmanr"
    assert examples.labels.dtype == np.float32
    assert examples.labels[:, 0].tolist() == pytest.approx([5, 3.5, 2, 0.1])


def test_problem_type_says_otherwise(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task, examples = read(tmp_path, tokenizer, [1, 2, 4], problem_type="regression")
    assert examples.labels.tolist() == [[1], [2], [4]]
    task, examples = read(tmp_path, tokenizer, [0.5, 1.5], problem_type="single_label_classification")
    assert task.names == ["0.5", "1.5"]


def test_several_labels_in_lists(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task, examples = read(tmp_path, tokenizer, [["b", "a"], [], '["c", "c"]'])
    assert task.config_changes()["problem_type"] == "multi_label_classification"
    assert (task.names, task.main_metric) == (["a", "b", "c"], "f1_micro")
    assert examples.labels.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    batch = task.collate(examples, np.array([2, 0]), 8, None)
    assert batch["labels"].dtype == np.float32
    assert batch["labels"].tolist() == [[0, 0, 1], [1, 1, 0]]


def test_several_labels_in_columns(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    path = write_text(tmp_path / "a.csv", "text,rude,odd\na,1,0\nb,0.0,0\nc,true,1.0\n")
    task = make_task(TASK, tokenizer, column=["label=rude,odd"])
    examples = task.read([path], None, True)
    assert task.config_changes()["id2label"] == {0: "rude", 1: "odd"}
    assert examples.labels.tolist() == [[1, 0], [0, 0], [1, 1]]
    path.write_text("text,rude,odd\na,1,2\nb,,0\n")
    with pytest.raises(InputError) as error:
        task.read([path], None, True)
    assert "row 0: label: expected 0 or 1, true or false in column 'odd', found '2'" in str(error.value)
    assert "row 1: label: expected 0 or 1, true or false in column 'rude', found ''" in str(error.value)


@pytest.mark.parametrize(
    ("own", "labels", "names", "classes"),
    [
        (["NEG", "POS"], ["POS", "NEG"], ["NEG", "POS"], [1, 0]),
        (["POS", "NEG", "MIXED"], ["POS", "NEG"], ["POS", "NEG", "MIXED"], [0, 1]),
        (["NEG", "POS"], [1, 0], ["NEG", "POS"], [1, 0]),
        (["A", "B", "C"], [1, 0], ["0", "1"], [1, 0]),
        (["NEG", "POS"], ["good", "bad"], ["bad", "good"], [1, 0]),
        (["LABEL_0", "LABEL_1"], [1, 0], ["0", "1"], [1, 0]),
    ],
)
def test_a_models_own_labels(
    tmp_path: Path,
    tokenizer: DistilBertTokenizer,
    own: list[str],
    labels: list[Any],
    names: list[str],
    classes: list[int],
) -> None:
    config = DistilBertConfig(id2label=dict(enumerate(own)))
    task, examples = read(tmp_path, tokenizer, labels, config=config)
    assert list(task.config_changes()["id2label"].values()) == names
    assert examples.labels.tolist() == classes
    evaluation = write_lines(tmp_path / "eval.jsonl", [{"text": "a", "label": label} for label in labels])
    assert task.read([evaluation], None, False).labels.tolist() == classes


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["a", None, "b"], "row 1: label: is missing"),
        (["a", " ", "b"], "row 1: label: is missing"),
        (["a", {"b": 1}], "row 1: label: expected a name or a number, found dict"),
        ([1.5, "n/a", 2], "row 1: label 'n/a': expected a finite number, as elsewhere; else say problem_type"),
        ([1.5, "nan"], "row 1: label 'nan': expected a finite number"),
        ([0, 1, "inf"], "row 2: label 'inf': expected a finite number"),
        (["a", "a"], "label: expected at least two different labels to tell apart, found 'a' alone"),
        ([[], []], "label: expected at least two different labels to tell apart, found none"),
        (["a", ["b"]], "row 1: label: expected a list in every row or in none"),
        ([[0.0, 1.0]], r"expected a list of names, found 0.0 in it; .* --column label=A,B,C"),
        ([["a", None]], "expected a list of names, found None in it"),
        (list(range(1500)), "expected labels that come again, found 1,500 different ones in 1,500 rows, such as 0, 1"),
    ],
)
def test_bad_labels(tmp_path: Path, tokenizer: DistilBertTokenizer, labels: list[Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        read(tmp_path, tokenizer, labels)


@pytest.mark.parametrize(
    ("problem_type", "labels", "expected"),
    [
        ("regression", [1, "a"], "row 1: label 'a': expected a finite number"),
        ("regression", [[1], [2]], "expected one of each row, for problem_type regression"),
        ("multi_label_classification", [1, 2], "expected lists, or several columns"),
    ],
)
def test_labels_of_another_kind_than_asked_for(
    tmp_path: Path, tokenizer: DistilBertTokenizer, problem_type: str, labels: list[Any], expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        read(tmp_path, tokenizer, labels, problem_type=problem_type)


def test_nan_in_a_column_of_numbers(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    path = tmp_path / "a.parquet"
    rows = [{"text": "a", "label": value} for value in (0.5, float("nan"), float("inf"), None)]
    write_rows(path, None, rows, schema={"text": "string", "label": "float"})
    with pytest.raises(InputError) as error:
        make_task(TASK, tokenizer).read([path], None, True)
    assert "row 1: label: expected a finite number, found nan" in str(error.value)
    assert "row 2: label: expected a finite number, found inf" in str(error.value)
    assert "row 3: label: is missing" in str(error.value)


def test_unknown_labels_in_evaluation(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task, _ = read(tmp_path, tokenizer, ["a", "b"])
    path = write_lines(tmp_path / "eval.jsonl", [{"text": "a", "label": label} for label in ["a", "c", "c", "c", "d"]])
    with pytest.raises(InputError) as error:
        task.read([path], None, False)
    assert f"{path}, row 1: label 'c' (and in 2 rows more): expected one of a, b" in str(error.value)
    assert f"{path}, row 4: label 'd': expected one of a, b" in str(error.value)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"text": " \t"}, "row 1: text: is blank"),
        ({"text": ""}, "row 1: text: is empty"),
        ({"text": 7}, "row 1: text: expected a text, found int"),
        ({"text": None, "label": None}, "row 1: text: expected a text, found nothing; label: is missing"),
        ({"text": "a", "text_pair": ["b"]}, "row 1: text_pair: expected a text, found list"),
        ({"sentence": "a"}, "row 1: no column 'text'"),
        ("not json", "row 1: not valid JSON"),
    ],
)
def test_bad_rows(tmp_path: Path, tokenizer: DistilBertTokenizer, row: Any, expected: str) -> None:
    line = row if isinstance(row, str) else json.dumps({"label": "x", **row})
    path = write_text(tmp_path / "a.jsonl", f'{{"text": "a", "label": "y"}}\n{line}\n')
    with pytest.raises(InputError, match=expected):
        make_task(TASK, tokenizer).read([path], None, True)


def test_all_that_is_wrong_in_all_files_is_told_at_once(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    paths = [
        write_text(tmp_path / name, "text,label\n" + ",x\n" * count) for name, count in (("a.csv", 15), ("b.csv", 9))
    ]
    empty = write_text(tmp_path / "c.csv", "text,label\n")
    with pytest.raises(InputError) as error:
        make_task(TASK, tokenizer).read([*paths, empty], None, True)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("data: 25 problems")
    assert [len(lines), lines[-1]] == [22, "  - and 5 more"]
    with pytest.raises(InputError, match="c.csv: holds no rows"):
        make_task(TASK, tokenizer).read([empty], None, True)


def test_wrong_columns_are_named(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    path = write_text(tmp_path / "a.csv", "sentence,score\na,1\n")
    with pytest.raises(InputError) as error:
        make_task(TASK, tokenizer, column=["text=sentense"]).read([path], None, True)
    assert "text: no column 'sentense'; found 'sentence', 'score'" in str(error.value)
    assert "label: no column 'label'" in str(error.value)


def test_a_second_text_that_is_named_must_be_there(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": "a", "more": "b", "label": number} for number in range(2)])
    task = make_task(TASK, tokenizer, column=["text_pair=mroe"])
    with pytest.raises(InputError, match="text_pair: no column 'mroe'; found 'text', 'more', 'label'; say --column"):
        task.read([path], None, True)
    examples = make_task(TASK, tokenizer, column=["text_pair=more"]).read([path], None, True)
    assert examples.lengths.tolist() == [5, 5]


def test_texts_and_pairs_are_cut_and_padded(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    rows = [
        {"text": "a b c", "text_pair": "d", "label": 0},
        {"text": "a b", "text_pair": "", "label": 1},
        {"text": "a b c d e f a b", "text_pair": "e f a b", "label": 1},
    ]
    task = make_task(TASK, tokenizer, max_seq_length=8)
    examples = task.read([write_lines(tmp_path / "a.jsonl", rows)], None, True)
    assert examples.lengths.tolist() == [7, 4, 8]
    batch = task.collate(examples, np.array([1, 0]), 7, None)
    expected = tokenizer("a b", padding="max_length", max_length=7)["input_ids"]
    assert batch["input_ids"][0].tolist() == expected
    assert batch["input_ids"][1].tolist() == tokenizer("a b c", "d")["input_ids"]
    assert batch["attention_mask"].tolist() == [[1] * 4 + [0] * 3, [1] * 7]
    assert batch["labels"].tolist() == [1, 0]
    assert batch["weights"].tolist() == [1, 1]
    assert (
        examples.ids[2].tolist()
        == tokenizer(rows[2]["text"], rows[2]["text_pair"], truncation=True, max_length=8)["input_ids"]
    )


def test_a_limit_counts_over_all_files(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    paths = [write_text(tmp_path / f"{name}.csv", "text,label\na,x\nb,y\n") for name in "ab"]
    assert len(make_task(TASK, tokenizer).read(paths, 3, True)) == 3
    assert len(make_task(TASK, tokenizer).read(paths, None, True)) == 4


def test_metrics(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    task, examples = read(tmp_path, tokenizer, ["a", "b", "b"])
    answers = [SequenceClassifierOutput(logits=np.array(logits)) for logits in ([2.0, 1], [0, 1], [1, 0])]
    assert task.score(examples, answers)["accuracy"] == pytest.approx(2 / 3)
    task, examples = read(tmp_path, tokenizer, [["a"], ["a", "b"]])
    answers = [SequenceClassifierOutput(logits=np.array(logits)) for logits in ([2.0, -1], [-1, 1])]
    assert task.score(examples, answers)["f1_micro"] == pytest.approx(0.8)
    task, examples = read(tmp_path, tokenizer, [0.5, 1, 2])
    answers = [SequenceClassifierOutput(logits=np.array([value])) for value in (1.0, 2, 3)]
    assert task.score(examples, answers)["spearmanr"] == pytest.approx(1)


def test_longer_than_the_model_takes(tokenizer: DistilBertTokenizer) -> None:
    with pytest.raises(InputError, match="max_seq_length: the model takes at most 64 tokens, found 128"):
        make_task(TASK, tokenizer, DistilBertConfig(max_position_embeddings=64), max_seq_length=128)
    assert make_task(TASK, tokenizer, DistilBertConfig(max_position_embeddings=64)).max_length == 64
    assert make_task(TASK, tokenizer, DistilBertConfig(max_position_embeddings=512)).max_length == 128


def test_sst2_and_stsb_are_read_as_they_are(data_folder: Path) -> None:
    tokenizer = DistilBertTokenizer(data_folder / "vocab" / "bert-base-uncased" / "vocab.txt")
    task = make_task(TASK, tokenizer, column=["text=sentence", "label=label"])
    sst2 = data_folder / "sst2_glue"
    parts = task.files([str(sst2 / "train_part1.tsv"), str(sst2 / "train_part2.tsv")])
    assert task.read(parts, 3000, True).labels.mean() == pytest.approx(0.55, abs=0.05)
    assert np.bincount(task.read([sst2 / "dev_official_872.tsv"], None, False).labels).tolist() == [428, 444]
    task = make_task(TASK, tokenizer, column=["text=sentence1", "text_pair=sentence2", "label=score"])
    train, dev = (data_folder / "glue_stsb" / f"{name}.tsv" for name in ("train", "dev"))
    assert len(task.read([train], None, True)) == 5749
    assert len(task.read([dev], None, False)) == 1500
    with pytest.raises(InputError, match="label: no column 'score'"):
        task.read([data_folder / "glue_stsb" / "test.tsv"], None, False)
