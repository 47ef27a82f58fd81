# SPDX-License-Identifier: Apache-2.0
"""tables: what is read from text files, and what is set aside with which number and reason."""

from __future__ import annotations

import gzip
import io
import sys
from types import SimpleNamespace

import pytest

from distilbert.errors import FileError
from distilbert.tables import count_rows, delimited, read_columns, read_rows

GOOD = None


def outcome(path, format=None, **more):
    """Each row's values, or the reason why it is bad; the numbers must be in order and agree with the count."""
    rows = list(read_rows(path, format, **more))
    first = more.get("start", 0)
    assert [row.number for row in rows] == list(range(first, first + len(rows)))
    assert all((row.values is None) != (row.problem is None) for row in rows)
    if str(path) != "-":
        limit = {"limit": more["limit"]} if "limit" in more else {}
        assert count_rows(path, format, **limit) == first + len(rows)
    return [row.problem if row.values is None else row.values for row in rows]


def file(folder, content, name="a.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_rfc_4180(tmp_path):
    content = '\ufeffid,"the ""text"""\r\n1,"a,b"\r\n\r\n2,"two\r\nlines"\r\n3,5" pipe\r\n4,\r\n5,"日本 🎉"'
    texts = ["a,b", "two\r\nlines", '5" pipe', "", "日本 🎉"]
    expected = [{"id": str(n), 'the "text"': text} for n, text in enumerate(texts, 1)]
    assert outcome(file(tmp_path, content)) == expected
    assert outcome(file(tmp_path, gzip.compress(content.encode()), "a.csv.gz")) == expected
    tabs = content.replace(",", "\t").replace("a\tb", "a,b")
    assert outcome(file(tmp_path, tabs, "a.tsv")) == expected
    assert read_columns(tmp_path / "a.tsv") == ["id", 'the "text"']


QUOTE = "a quote is opened and not closed"
AFTER = "text after a closing quote"
LONG = "longer than 40 bytes"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"1,a\n2\n3,c\n", ["a", "1 field, but the header has 2", "c"]),
        (b"1,a\n2,b,x\n3,c\n", ["a", "3 fields, but the header has 2", "c"]),
        (b'1,"a\nb",x\n3,c\n', ["3 fields, but the header has 2", "c"]),
        (b"1,a\n2,\xff\n3,c\n", ["a", "not UTF-8 (byte 0xff)", "c"]),
        (b'1,"a\n\xed\xa0\x80"\n3,c\n', ["not UTF-8 (byte 0xed)", "c"]),
        (b"1,a\n2,\0\n3,c\n", ["a", "a NUL character", "c"]),
        (b"1,a\n2,b\rb\n3,c\n", ["a", "a carriage return outside quotes", "c"]),
        (b'1,a\n2,"b"b\n3,c\n', ["a", AFTER, "c"]),
        (b'1,a\n2,"b\n3,c\n4,d\n', ["a", QUOTE, "c", "d"]),
        (b'1,a\n2,"b\n3,c\n4,"d"\n5,e\n', ["a", AFTER, "c", "d", "e"]),
        (b'1,a\n2,"b\n3,"c\n4,"d\n5,e\n', ["a", AFTER, AFTER, QUOTE, "e"]),
        (b'1,a\n2,"b\n3,"c\nd"\n4,e\n', ["a", AFTER, "c\nd", "e"]),
        (b'1,a\n2,"', ["a", QUOTE]),
        (b"1,a\n2," + b"b" * 100 + b"\n3,c\n", ["a", LONG, "c"]),
        (b"1,a\n2," + b"b" * 100, ["a", LONG]),
        (b'1,"' + b"a\n" * 5 + b'"\n2,b', ["a\n" * 5, "b"]),
        (b'1,"a\n' + b"2,bbbbbbbbb\n" * 4 + b"3,c\n", [LONG + " (is a quote left open?)", *["b" * 9] * 4, "c"]),
        (b'1,"a\n' + b"b" * 100 + b"\n3,c\n", [LONG + " (is a quote left open?)", LONG, "c"]),
        (b"", []),
        (b"\n\r\n", []),
    ],
)
def test_bad_rows_of_csv(tmp_path, body, expected):
    found = outcome(file(tmp_path, b"id,text\n" + body), limit=40)
    assert [row if isinstance(row, str) else row["text"] for row in found] == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[1]", "expected a JSON object, found an array"),
        (b'"a"', "expected a JSON object, found a string"),
        (b"null", "expected a JSON object, found null"),
        (b'{"text": "a"', "not valid JSON (Expecting ',' delimiter at character 12)"),
        (b'{"text": "a"} {}', "not valid JSON (Extra data at character 14)"),
        (b'{"text": "a", "text": "b"}', "not valid JSON (the same key twice in one object)"),
        (b'{"text": NaN}', "not valid JSON (NaN is no JSON number)"),
        (b'{"text": "\xff"}', "not UTF-8 (byte 0xff)"),
        (b'{"text": "\\ud83d"}', "half a surrogate pair, which is no character"),
        (b'{"other": 1}', "no column 'text'"),
        (b'{"text": "' + b"b" * 5000 + b'"}', "longer than 4,000 bytes"),
        (b"[" * 3000, "JSON nested too deeply"),
        (b"1" * 3000, "expected a JSON object, found a number"),
        (b"\0", "not valid JSON (Expecting value at character 0)"),
    ],
)
def test_bad_rows_of_json_lines(tmp_path, line, reason):
    good = '{"text": "\\ud83c\\udf89 \u2028", "x": [1, null]}'.encode()
    path = file(tmp_path, b"\n".join([good, b"", line, b" \r", good]), "a.jsonl")
    expected = {"text": "🎉 \u2028"}
    assert outcome(path, columns=["text"], limit=4000) == [expected, reason, expected]


def test_columns_of_json_lines_are_each_row_s_own(tmp_path):
    path = file(tmp_path, '\ufeff{"a": 1}\r\n{"b": {"c": [2.5, true]}}', "a.ndjson")
    assert outcome(path) == [{"a": 1}, {"b": {"c": [2.5, True]}}]
    assert read_columns(path) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty; expected a first line"),
        (b"\n\n", "empty; expected a first line"),
        (b"a,b,a\n1,2,3\n", "the same column name twice: 'a'"),
        ("a,b".encode("utf-16"), r"the header cannot be read: not UTF-8 \(byte 0xff\)"),
        (b"a,b\r1,2\r", "the header cannot be read: a carriage return outside quotes"),
        (b'a,"b\n1,2\n', "the header cannot be read: a quote is opened"),
        (b"c,d\n1,2\n", "no column 'b'; found 'c', 'd'"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, content, message):
    path = file(tmp_path, content)
    with pytest.raises(FileError, match=message) as caught:
        list(read_rows(path, columns=["b"]))
    assert str(caught.value).startswith(str(path))


def test_missing_files_and_formats(tmp_path):
    with pytest.raises(FileError, match="cannot be read .No such file"):
        list(read_rows(tmp_path / "absent.csv"))
    with pytest.raises(FileError, match="expected a regular file, found a folder"):
        list(read_rows(tmp_path, "jsonl"))
    with pytest.raises(FileError, match="unknown suffix; expected one of .csv"):
        read_rows("a.txt")
    with pytest.raises(FileError, match="unknown suffix"):
        read_rows("a.parquet.gz")
    with pytest.raises(FileError, match="expected one of the formats csv, .*; found 'xml'"):
        read_rows("a.csv", "xml")


def test_a_cut_off_gzip_gives_its_rows_first(tmp_path):
    lines = [b"id,text\n", *(b"%d,%x\n" % (n, hash((n, 7)) & (1 << 60) - 1) for n in range(50_000))]
    whole = gzip.compress(b"".join(lines))
    path = file(tmp_path, whole[: len(whole) // 2], "a.csv.gz")
    seen = []
    with pytest.raises(FileError, match="the gzip file is cut off"):
        seen.extend(read_rows(path))  # extend keeps what came before the error
    assert len(seen) > 20_000
    assert [row.values["id"] for row in seen] == [str(n) for n in range(len(seen))]
    with pytest.raises(FileError, match="cut off"):
        count_rows(path)
    damaged = bytearray(whole)
    damaged[-6] ^= 1
    with pytest.raises(FileError, match="cannot be read .CRC check failed"):
        count_rows(file(tmp_path, bytes(damaged), "b.csv.gz"))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input(monkeypatch, pack):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(pack(b"id,text\n1,a\n2\n"))))
    assert outcome("-", "csv") == [{"id": "1", "text": "a"}, "1 field, but the header has 2"]
    with pytest.raises(FileError, match="cannot be counted"):
        count_rows("-", "csv")
    with pytest.raises(FileError, match="say which format"):
        read_rows("-")


def test_columns_are_chosen_and_ordered(tmp_path):
    path = file(tmp_path, "a,b,c\n1,2,3\n")
    (row,) = outcome(path, columns=["c", "a"])
    assert list(row.items()) == [("c", "3"), ("a", "1")]


@pytest.mark.parametrize("start", [0, 1, 2, 5, 6, 99])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_start_equals_skipping(tmp_path, name, start):
    lines = ['{"a": 1}', "", "[]", '{"a": 2}', "{", '{"a": 3}', "{}"] if name == "a.jsonl" else []
    content = "\n".join(lines or ["a,b", '1,"x\ny"', "2", "", '3,"', "4,d", "5,e", "6,f"])
    path = file(tmp_path, content, name)
    assert list(read_rows(path, start=start)) == list(read_rows(path))[start:]


def test_reading_stays_linear_however_the_quotes_are_left_open(tmp_path, monkeypatch):
    """Each line opens a quote in or outside of quotes: tried naively, that is a pass over the file for every row."""
    path = file(tmp_path, b"id,text\n" + b'x",",\n' * 3000)
    given = []
    plain = delimited._Feed.__next__
    monkeypatch.setattr(delimited._Feed, "__next__", lambda feed: given.append(1) or plain(feed))
    assert set(outcome(path)) == {QUOTE}
    assert len(given) < 2 * 3 * 3010  # read and counted


def test_tsv_takes_quotes_as_they_stand_where_they_make_no_sense(tmp_path):
    path = tmp_path / "glue.tsv"
    lines = [
        "a\tb",
        '"open\t1',  # no quote closes it
        "x\t2",
        '"said" he\t3',
        '"one\ttwo"',  # as CSV a single field
        '"tab\tinside"\t4',  # a quoted field, as `write_rows` writes it
        'three\tfields\t"here',
        "y\t5",
    ]
    path.write_text("\n".join(lines) + "\n")
    rows = list(read_rows(path))
    assert [row.number for row in rows] == list(range(7))
    assert [row.values and tuple(row.values.values()) for row in rows] == [
        ('"open', "1"),
        ("x", "2"),
        ('"said" he', "3"),
        ('"one', 'two"'),
        ("tab\tinside", "4"),
        None,
        ("y", "5"),
    ]
    assert rows[5].problem == "a quote is opened and not closed"
    assert count_rows(path) == 7
    csv = tmp_path / "glue.csv"
    csv.write_text(path.read_text().replace("\t", ","))
    assert [row.values is None for row in read_rows(csv)] == [True, False, True, True, False, True, False]


def test_dates_beyond_the_calendar_spoil_their_row_only(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    column = arrow.array([0, 10**15, 0], arrow.timestamp("ms"))
    parquet.write_table(arrow.table({"at": column}), tmp_path / "a.parquet")
    assert [row.values is None for row in read_rows(tmp_path / "a.parquet")] == [False, True, False]
