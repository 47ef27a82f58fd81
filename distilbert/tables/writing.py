# SPDX-License-Identifier: Apache-2.0
"""Rows into a file of any format: the same rows give the same bytes, all of them or no file."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distilbert.errors import FileError, describe
from distilbert.tables.checking import ERRORS, RowCheck
from distilbert.tables.columnar_writing import write_columnar
from distilbert.tables.formats import DELIMITERS, STANDARD, TEXT_FORMATS, format_of
from distilbert.tables.rows import choose_columns
from distilbert.tables.streams import open_writer
from distilbert.tables.values import KINDS, field_text, json_text

_Row = Mapping[str, Any]
_SPECIAL = {mark: re.compile(f'["\r\n\ufeff{mark}]') for mark in DELIMITERS.values()}


def write_rows(
    path: str | Path,
    format: str | None,
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str] | None = None,
    *,
    schema: Mapping[str, str] | None = None,
) -> int:
    """Write all rows and return how many they were; the file appears, or is replaced, only when it is complete.

    A column that a row does not have is empty (null) in it; a name that is no column is an error. Lists and mappings
    are JSON text, except in JSON Lines, where they stay what they are.

    Args:
        path: the file, `.gz` for compressed text, or `-` for standard output (text formats).
        format: one of `FORMATS`; by the suffix when None.
        rows: column name to value; text, numbers, truth values, None, dates, decimals, NumPy arrays, lists, mappings.
        columns: their order. When None: that of `schema`, else of the first row; JSON Lines then keep each row's own.
        schema: for Parquet and Arrow, each column's kind: "string", "float" (64 bits), "integer" (64 bits),
            "boolean", "json" or "vector" (32-bit numbers). When None, the first 1,000 rows decide.

    Raises:
        FileError: the file cannot be written, or a value has no form in it (half a surrogate pair; NUL in CSV and
            TSV; NaN in JSON); nothing is left behind.
        BackendError: pyarrow is needed and not installed.
    """
    path, found = Path(path), format_of(path, format)
    _check_schema(path, columns, schema)
    columns = columns if columns is not None else list(schema) if schema is not None else None
    if found not in TEXT_FORMATS:
        if path == STANDARD:
            raise FileError(f"{path}: only text formats are written to standard output; name a file")
        return write_columnar(path, found, rows, columns, schema)
    if found == "jsonl":
        return _write_lines(path, _json_lines(path, rows, columns))
    return _write_lines(path, _delimited(path, rows, columns, found)) - 1


def _check_schema(path: Path, columns: Sequence[str] | None, schema: Mapping[str, str] | None) -> None:
    if columns is not None:
        choose_columns(path, columns, None)
    if schema is None:
        return
    problems = [
        f"{name!r}: {kind!r} is none of {', '.join(KINDS)}" for name, kind in schema.items() if kind not in KINDS
    ]
    problems += [f"{name!r}: no kind is given" for name in columns or () if name not in schema]
    if problems:
        raise FileError(describe(f"{path}: schema", problems))


def _write_lines(path: Path, lines: Iterable[bytes]) -> int:
    count = 0
    with open_writer(path) as stream:
        for count, line in enumerate(lines, start=1):  # noqa: B007
            stream.write(line)
    return count


def _json_lines(path: Path, rows: Iterable[_Row], columns: Sequence[str] | None) -> Iterator[bytes]:
    check = RowCheck("jsonl", None if columns is None else dict.fromkeys(columns, ""))
    for number, row in enumerate(rows):
        check.check_names(path, number, row)
        chosen = dict(row) if columns is None else {name: row.get(name) for name in columns}
        try:
            yield (json_text(chosen) + "\n").encode()
        except ERRORS as error:
            raise check.refusal(path, number, row, error) from None


def _delimited(path: Path, rows: Iterable[_Row], columns: Sequence[str] | None, format: str) -> Iterator[bytes]:
    rows = iter(rows)
    if columns is None:
        first = next(rows, None)
        if first is None:
            raise FileError(f"{path}: neither rows nor columns were given, so there is no header to write")
        columns, rows = list(first), itertools.chain([first], rows)
    if not columns:
        raise FileError(f"{path}: no columns; a file of this format needs one at least")
    check, mark = RowCheck(format, dict.fromkeys(columns, "")), DELIMITERS[format]
    header = {name: name for name in columns}
    for number, row in enumerate(itertools.chain([header], rows), start=-1):
        check.check_names(path, number, row)
        try:
            yield _record(row, columns, mark)
        except ERRORS as error:
            raise check.refusal(path, number, row, error) from None


def _record(row: _Row, columns: Sequence[str], mark: str) -> bytes:
    text = mark.join([_field(row.get(name), mark) for name in columns])
    if "\0" in text:
        raise ValueError("a NUL character")
    return (text + "\n").encode() if text else b'""\n'  # an empty line would be no row


def _field(value: Any, mark: str) -> str:
    text = value if type(value) is str else field_text(value)
    return '"' + text.replace('"', '""') + '"' if _SPECIAL[mark].search(text) else text
