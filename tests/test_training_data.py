# SPDX-License-Identifier: Apache-2.0
"""Rows to learn from: which files and formats are meant, CoNLL, SQuAD and plain text, and how problems are told."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert.errors import FileError, InputError
from distilbert.training.data import Place, Problems, find_files, format_of, read_columns, read_rows
from distilbert.training.data.growing import GrowingRagged

from .task_samples import write_lines, write_text

PARAGRAPH = {"context": "a b c", "qas": [{"question": "a", "answers": [{"text": "b", "answer_start": 2}]}]}


def rows(path: Path, format: str) -> list[Any]:
    return [row.values if row.problem is None else row.problem for row in read_rows(path, format, None)]


@pytest.mark.parametrize(
    ("name", "format", "known", "expected"),
    [
        ("a.csv", None, ("conll",), "csv"),
        ("a.TSV.gz", None, (), "tsv"),
        ("a.conll", None, ("conll",), "conll"),
        ("a.txt", None, ("conll",), "conll"),
        ("a.txt.gz", None, ("text",), "text"),
        ("a.json", None, ("squad",), "squad"),
        ("a.json", "jsonl", ("squad",), "jsonl"),
        ("a.csv", "squad", ("squad",), "squad"),
    ],
)
def test_format(name: str, format: str | None, known: tuple[str, ...], expected: str) -> None:
    assert format_of(Path(name), format, known) == expected


@pytest.mark.parametrize(
    ("name", "format", "expected"),
    [
        ("a.txt", None, "unknown suffix"),
        ("a.csv", "conll", "expected one of the formats csv, .*squad; found 'conll'"),
        ("-", "csv", "standard input can be read only once"),
    ],
)
def test_no_format(name: str, format: str | None, expected: str) -> None:
    with pytest.raises(FileError, match=expected):
        format_of(Path(name), format, ("squad",))


def test_files_of_folders_and_patterns_each_once(tmp_path: Path) -> None:
    wanted = [write_text(tmp_path / name, "a\tO\n") for name in ("a.conll", "b.conll")]
    write_text(tmp_path / "notes.md", "")
    assert find_files([str(tmp_path)], None, ("conll",)) == wanted
    assert find_files([str(wanted[1]), str(tmp_path / "*.conll")], None, ("conll",)) == wanted[::-1]


def test_what_is_wrong_with_files_is_told_at_once(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", "text,label\na,b\n")
    write_text(tmp_path / "b.csv", "text\na\n")
    write_text(tmp_path / "c.md", "")
    with pytest.raises(FileError) as error:
        find_files([str(tmp_path / name) for name in ("a.csv", "b.csv", "c.md", "d.csv")], None, ("conll",))
    assert [word in str(error.value) for word in ("b.csv: unequal", "no column 'label'", "c.md: unknown", "d.csv")] == [
        True
    ] * 4


def test_conll(tmp_path: Path) -> None:
    text = "\ufeff-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n\nNew York\tB-LOC\n \t \n.\tO\r\n"
    path = write_text(tmp_path / "a.conll", text)
    assert rows(path, "conll") == [
        {"tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"]},
        {"tokens": ["New York"], "tags": ["B-LOC"]},
        {"tokens": ["."], "tags": ["O"]},
    ]
    assert read_columns(path, "conll") == ["tokens", "tags"]


def test_bad_lines_of_conll_cost_their_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_bytes(b"a O\nb\nc O\n\nd O\n\n\xff O\n\ne\t\n\nf O")
    found = rows(path, "conll")
    assert [found[1], found[4]] == [{"tokens": ["d"], "tags": ["O"]}, {"tokens": ["f"], "tags": ["O"]}]
    assert found[0] == "line 2: expected a word and its tag, found 'b'"
    assert found[2] == "line 7: not UTF-8 (byte 0xff)"
    assert found[3].startswith("line 9: expected a word and its tag")


def test_wnut17_has_its_published_size(data_folder: Path) -> None:
    counts = [len(rows(data_folder / "wnut17" / f"{name}.conll", "conll")) for name in ("train", "dev", "test")]
    assert counts == [3394, 1009, 1287]


def test_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"\n a b \r\n\n\xff\nc"))
    found = list(read_rows(path, "text", ["text"]))
    assert [row.number for row in found] == [1, 3, 4]
    assert [row.values for row in found] == [{"text": "a b"}, None, {"text": "c"}]
    assert found[1].problem == "not UTF-8 (byte 0xff)"


def test_squad(tmp_path: Path) -> None:
    impossible = {"question": "b", "is_impossible": True, "answers": [], "plausible_answers": [{}]}
    paragraph = {**PARAGRAPH, "qas": [*PARAGRAPH["qas"], impossible]}
    path = write_text(tmp_path / "a.json", json.dumps({"version": "v2.0", "data": [{"paragraphs": [paragraph]}]}))
    assert rows(path, "squad") == [
        {"question": "a", "context": "a b c", "answers": [{"text": "b", "answer_start": 2}]},
        {"question": "b", "context": "a b c", "answers": []},
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"rows": []}, "a.json: data: expected 'data', found 'rows'"),
        ({"data": {}}, "a.json: data: data: expected a list, found dict"),
        ({"data": [1]}, r"data\[0\]: expected an object, found int"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, r"data\[0\].paragraphs\[0\]: expected 'context', found 'qas'"),
        ({"data": [{"paragraphs": [{**PARAGRAPH, "qas": [{"question": "a"}]}]}]}, r"qas\[0\]: expected 'answers'"),
    ],
)
def test_what_is_no_squad(tmp_path: Path, value: Any, expected: str) -> None:
    path = write_text(tmp_path / "a.json", json.dumps(value))
    with pytest.raises(FileError, match=expected):
        rows(path, "squad")


def test_squad_dev_has_all_questions(data_folder: Path) -> None:
    assert len(rows(data_folder / "squad_v1.1_dev" / "dev-v1.1.json", "squad")) == 10_570


def test_tables_are_read_as_elsewhere(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": "a", "label": 1}])
    assert rows(path, "jsonl") == [{"text": "a", "label": 1}]
    assert read_columns(path, "jsonl") is None


def test_problems_are_counted_and_the_first_told() -> None:
    problems = Problems()
    problems.check()
    problems.add(Place(Path("a.csv"), 3), "text: is empty")
    with pytest.raises(InputError, match=r"^a.csv, row 3: text: is empty$"):
        problems.check()
    for row in range(1200):
        problems.add(Place(Path("b.csv"), row), "text: is blank")
    with pytest.raises(InputError) as error:
        problems.check()
    lines = str(error.value).splitlines()
    assert lines[0] == "data: 1,201 problems (rows count from 0)"
    assert lines[1:3] == ["  - a.csv, row 3: text: is empty", "  - b.csv, row 0: text: is blank"]
    assert lines[21:] == ["  - and 1,181 more"]


def test_growing_arrays() -> None:
    growing = GrowingRagged()
    assert len(growing.done()) == 0
    growing.extend([[1, 2], []])
    growing.extend([])
    growing.extend([[3]])
    found = growing.done()
    assert [list(found[row]) for row in range(3)] == [[1, 2], [], [3]]
    assert found.values.dtype == np.int32
