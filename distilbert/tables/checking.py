# SPDX-License-Identifier: Apache-2.0
"""What keeps a row from being written, in words. `write_rows` refuses a whole file for one such row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from distilbert.errors import FileError
from distilbert.tables.columnar import module
from distilbert.tables.formats import TEXT_FORMATS
from distilbert.tables.rows import quoted
from distilbert.tables.values import column_value, field_text, json_text

ERRORS = (ValueError, TypeError, OverflowError, RecursionError)  # what the conversions raise; pyarrow's are among these


class RowCheck:
    """Looks at rows one by one."""

    def __init__(self, format: str, columns: Mapping[str, str] | None) -> None:
        """Keep what rows are to have.

        Args:
            format: of the file.
            columns: the names of its columns and, for Parquet and Arrow, the kind of each; None where each row has its
                own (JSON Lines).
        """
        self._columns = columns
        self._convert: Callable[[str, Any], object]
        if format in TEXT_FORMATS:
            self._convert = _as_json if format == "jsonl" else _as_field
        else:
            kinds = dict(columns or {})
            types = column_types(kinds)
            self._convert = lambda name, value: module().array([column_value(kinds[name], value)], types[name])

    def problem(self, row: Mapping[str, Any]) -> str | None:
        """Why the row cannot be written, or None if it can."""
        return self._names_problem(row) or self._value_problem(row)

    def check_names(self, path: Path, number: int, row: Mapping[str, Any]) -> None:
        """Raise FileError when a row has a name that is no column: it would be lost."""
        if problem := self._names_problem(row):
            raise FileError(f"{path}: row {number}: {problem}")

    def refusal(self, path: Path, number: int, row: Mapping[str, Any], error: Exception) -> FileError:
        """The error for a row that could not be converted as a whole."""
        return FileError(f"{path}: row {number}: {self._value_problem(row) or f'cannot be written: {error}'}")

    def _names_problem(self, row: Mapping[str, Any]) -> str | None:
        if self._columns is None or row.keys() <= self._columns.keys():
            return None
        extra = [name for name in row if name not in self._columns]
        return f"no such column {quoted(extra)}; expected {quoted(list(self._columns))}"

    def _value_problem(self, row: Mapping[str, Any]) -> str | None:
        for name, value in row.items():
            try:
                self._convert(name, value)
            except ERRORS as error:
                said = (
                    "half a surrogate pair, which is no character" if isinstance(error, UnicodeEncodeError) else error
                )
                return f"column {name!r}: cannot be written: {said}"
        return None


def column_types(kinds: Mapping[str, str]) -> dict[str, Any]:
    """Column name to pyarrow's type for its kind."""
    arrow = module()
    types = {
        "string": arrow.string(),
        "json": arrow.string(),
        "float": arrow.float64(),
        "integer": arrow.int64(),
        "boolean": arrow.bool_(),
        "vector": arrow.list_(arrow.field("element", arrow.float32())),  # the name that Parquet gives it
    }
    return {name: types[kind] for name, kind in kinds.items()}


def _as_json(name: str, value: Any) -> bytes:
    return json_text({name: value}).encode()


def _as_field(name: str, value: Any) -> None:
    if b"\0" in field_text(value).encode():
        raise ValueError("a NUL character")
