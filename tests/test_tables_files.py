# SPDX-License-Identifier: Apache-2.0
"""tables: finding inputs, Parquet and Arrow files of others, damaged ones, bounded memory, pyarrow absent."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from distilbert.errors import BackendError, FileError
from distilbert.tables import columnar, count_rows, find_inputs, read_columns, read_rows, write_rows


def touch(folder, *names, content="a,b\n"):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def test_find_inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(
        Path(), "b.csv", "a.CSV", "in/2.csv", "in/10.csv", "in/.hidden.csv", "in/deep/x.csv", "in/notes.md", "[x].csv"
    )
    touch(Path(), "other", "in/deep/y.csv", content="b,a\n")
    touch(Path(), "c.tsv", content="b\ta\n")
    touch(Path(), "in/3.ndjson", content="{}\n")
    for names, expected in {
        ("b.csv", "a.CSV"): ["b.csv", "a.CSV"],
        ("*.csv", "b.csv", "./b.csv"): ["[x].csv", "b.csv"],
        ("[x].csv",): ["[x].csv"],
        ("in", "c.tsv"): ["in/10.csv", "in/2.csv", "in/3.ndjson", "c.tsv"],
        ("in/**/*.csv",): ["in/10.csv", "in/2.csv", "in/deep/x.csv", "in/deep/y.csv"],
        ("in/deep/**",): ["in/deep/x.csv", "in/deep/y.csv"],
    }.items():
        assert list(map(str, find_inputs(names))) == expected
    assert list(map(str, find_inputs(["other", "-", "b.csv"], "csv"))) == ["other", "-", "b.csv"]


def test_find_inputs_says_everything_at_once(tmp_path):
    touch(tmp_path, "a.csv", "notes.md", "empty/.hidden.csv")
    touch(tmp_path, "b.csv", content="b,c,d\n")
    touch(tmp_path, "c.csv", content="")
    names = ["absent.csv", "*.tsv", "empty", "notes.md", "a.csv", "b.csv", "c.csv"]
    with pytest.raises(FileError) as caught:
        find_inputs([*(tmp_path / name for name in names), "-"])
    title, *problems = str(caught.value).replace(f"{tmp_path}{os.sep}", "").splitlines()
    assert title == "inputs: 7 problems"
    expected = [
        "absent.csv: not found",
        "*.tsv: no file matches this pattern",
        "empty: no file of a known format in this folder (.csv, ",
        "notes.md: unknown suffix; expected one of .csv, ",
        "b.csv: unequal to a.csv: no column 'a'; one more column 'c', 'd'",
        "c.csv: empty; expected a first line",
        "-: standard input and output have no suffix; say which format",
    ]
    for problem, start in zip(problems, expected, strict=True):
        assert problem.startswith(f"  - {start}")
    with pytest.raises(FileError, match="no name was given"):
        find_inputs([])


def test_parquet_and_arrow_of_others(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.feather
    import pyarrow.parquet

    bad = arrow.array([b"fine", b"\xff", None]).view(arrow.string())
    day = arrow.array([0, 10**9, 1], arrow.timestamp("ns"))
    nested = arrow.array([{"x": [1]}, None, {"x": []}])
    table = arrow.table(
        {"text": bad, "day": day, "nested": nested, "code": arrow.array(["x", "y", "x"]).dictionary_encode()}
    )
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    pyarrow.feather.write_feather(table.select(["text", "day", "nested"]), tmp_path / "a.feather", compression="lz4")
    with arrow.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, arrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    for name in ("a.parquet", "a.feather", "a.arrow"):
        assert count_rows(tmp_path / name) == 3
        assert read_columns(tmp_path / name)[:3] == ["text", "day", "nested"]
        first, second, third = read_rows(tmp_path / name, columns=["nested", "text"])
        assert first == (0, {"nested": {"x": [1]}, "text": "fine"}, None)
        assert second == (1, None, "column 'text': not UTF-8 (byte 0xff)")
        assert third == (2, {"nested": {"x": []}, "text": None}, None)
        assert list(read_rows(tmp_path / name, columns=["nested", "text"], start=2)) == [third]
        with pytest.raises(FileError, match="no column 'x'; found 'text', 'day'"):
            list(read_rows(tmp_path / name, columns=["x"]))


def test_standard_input(monkeypatch):
    arrow = pytest.importorskip("pyarrow")
    batch = arrow.record_batch({"a": ["x", "y"]})
    with io.BytesIO() as sink:
        with arrow.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(sink.getvalue())))
    assert list(read_rows("-", "arrow", start=1)) == [(1, {"a": "y"}, None)]
    with pytest.raises(FileError, match="Parquet cannot be read from standard input"):
        list(read_rows("-", "parquet"))


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_damaged_columnar_files(tmp_path, name):
    pytest.importorskip("pyarrow")
    path = tmp_path / name
    write_rows(path, None, ({"n": n, "text": "x" * (n % 97)} for n in range(3000)))
    whole = path.read_bytes()
    for content in (b"", b"PAR1", b"ARROW1", b"a,b\n1,2\n", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        for use in (count_rows, read_columns, lambda path: list(read_rows(path))):
            with pytest.raises(FileError, match="not a sound (Parquet|Arrow) file") as caught:
                use(path)
            assert str(caught.value).startswith(f"{path}: ")
    path.write_bytes(b"FEA1" + whole)
    with pytest.raises(FileError, match="Feather version 1"):
        count_rows(path, "arrow")


def test_arrow_offsets_outside_the_buffer_are_refused(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    offsets = arrow.py_buffer(b"".join(n.to_bytes(4, "little") for n in (0, 1 << 30, 4)))
    column = arrow.Array.from_buffers(arrow.string(), 2, [None, offsets, arrow.py_buffer(b"text")])
    batch = arrow.RecordBatch.from_arrays([column], ["text"])
    with pytest.raises(arrow.ArrowInvalid):
        columnar._checked(batch)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_without_pyarrow_the_extra_is_named(tmp_path, name, monkeypatch):
    touch(tmp_path, name)
    for module in [module for module in sys.modules if module.split(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BackendError, match=r'pip install "distilbert\[tables\]"'):
        list(read_rows(tmp_path / name))
    with pytest.raises(BackendError, match="need pyarrow"):
        write_rows(tmp_path / f"b{name}", None, [{"a": 1}])
    with pytest.raises(FileError, match="need pyarrow"):
        find_inputs([tmp_path / name])


def test_text_formats_import_no_pyarrow():
    code = "import sys, distilbert.tables as t; t.read_rows('a.csv'); sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


MEASURE = """
import resource, sys
from distilbert.tables import *
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
path, copy = sys.argv[1:]
if copy.endswith("parquet"):
    import pyarrow, pyarrow.parquet
before = peak()
rows = bad = 0
for row in read_rows(path):
    rows += 1
    bad += row.values is None
print(rows, bad, peak() - before)
write_rows(copy, None, (row.values for row in read_rows(path) if row.values))
print(count_rows(copy), peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["copy.csv.gz", "copy.jsonl", "copy.parquet"])
def test_memory_is_bounded(tmp_path, name):
    """200 MB of CSV, with a quote left open at its beginning and a line of 40 MB: a rise of under 150 MB."""
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / "large.csv"
    with path.open("w") as stream:
        stream.write('id,text\n0,"open\n')
        stream.write("1," + "x" * 40_000_000 + "\n")
        for number in range(160_000):
            stream.write(f"{number},{'lorem ipsum ' * 83}\n")
    assert path.stat().st_size > 195_000_000
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, path, tmp_path / name], capture_output=True, text=True, check=True
    )
    rows, bad, read_rise, count, rise = map(int, ran.stdout.split())
    assert (rows, bad, count) == (160_002, 2, 160_000)
    assert read_rise < 150
    assert rise < 150
