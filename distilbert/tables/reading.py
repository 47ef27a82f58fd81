# SPDX-License-Identifier: Apache-2.0
"""Rows, their number and their columns from a file of any format; the formats themselves are next door."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from distilbert.errors import FileError
from distilbert.files import check_regular_file
from distilbert.tables import columnar
from distilbert.tables.delimited import count_delimited, read_delimited, read_header
from distilbert.tables.formats import DELIMITERS, STANDARD, format_of
from distilbert.tables.jsonlines import count_json_lines, read_json_lines
from distilbert.tables.rows import ROW_LIMIT, Row


def read_rows(
    path: str | Path,
    format: str | None = None,
    columns: Sequence[str] | None = None,
    start: int = 0,
    *,
    limit: int = ROW_LIMIT,
) -> Iterator[Row]:
    """Yield the rows of a file in order, each good or set aside with the reason; a bad row stops nothing.

    Args:
        path: the file, or `-` for standard input (not for Parquet).
        format: one of `FORMATS`; by the suffix when None. Gzip is recognised in the text formats.
        columns: those to keep, in this order; all when None. One that is absent from the header or schema is an error
            of the file, one that is absent from a JSON object makes that row bad.
        start: the number of the first row to yield.
        limit: bytes, at the most, of one row of a text format.

    Raises:
        FileError: the file cannot be read at all, or from some place on (after the rows before it).
        BackendError: pyarrow is needed and not installed.
    """
    path, found = Path(path), format_of(path, format)
    if found in DELIMITERS:
        return read_delimited(path, DELIMITERS[found], columns, start, limit)
    if found == "jsonl":
        return read_json_lines(path, columns, start, limit)
    return columnar.read_batches(path, found, columns, start)


def count_rows(path: str | Path, format: str | None = None, *, limit: int = ROW_LIMIT) -> int:
    """How many rows `read_rows` yields, bad ones included: from the metadata, or by one pass over the text.

    Raises:
        FileError: the file cannot be read to its end, or is standard input.
    """
    path, found = Path(path), format_of(path, format)
    if path == STANDARD:
        raise FileError(f"{path}: rows of standard input cannot be counted beforehand")
    if found in DELIMITERS:
        return count_delimited(path, DELIMITERS[found], limit)
    if found == "jsonl":
        return count_json_lines(path, limit)
    return columnar.count_rows(path, found)


def read_columns(path: str | Path, format: str | None = None) -> list[str] | None:
    """The column names that a file declares, None for JSON Lines and standard input, which declare none.

    Raises:
        FileError: there is no header or schema, or it has a name twice.
    """
    path, found = Path(path), format_of(path, format)
    if path == STANDARD:
        return None
    check_regular_file(path)
    if found in DELIMITERS:
        return read_header(path, DELIMITERS[found], ROW_LIMIT)
    return None if found == "jsonl" else columnar.read_names(path, found)
