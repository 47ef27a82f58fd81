# SPDX-License-Identifier: Apache-2.0
"""predict_files: every row with its result or set aside with the reason; resumed runs end with the same bytes."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import distilbert
from distilbert import predict_files
from distilbert.demo import MODEL
from distilbert.errors import AnswerError, DistilBertError, FileError, InputError
from distilbert.predict import workplace
from distilbert.predict.run import Silence
from distilbert.tables import FORMATS, kinds, read_rows, write_rows

from .pipeline_samples import AWKWARD, assert_same

TASK = "text-classification"
TEXTS = [f"number {number} is a {word} film" for number in range(9) for word in ("good", "bad", "very long and dull")]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    write_rows(path, None, rows)
    return path


def rows_in(path: Path) -> list[dict[str, Any]]:
    return [row.values for row in read_rows(path) if row.values is not None]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "in.csv", [{"id": str(n), "text": text} for n, text in enumerate(TEXTS)])


@pytest.mark.parametrize("backend", ["pt", "tf", "flax"])
def test_results_are_those_of_the_pipeline(source: Path, tmp_path: Path, backend: str) -> None:
    pytest.importorskip({"pt": "torch", "tf": "tensorflow", "flax": "flax"}[backend])
    target = tmp_path / "out.jsonl"
    summary = predict_files(TASK, MODEL, source, target, backend=backend, shard_rows=10)
    assert (summary.rows, summary.resumed, summary.rejected, summary.rejects) == (len(TEXTS), 0, 0, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.jsonl"]
    found = rows_in(target)
    assert [(row["id"], row["text"]) for row in found] == [(str(n), text) for n, text in enumerate(TEXTS)]
    expected = distilbert.pipeline(TASK, MODEL, backend=backend)(TEXTS)
    assert_same([{"label": row["label"], "score": row["score"]} for row in found], expected)


@pytest.mark.parametrize(("first", "second"), list(itertools.product(FORMATS, repeat=2)))
def test_every_format_to_every_format(tmp_path: Path, first: str, second: str) -> None:
    source = write(tmp_path / f"in.{first}", [{"id": n, "text": text} for n, text in enumerate(TEXTS)])
    target = tmp_path / f"out.{second}"
    predict_files(TASK, MODEL, source, target, backend="pt", shard_rows=10)
    is_text = second in ("csv", "tsv")
    kept = str if is_text or first in ("csv", "tsv") else int
    found = rows_in(target)
    assert [row["id"] for row in found] == [kept(n) for n in range(len(TEXTS))]
    assert {type(row["score"]) for row in found} == {str if is_text else float}
    assert list(found[0]) == ["id", "text", "label", "score"]


def test_rows_that_cannot_be_worked_on_are_set_aside(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(kinds, "SAMPLE_ROWS", 5)  # what comes after these is not known beforehand
    lines = [
        '{"text": "good"}',
        "nonsense",
        '{"text": 5}',
        '{"other": "good"}',
        '{"text": "' + "long " * 600 + '"}',
        '{"text": "bad", "label": "mine"}',
        '{"text": "bad", "note": "of \\u0000"}',
        '{"text": "fine"}',
    ]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("\n".join(lines))
    summary = predict_files(TASK, MODEL, source, target, backend="pt", shard_rows=3)
    rejects = rows_in(tmp_path / "out.jsonl.rejects.jsonl")
    assert (summary.rows, summary.rejected) == (8, 5)
    assert summary.rejects == tmp_path / "out.jsonl.rejects.jsonl"
    assert [row["text"] for row in rows_in(target)] == ["good", "bad", "fine"]
    reasons = {row["row"]: row["reason"] for row in rejects}
    assert list(reasons) == [1, 2, 3, 4, 5]
    assert reasons[1].startswith("not valid JSON")
    assert reasons[2] == "text: expected str, found int"
    assert reasons[3] == "no column 'text'"
    assert reasons[4].endswith("use truncation=True")
    assert reasons[5] == "has columns that the results are called: 'label'"
    assert rejects[1] == {"file": str(source), "row": 2, "reason": reasons[2], "values": {"text": 5}}
    assert rejects[0]["values"] is None

    # What one format cannot hold is set aside too, and an output of no rows is an output.
    predict_files(TASK, MODEL, source, tmp_path / "out.csv", backend="pt", keep=["text", "note"])
    reasons = {row["row"]: row["reason"] for row in rows_in(tmp_path / "out.csv.rejects.jsonl")}
    assert reasons[6] == "column 'note': cannot be written: a NUL character"
    source.write_text("nonsense\n")
    predict_files(TASK, MODEL, source, target, backend="pt", overwrite=True)
    assert target.read_bytes() == b""


@pytest.mark.parametrize("backend", ["pt", "tf", "flax"])
def test_answers_that_are_no_numbers_are_set_aside(source: Path, tmp_path: Path, backend: str) -> None:
    pytest.importorskip({"pt": "torch", "tf": "tensorflow", "flax": "flax"}[backend])
    broken = tmp_path / "broken"
    shutil.copytree(MODEL, broken)
    words = distilbert.DistilBertTokenizer.from_pretrained(MODEL)
    tensors = load_file(broken / "model.safetensors")
    name = "distilbert.embeddings.word_embeddings.weight"
    tensors[name][words.convert_tokens_to_ids("good")] = np.nan  # what one word leads to is no number
    save_file(tensors, broken / "model.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are such weights
        summary = predict_files(TASK, broken, source, tmp_path / "out.csv", backend=backend)
        pipe = distilbert.pipeline(TASK, broken, backend=backend)
    assert summary.rejects is not None
    rejects = rows_in(summary.rejects)
    broken_rows = [n for n, text in enumerate(TEXTS) if "good" in text]
    found_rows = [row["row"] for row in rejects]
    # In compiled code texts share rows with others, and an attention weight of 0 times NaN is NaN.
    assert found_rows == broken_rows if backend == "pt" else set(found_rows) >= set(broken_rows)
    assert {row["reason"] for row in rejects} == {
        "the model's answer has numbers that are not finite (NaN or infinity)"
    }
    with pytest.raises(AnswerError, match=r"input \d: the model's answer has numbers that are not finite"):
        pipe(["bad", "good", "bad"])


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_texts(tmp_path: Path, name: str) -> None:
    source = write(tmp_path / "in.jsonl", [{"text": AWKWARD[name]}])
    target = tmp_path / "out.jsonl"
    predict_files(TASK, MODEL, source, target, backend="pt", options={"truncation": True})
    assert rows_in(target)[0]["text"] == AWKWARD[name]


class Stop(Exception):
    """Raised in the middle of a run."""


@pytest.mark.parametrize(
    "suffix", ["csv", "jsonl", "parquet", *(pytest.param(one, marks=pytest.mark.slow) for one in ("arrow", "csv.gz"))]
)
def test_a_run_cut_short_is_gone_on_with(source: Path, tmp_path: Path, suffix: str) -> None:
    whole, target = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    bad = write(tmp_path / "more.csv", [{"id": "x", "text": "long " * 600}] * 3)
    arguments: dict[str, Any] = {"backend": "pt", "shard_rows": 4}
    predict_files(TASK, MODEL, [source, bad], whole, **arguments)

    class Cut(Silence):
        """Ends the run after some rows, and remembers what it was told."""

        def __init__(self, rows: int) -> None:
            self.left = rows
            self.told: tuple[int, int] | None = None

        def begin(self, total: int, done: int) -> None:
            self.told = (total, done)

        def advance(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise Stop

    resumed = []
    for rows in (2, 9, 6, 10):  # the first of these finishes no shard
        progress = Cut(rows)
        with pytest.raises(Stop):
            predict_files(TASK, MODEL, [source, bad], target, progress=progress, **arguments)
        assert not target.exists()
        resumed.append(progress.told)
    assert resumed == [(30, 0), (30, 0), (30, 8), (30, 12)]
    summary = predict_files(TASK, MODEL, [source, bad], target, **arguments)
    assert (summary.rows, summary.resumed, summary.rejected) == (30, 20, 3)
    assert target.read_bytes() == whole.read_bytes()
    rejects = [path.with_name(path.name + ".rejects.jsonl").read_bytes() for path in (whole, target)]
    assert rejects[0] == rejects[1]
    assert not list(tmp_path.glob("*.parts"))


def test_parts_of_another_run_are_not_mixed(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    parts = tmp_path / "out.csv.parts"
    predict_files(TASK, MODEL, source, target, backend="pt", shard_rows=10)
    expected = target.read_bytes()
    with pytest.raises(FileError, match="out.csv: exists; say --overwrite"):
        predict_files(TASK, MODEL, source, target, backend="pt")
    target.unlink()

    real = workplace.join_files
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workplace, "join_files", lambda *arguments: (_ for _ in ()).throw(Stop()))
        with pytest.raises(Stop):
            predict_files(TASK, MODEL, source, target, backend="pt", shard_rows=9)
    assert workplace.join_files is real
    assert len(list(parts.glob("part-*"))) == 3
    with pytest.raises(FileError, match=r"parts of another run; .*\n(.*\n)*.*shard_rows: was 9, is now 10") as caught:
        predict_files(TASK, MODEL, source, target, backend="pt", shard_rows=10, options={"truncation": True})
    assert 'options: was {}, is now {"truncation": true}' in str(caught.value)
    source.touch()
    with pytest.raises(FileError, match="parts of another run; .*inputs: was"):
        predict_files(TASK, MODEL, source, target, backend="pt", shard_rows=9)
    predict_files(TASK, MODEL, source, target, backend="pt", shard_rows=10, overwrite=True)
    assert target.read_bytes() == expected


def test_two_runs_do_not_work_on_one_output(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"

    class Second(Silence):
        def advance(self) -> None:
            with pytest.raises(FileError, match=r"out.csv: another run is at work on it"):
                predict_files(TASK, MODEL, source, target, backend="pt")
            raise Stop

    with pytest.raises(Stop):
        predict_files(TASK, MODEL, source, target, backend="pt", progress=Second())
    assert not list(tmp_path.glob("out*"))  # nothing was finished, so nothing is left


def test_columns(tmp_path: Path) -> None:
    rows = [{"sentence": "good", "label": "1", "more": "x"}]
    source, target = write(tmp_path / "in.csv", rows), tmp_path / "out.csv"
    with pytest.raises(InputError, match="text: no column 'text'; found 'sentence', 'label', 'more'; say --column"):
        predict_files(TASK, MODEL, source, target)
    for columns, message in (
        (["sentence", "text=more"], "text is named twice"),
        (["nonsense=more"], "expected FIELD=NAME with a field of text, text_pair"),
        (["text="], "expected FIELD=NAME"),
        (["text_pair=absent", "sentence"], "text_pair: no column 'absent'"),
    ):
        with pytest.raises(InputError, match=message):
            predict_files(TASK, MODEL, source, target, columns=columns)
    with pytest.raises(InputError, match="two columns 'label', .* rename the results with --prefix"):
        predict_files(TASK, MODEL, source, target, columns=["sentence"])
    with pytest.raises(InputError, match="keep: no column 'absent'; found 'sentence', 'label', 'more'"):
        predict_files(TASK, MODEL, source, target, columns=["sentence"], keep=["absent"])
    assert not list(tmp_path.glob("out*"))
    predict_files(TASK, MODEL, source, target, columns=["sentence", "text_pair=more"], prefix="our_", backend="pt")
    assert list(rows_in(target)[0]) == ["sentence", "label", "more", "our_label", "our_score"]
    predict_files(TASK, MODEL, source, target, columns=["sentence"], keep=["more"], backend="pt", overwrite=True)
    assert list(rows_in(target)[0]) == ["more", "label", "score"]
    predict_files(TASK, MODEL, source, target, columns=["sentence"], keep=[], backend="pt", overwrite=True)
    assert list(rows_in(target)[0]) == ["label", "score"]
    only = write(tmp_path / "only.csv", [{"review": "good"}])
    predict_files(TASK, MODEL, only, target, backend="pt", overwrite=True)
    assert list(rows_in(target)[0]) == ["review", "label", "score"]


def test_wrong_arguments_come_before_the_model(source: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("distilbert.loading.load", lambda *arguments: pytest.fail("a model is loaded"))
    for change, message in (
        ({"options": {"top": 3}}, "text-classification options: top: unknown"),
        ({"task": "feature-extraction", "options": {"return_tensors": "np"}}, "return_tensors: a table holds no"),
        ({"task": "ner", "options": {"ignore_labels": {"O"}}}, "options: expected what JSON has too"),
        ({"shard_rows": 0}, "shard_rows: expected at least 1"),
        ({"inputs": tmp_path / "absent.csv"}, "absent.csv: not found"),
        ({"inputs": [source, write(tmp_path / "b.jsonl", [{"text": "a"}])]}, "files of one format, found csv, jsonl"),
        ({"output": tmp_path / "absent" / "out.csv"}, "there is no folder"),
        ({"output": tmp_path / "out.xyz"}, "out.xyz"),
        ({"output": source, "overwrite": True}, "output: would replace an input, .*in.csv"),
        ({"task": "ner"}, "token-classification: .* has no head for this task"),
        ({"task": "summarization"}, "task: expected one of"),
        ({"backend": "caffe"}, "caffe"),
        ({"model": tmp_path}, "config.json|weights"),
    ):
        arguments = {"task": TASK, "model": MODEL, "inputs": source, "output": tmp_path / "out.csv", **change}
        with pytest.raises(DistilBertError, match=message):
            predict_files(**arguments)
        assert not list(tmp_path.glob("out*"))


def test_standard_streams(monkeypatch: Any, capfdbinary: Any) -> None:
    lines = b'{"text": "good"}\n{"text": 3}\n{"text": "bad"}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    aside: list[Any] = []
    summary = predict_files(TASK, MODEL, "-", "-", input_format="jsonl", backend="pt", set_aside=aside.append)
    found = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [(row["text"], row["label"]) for row in found] == [("good", "positive"), ("bad", "negative")]
    assert (summary.rows, summary.rejected, [reject.row for reject in aside]) == (3, 1, [1])


@pytest.mark.parametrize("target", ["csv", "jsonl"])
def test_streams_without_results_are_tables_all_the_same(monkeypatch: Any, capfdbinary: Any, target: str) -> None:
    for lines, aside in ((b"id,text\n", 0), (b"id,text\n1," + b"long " * 600 + b"\n", 1)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
        summary = predict_files(TASK, MODEL, "-", "-", input_format="csv", output_format=target, backend="pt")
        assert (summary.rows, summary.rejected) == (aside, aside)
        assert capfdbinary.readouterr().out == (b"label,score\n" if target == "csv" else b"")


def test_an_input_that_changes_during_the_run_ends_it(source: Path, tmp_path: Path) -> None:
    class Shorten(Silence):
        """Takes rows away once the shards are cut."""

        def begin(self, total: int, done: int) -> None:
            source.write_text("".join(source.read_text().splitlines(keepends=True)[:15]))

    target = tmp_path / "out.csv"
    with pytest.raises(
        FileError, match="in.csv: has changed since the run began: found 4 rows from 10 on, expected 10"
    ):
        predict_files(TASK, MODEL, source, target, backend="pt", shard_rows=10, progress=Shorten())
    assert [path.name for path in (tmp_path / "out.csv.parts").glob("part-*")] == ["part-000000.csv"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_second_text_is_read_from_every_format(tmp_path: Path, suffix: str) -> None:
    source = write(tmp_path / f"in.{suffix}", [{"text": "good", "text_pair": "and bad"}] * 3)
    predict_files(TASK, MODEL, source, tmp_path / "out.jsonl", backend="pt")
    expected = distilbert.pipeline(TASK, MODEL, backend="pt")({"text": "good", "text_pair": "and bad"})
    found = [{"label": row["label"], "score": row["score"]} for row in rows_in(tmp_path / "out.jsonl")]
    assert_same(found, [expected] * 3)


def test_columns_of_bytes_can_be_left_out(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    source = tmp_path / "in.parquet"
    parquet.write_table(arrow.table({"text": ["good"], "picture": [b"\x00"]}), source)
    with pytest.raises(FileError, match="column 'picture': holds bytes"):
        predict_files(TASK, MODEL, source, tmp_path / "out.parquet", backend="pt")
    predict_files(TASK, MODEL, source, tmp_path / "out.parquet", backend="pt", keep=["text"])
    assert list(rows_in(tmp_path / "out.parquet")[0]) == ["text", "label", "score"]


def test_the_command(source: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "distilbert", "predict", "sentiment-analysis", str(MODEL)]
    packed = tmp_path / "in.csv.gz"
    packed.write_bytes(gzip.compress(source.read_bytes()))
    environment = {**os.environ, "DISTILBERT_BACKEND": "pt"}

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=120
        )

    done = call(packed, "-o", tmp_path / "out.jsonl", "--option", "top_k=2", "--keep", "id")
    assert (done.returncode, done.stdout) == (0, "")
    assert "27 rows written to" in done.stderr
    first = rows_in(tmp_path / "out.jsonl")[0]
    assert list(first) == ["id", "labels"]
    assert {entry["label"] for entry in first["labels"]} == {"positive", "negative"}
    wrong = call(packed, "-o", tmp_path / "other.jsonl", "--option", "top_k", "--option", "a=1", "--option", "a=2")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "--option: 2 problems" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_every_task(tmp_path: Path, data_folder: Path) -> None:
    from .pipeline_samples import write_checkpoint

    tasks = {
        "fill-mask": ("masked-lm", {"text": "a [MASK] day"}, {}, {"words": list}),
        "token-classification": ("token-classification", {"text": "in New York"}, {}, {"entities": list}),
        "question-answering": (
            "question-answering",
            {"question": "who ?", "context": "it was Ann ."},
            {},
            {"answer": str, "score": float, "start": int, "end": int},
        ),
        "multiple-choice": (
            "multiple-choice",
            {"prompt": "so", "choices": ["a", "b"]},
            {},
            {"label": int, "choice": str, "score": float},
        ),
        "feature-extraction": ("encoder", {"text": "one"}, {}, {"features": list}),
        "sentence-embedding": ("encoder", {"text": "one"}, {"normalize": True}, {"embedding": list}),
    }
    for task, (model_task, row, options, expected) in tasks.items():
        folder = write_checkpoint(tmp_path / task, data_folder, model_task)
        source, target = write(tmp_path / f"{task}.jsonl", [row]), tmp_path / f"{task}.out.jsonl"
        predict_files(task, folder, source, target, backend="pt", options=options)
        (found,) = rows_in(target)
        assert {name: type(value) for name, value in found.items() if name not in row} == expected
    vector = np.array(rows_in(tmp_path / "sentence-embedding.out.jsonl")[0]["embedding"])
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    choices = write(tmp_path / "choices.csv", [{"prompt": "so", "one": "a", "two": "b", "all": '["a","b"]'}])
    for column in ("choices=one,two", "choices=all"):
        target = tmp_path / f"{column}.csv"
        predict_files("multiple-choice", tmp_path / "multiple-choice", choices, target, columns=[column], backend="pt")
        assert rows_in(target)[0]["choice"] in ("a", "b")
