# SPDX-License-Identifier: Apache-2.0
"""What kind of values the columns of a file hold, so that they can be written into a file that declares it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distilbert.errors import FileError, describe
from distilbert.tables.columnar import module, open_source
from distilbert.tables.formats import DELIMITERS, format_of
from distilbert.tables.reading import read_columns, read_rows
from distilbert.tables.rows import ROW_LIMIT
from distilbert.tables.values import kind_of

SAMPLE_ROWS = 1000


def read_kinds(
    path: str | Path, format: str | None = None, columns: Sequence[str] | None = None, *, limit: int = ROW_LIMIT
) -> dict[str, str]:
    """Column name to kind, as the schema of `write_rows` has it.

    CSV and TSV hold text. Parquet and Arrow declare their types. Of JSON Lines the first 1,000 rows decide, and columns
    of mixed values are of the kind "json".

    Args:
        path: the file.
        format: by the suffix when None.
        columns: those that are wanted, if they are there; all when None.
        limit: bytes, at the most, of a row of a text format.

    Raises:
        FileError: the file cannot be read, or a column holds bytes, which no format here has a text form for.
    """
    path, found = Path(path), format_of(path, format)
    kinds = _kinds(path, found, limit)
    wanted = {name: kind for name, kind in kinds.items() if columns is None or name in columns}
    if problems := [f"column {name!r}: holds bytes, expected text or numbers" for name in wanted if not wanted[name]]:
        raise FileError(describe(str(path), problems))
    return wanted


def _kinds(path: Path, format: str, limit: int) -> dict[str, str]:
    if format in DELIMITERS:
        return dict.fromkeys(read_columns(path, format) or (), "string")
    if format == "jsonl":
        return _sampled(path, limit)
    with open_source(path, format) as source:
        return {field.name: _declared(field.type) for field in source.schema}


def _sampled(path: Path, limit: int) -> dict[str, str]:
    columns: dict[str, list[Any]] = {}
    for row in itertools.islice(read_rows(path, "jsonl", limit=limit), SAMPLE_ROWS):
        for name, value in (row.values or {}).items():
            columns.setdefault(name, []).append(value)
    return {name: _common(values) for name, values in columns.items()}


def _common(values: list[Any]) -> str:
    try:
        return kind_of(values)
    except ValueError:
        return "json"


def _declared(type: Any) -> str:
    """The kind for a type of pyarrow; nothing for bytes."""
    arrow = module()
    known, dictionary = arrow.types, arrow.types.is_dictionary(type)
    type = type.value_type if dictionary else type
    if known.is_binary(type) or known.is_large_binary(type) or known.is_fixed_size_binary(type):
        return ""
    if known.is_boolean(type):
        return "boolean"
    if known.is_integer(type):
        return "integer"
    if known.is_floating(type):
        return "float"
    if known.is_list(type) and type.value_type == arrow.float32():
        return "vector"
    return "json" if known.is_nested(type) else "string"
