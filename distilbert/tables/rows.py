# SPDX-License-Identifier: Apache-2.0
"""What a row is, and which of the columns of a file are wanted. How files are read is elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from distilbert.errors import FileError

ROW_LIMIT = 16 * 1024 * 1024  # bytes of one row as text; an open quote in a CSV is followed no further than this


class Row(NamedTuple):
    """One row of a file, good or set aside.

    Attributes:
        number: its place in the file, from 0; bad rows count.
        values: column name to value, or None for a bad row.
        problem: why the row is bad, or None for a good one.
    """

    number: int
    values: dict[str, Any] | None
    problem: str | None


def choose_columns(path: Path, present: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """The columns to read, which is all of them for None; FileError when a name is absent or there twice."""
    twice = [name for name, count in Counter(present).items() if count > 1]
    if twice:
        raise FileError(f"{path}: the same column name twice: {quoted(twice)}")
    if wanted is None:
        return list(present)
    absent = [name for name in wanted if name not in present]
    if absent:
        raise FileError(f"{path}: no column {quoted(absent)}; found {quoted(present)}")
    return list(dict.fromkeys(wanted))


def quoted(names: Sequence[str]) -> str:
    """Names for a message: each in quotes, the first 20 of many."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(map(repr, names[:20])) + more


def too_long(limit: int) -> str:
    """The reason given for a row above the limit."""
    return f"longer than {limit:,} bytes"
