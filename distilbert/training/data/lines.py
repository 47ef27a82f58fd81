# SPDX-License-Identifier: Apache-2.0
"""Plain text, in UTF-8, perhaps compressed: every line that is not blank is a row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from distilbert.tables.rows import ROW_LIMIT, Row, too_long
from distilbert.tables.streams import open_reader, read_lines


def read_lines_of_text(path: Path) -> Iterator[Row]:
    """Rows of one column, `text`, without the white space around it; a row's number is that of its line, from 0.

    Raises:
        FileError: the file cannot be read.
    """
    for number, text, problem in decoded_lines(path):
        if problem is not None:
            yield Row(number, None, problem)
        elif text:
            yield Row(number, {"text": text}, None)


def decoded_lines(path: Path) -> Iterator[tuple[int, str, str | None]]:
    """Number, text without white space around it, and what is wrong with it, of each line."""
    with open_reader(path) as stream:
        for number, line in enumerate(read_lines(stream, ROW_LIMIT)):
            if line is None:
                yield number, "", too_long(ROW_LIMIT)
                continue
            try:
                yield number, line.decode().strip(), "a NUL character" if b"\0" in line else None
            except UnicodeDecodeError as error:
                yield number, "", f"not UTF-8 (byte {line[error.start]:#04x})"
