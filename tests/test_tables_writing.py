# SPDX-License-Identifier: Apache-2.0
"""tables: what is written is read again, the same rows are the same bytes, and failures leave nothing behind."""

from __future__ import annotations

import datetime
import decimal
import gzip
import io
import json
import math
import resource
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distilbert.errors import FileError
from distilbert.tables import FORMATS, columnar_writing, count_rows, join_files, read_rows, write_rows

NAMES = ["a.csv", "a.tsv", "a.jsonl", "a.csv.gz", "a.jsonl.gz", "a.parquet", "a.arrow"]
COLUMNAR = ["a.parquet", "a.arrow"]

AWKWARD = st.sampled_from(
    ['"', '""', ",", "\t", "\n", "\r", "\r\n", "\ufeff", "\u2028", " ", "🎉", "e\u0301", "-", "\\"]
)
TEXT = st.lists(AWKWARD | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=5).map(
    "".join
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT | st.just("\0"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
QUICK = settings(max_examples=25, deadline=None)


@pytest.fixture(autouse=True)
def _pyarrow_where_needed(request):
    if getattr(request.node, "callspec", None) and request.node.callspec.params.get("name") in COLUMNAR:
        pytest.importorskip("pyarrow")


def read(path, **more):
    rows = list(read_rows(path, **more))
    assert count_rows(path) == len(rows)
    assert [row.number for row in rows] == list(range(len(rows)))
    assert not [row.problem for row in rows if row.problem]
    return [row.values for row in rows]


def written(name, rows, **more):
    """The rows written and read again, in a folder that must hold nothing else; and the bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        assert write_rows(path, None, iter(rows), **more) == len(rows)
        assert list(Path(folder).iterdir()) == [path]
        return read(path), path.read_bytes()


def tables_of(cells):
    return st.lists(TEXT, min_size=1, max_size=3, unique=True).flatmap(
        lambda names: st.tuples(
            st.just(names), st.lists(st.fixed_dictionaries(dict.fromkeys(names, cells)), max_size=5)
        )
    )


@pytest.mark.parametrize("name", NAMES)
def test_text_survives(name):
    @QUICK
    @given(tables_of(TEXT))
    def check(table):
        names, rows = table
        found, content = written(name, rows, columns=names)
        assert found == rows
        assert written(name, rows, columns=names)[1] == content

    check()


@QUICK
@given(st.lists(st.dictionaries(TEXT, JSON), max_size=4))
def test_json_survives_in_json_lines(rows):
    found, _ = written("a.jsonl", rows)
    assert json.dumps(found) == json.dumps(rows)  # also the order of keys, and 1 is not true


@pytest.mark.parametrize("name", COLUMNAR)
def test_kinds_survive(name):
    finite = st.floats(width=32, allow_nan=False)
    row = {
        "string": TEXT | st.just("\0"),
        "float": st.floats(allow_nan=False),
        "integer": st.integers(-(2**63), 2**63 - 1),
        "boolean": st.booleans(),
        "json": JSON,
        "vector": st.lists(finite, max_size=3),
    }

    @QUICK
    @given(st.lists(st.fixed_dictionaries({kind: st.none() | cell for kind, cell in row.items()}), max_size=5))
    def check(rows):
        found, _ = written(name, rows, schema={kind: kind for kind in row})
        for values in found:
            values["json"] = None if values["json"] is None else json.loads(values["json"])
        assert found == rows

    check()


VALUES = {
    "none": None,
    "truth": True,
    "integer": -3,
    "float": 0.1,
    "single": np.float32(0.1),
    "count": np.int64(7),
    "vector": np.array([1.5, -2.0], np.float32),
    "list": [1, "zwei", None],
    "mapping": {"a": {"b": [0.5]}},
    "day": datetime.date(2024, 2, 29),
    "decimal": decimal.Decimal("1.10"),
}


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_values_as_fields(name):
    (found,), _ = written(name, [VALUES])
    assert found == {
        "none": "",
        "truth": "true",
        "integer": "-3",
        "float": "0.1",
        "single": "0.10000000149011612",
        "count": "7",
        "vector": "[1.5,-2.0]",
        "list": '[1,"zwei",null]',
        "mapping": '{"a":{"b":[0.5]}}',
        "day": "2024-02-29",
        "decimal": "1.10",
    }


def test_values_as_json():
    _, content = written("a.jsonl", [VALUES])
    assert content == (
        b'{"none":null,"truth":true,"integer":-3,"float":0.1,"single":0.10000000149011612,"count":7,"vector":[1.5,-2.0],'
        b'"list":[1,"zwei",null],"mapping":{"a":{"b":[0.5]}},"day":"2024-02-29","decimal":"1.10"}\n'
    )


@pytest.mark.parametrize("name", COLUMNAR)
def test_values_without_a_schema(name):
    (found, other), _ = written(name, [VALUES, {"float": 2, "integer": None, "list": []}])
    assert found == {
        "none": None,
        "truth": True,
        "integer": -3,
        "float": 0.1,
        "single": float(np.float32(0.1)),
        "count": 7,
        "vector": "[1.5,-2.0]",
        "list": '[1,"zwei",null]',
        "mapping": '{"a":{"b":[0.5]}}',
        "day": "2024-02-29",
        "decimal": "1.10",
    }
    assert other == {**dict.fromkeys(VALUES), "float": 2.0, "list": "[]"}


def test_bytes_of_text_formats(tmp_path):
    rows = [{"a": 'x "y"', "b": None}, {"a": ""}]
    for name, content in {
        "a.csv": b'a,b\n"x ""y""",\n,\n',
        "a.tsv": b'a\tb\n"x ""y"""\t\n\t\n',
        "a.jsonl": b'{"a":"x \\"y\\"","b":null}\n{"a":"","b":null}\n',
    }.items():
        assert write_rows(tmp_path / name, None, rows, ["a", "b"]) == 2
        assert (tmp_path / name).read_bytes() == content
        assert write_rows(tmp_path / f"{name}.gz", None, rows, ["a", "b"]) == 2
        packed = (tmp_path / f"{name}.gz").read_bytes()
        assert gzip.decompress(packed) == content
        assert packed[3:8] == bytes(5)  # neither name nor time
    assert write_rows(tmp_path / "b.csv", None, [{"a": ""}, {"a": None}]) == 2
    assert (tmp_path / "b.csv").read_bytes() == b'a\n""\n""\n'


def test_floats_that_json_does_not_have():
    (found,), _ = written("a.csv", [{"a": math.nan, "b": -math.inf}])
    assert found == {"a": "nan", "b": "-inf"}
    pytest.importorskip("pyarrow")
    (found,), _ = written("a.parquet", [{"a": math.nan, "b": -math.inf}])
    assert math.isnan(found["a"])
    assert found["b"] == -math.inf


def test_standard_output(monkeypatch):
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=io.BytesIO()))
    assert write_rows("-", "csv", [{"a": 1}]) == 1
    assert sys.stdout.buffer.getvalue() == b"a\n1\n"
    with pytest.raises(FileError, match="only text formats"):
        write_rows("-", "parquet", [{"a": 1}])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"a": "\ud83d"}, "row 1: column 'a': cannot be written: half a surrogate pair"),
        ({"a": ["\ud83d"]}, None),
        ({"a": b"x"}, "row 1: column 'a': cannot be written: values of type bytes have no text form"),
        ({"a": "x", "b": 1}, "row 1: no such column 'b'; expected 'a'"),
        ({"a": [math.nan]}, "row 1: column 'a': cannot be written: Out of range float values"),
    ],
)
def test_refused_values_name_their_place_and_leave_nothing(tmp_path, name, row, message):
    path = tmp_path / name
    with pytest.raises(FileError, match=message or "row 1: column 'a': cannot be written: half a surrogate") as caught:
        write_rows(
            path, None, [{"a": "fine"}, row], ["a"], schema={"a": "json" if isinstance(row["a"], list) else "string"}
        )
    assert str(caught.value).startswith(f"{path}: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_nul_has_no_place_in_csv(tmp_path, name):
    with pytest.raises(FileError, match="row 1: column 'b': cannot be written: a NUL character"):
        write_rows(tmp_path / name, None, [{"a": "", "b": ""}, {"a": "", "b": "\0"}])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", COLUMNAR)
@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("integer", 1.5, "expected int, found float"),
        ("integer", True, "expected int, found bool"),
        ("integer", 2**63, "too large"),
        ("float", "1", "expected float or int, found str"),
        ("boolean", 1, "expected bool, found int"),
        ("vector", "1", ""),
        ("vector", ["1"], ""),
    ],
)
def test_values_of_the_wrong_kind(tmp_path, name, kind, value, message):
    rows = [{"a": None}] * 1500 + [{"a": value}]
    with pytest.raises(FileError, match=f"row 1500: column 'a': cannot be written: .*{message}"):
        write_rows(tmp_path / name, None, rows, schema={"a": kind})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_failing_rows_and_failing_disks_leave_what_was_there(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"before")

    def failing():
        yield {"a": "x"}
        raise KeyError("from the rows")

    with pytest.raises(KeyError):
        write_rows(path, None, failing())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # as a full disk: writing on fails
    try:
        with pytest.raises(FileError, match="cannot be written") as caught:
            write_rows(path, None, ({"a": f"{n * 0.7919 % 1}"} for n in range(60_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value).startswith(f"{path}: ")
    assert [inner.name for inner in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize("name", NAMES)
def test_targets_that_cannot_be(tmp_path, name):
    (tmp_path / name).mkdir()
    for target, message in {name: "is a folder", f"absent/{name}": "cannot be written .No such file"}.items():
        with pytest.raises(FileError, match=message):
            write_rows(tmp_path / target, None, [{"a": 1}])
    with pytest.raises(FileError, match="'c': 'text' is none of string(?s:.*)'b': no kind"):
        write_rows(tmp_path / f"b{name}", None, [], ["a", "b"], schema={"a": "json", "c": "text"})
    if "jsonl" not in name:
        with pytest.raises(FileError, match="no columns|neither rows nor columns"):
            write_rows(tmp_path / f"b{name}", None, [])
    assert [inner.name for inner in tmp_path.iterdir()] == [name]


def test_mixed_kinds_need_a_schema(tmp_path):
    pytest.importorskip("pyarrow")
    rows = [{"a": 1}, {"a": "x"}]
    with pytest.raises(FileError, match="column 'a': values of unlike kinds: integer, string; give a schema"):
        write_rows(tmp_path / "a.parquet", None, rows)
    assert written("a.parquet", rows, schema={"a": "json"})[0] == [{"a": "1"}, {"a": '"x"'}]


def sample(number):
    text = "x" * (number * 7 % 50) + '"\n'
    vector = None if number % 7 == 3 else [number / 3, number]
    return {"n": number, "text": None if 1200 < number < 2400 else text, "vector": vector}


@pytest.mark.parametrize("name", NAMES)
def test_joined_files_are_those_written_at_once(tmp_path, name, monkeypatch):
    monkeypatch.setattr(columnar_writing, "GROUP_ROWS", 2000)
    monkeypatch.setattr(columnar_writing, "GROUP_BYTES", 50_000)
    rows = [sample(number) for number in range(5300)]
    schema = {"n": "integer", "text": "string", "vector": "vector"}
    ends = [0, 0, 1, 1001, 1300, 2300, 2300, 4999, 5300, 5300]
    parts = [tmp_path / f"{index}{name}" for index in range(len(ends) - 1)]
    for part, start, end in zip(parts, ends, ends[1:], strict=False):
        write_rows(part, None, rows[start:end], schema=schema)
    write_rows(tmp_path / name, None, rows, schema=schema)
    join_files(parts, tmp_path / f"joined{name}")
    assert (tmp_path / f"joined{name}").read_bytes() == (tmp_path / name).read_bytes()
    assert len(read(tmp_path / f"joined{name}")) == 5300
    join_files(parts[:1], tmp_path / f"empty{name}")
    assert read(tmp_path / f"empty{name}") == []


@pytest.mark.parametrize("name", NAMES)
def test_start_equals_skipping(tmp_path, name, monkeypatch):
    monkeypatch.setattr(columnar_writing, "GROUP_ROWS", 1000)
    path = tmp_path / name
    write_rows(path, None, ({"n": number, "text": "\n"} for number in range(3456)))
    every = list(read_rows(path))
    for start in (1, 999, 1000, 2500, 3455, 3456, 9999):
        assert list(read_rows(path, start=start)) == every[start:]
    assert next(iter(read_rows(path, columns=["text"], start=3000))).values == {"text": "\n"}


def test_parts_that_do_not_fit(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfa,b\r\n1,2")
    (tmp_path / "b.csv").write_bytes(b"\xef\xbb\xbf\na,b\r\n3,4\r\n")
    (tmp_path / "c.csv").write_bytes(b"b,a\n")
    (tmp_path / "d.csv").write_bytes(b"")
    parts = [tmp_path / f"{letter}.csv" for letter in "abcd"]
    join_files(parts[:2], tmp_path / "e.csv")
    assert (tmp_path / "e.csv").read_bytes() == b"a,b\r\n1,2\n3,4\r\n"
    with pytest.raises(
        FileError, match="2 problems(?s:.*)d.csv: empty(?s:.*)c.csv: unequal to .*a.csv: the header is 'b', 'a'"
    ):
        join_files(parts, tmp_path / "f.csv")
    with pytest.raises(FileError, match="no parts"):
        join_files([], tmp_path / "f.csv")
    pytest.importorskip("pyarrow")
    write_rows(tmp_path / "a.parquet", None, [{"a": 1}])
    write_rows(tmp_path / "b.parquet", None, [{"a": "x"}])
    with pytest.raises(FileError, match="unequal schemas: .*b.parquet: unequal to .*a.parquet: a: string"):
        join_files([tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "f.parquet")
    assert not list(tmp_path.glob("f.*"))
    assert not list(tmp_path.glob(".*"))


def test_every_format_is_tried_here():
    assert {name.split(".")[1] for name in NAMES} == set(FORMATS)
