# SPDX-License-Identifier: Apache-2.0
"""Reading CSV and TSV as RFC 4180 has it: a header, quotes, line ends inside quotes.

Where reading goes on after a bad row:

- A row with sound quotes is one row, however wrong its number of fields or its bytes; the next row follows it.
- A row whose quotes are wrong (one left open until the end of the file or above the limit, or text right after a
  closing quote) is bad as far as its first line; reading goes on at the very next line. A stray quote therefore costs
  one row, not the rest of the file.

A quote inside a field that does not begin with one is an ordinary character. Empty lines are no rows.

TSV differs from CSV in the delimiter, and in that a line whose quotes are wrong, or lead to a wrong number of fields,
is taken as it stands if its number of fields is then right: many writers of TSV quote nothing.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from distilbert.errors import FileError
from distilbert.tables.formats import DELIMITERS
from distilbert.tables.rows import ROW_LIMIT, Row, choose_columns, too_long
from distilbert.tables.streams import open_reader, read_lines

_Record = tuple[list[str], str | None]  # the fields, and what is wrong with them

# What the csv module says, by a part of it, and what we say.
_REASONS = {
    "expected after": "text after a closing quote",
    "unexpected end": "a quote is opened and not closed",
    "new-line": "a carriage return outside quotes",
}


def read_delimited(path: Path, delimiter: str, columns: Sequence[str] | None, start: int, limit: int) -> Iterator[Row]:
    """The rows of a CSV or TSV file from number `start` on; see `reading.read_rows`."""
    with open_reader(path) as stream:
        records = _records(read_lines(stream, limit), delimiter, limit)
        header = _header(path, records)
        wanted = choose_columns(path, header, columns)
        places = None if wanted == header else [header.index(name) for name in wanted]
        for number, (fields, problem) in enumerate(records):
            if number < start:
                continue
            problem = problem or _wrong_count(fields, header)
            if problem is not None:
                yield Row(number, None, problem)
                continue
            chosen = fields if places is None else [fields[place] for place in places]
            yield Row(number, dict(zip(wanted, chosen, strict=True)), None)


def read_header(path: Path, delimiter: str, limit: int) -> list[str]:
    """The column names of a CSV or TSV file."""
    with open_reader(path) as stream:
        header = _header(path, _records(read_lines(stream, limit), delimiter, limit))
        return choose_columns(path, header, None)


def skip_header(stream: io.BufferedReader, delimiter: str) -> None:
    """Leave `stream` at the first row; the header is known to be sound."""
    next(_records(read_lines(stream, ROW_LIMIT), delimiter, ROW_LIMIT))


def count_delimited(path: Path, delimiter: str, limit: int) -> int:
    """How many rows `read_delimited` yields, bad ones included."""
    with open_reader(path) as stream:
        records = _records(read_lines(stream, limit), delimiter, limit)
        _header(path, records)
        return sum(1 for _ in records)


def _header(path: Path, records: Iterator[_Record]) -> list[str]:
    for fields, problem in records:
        if problem is not None:
            raise FileError(f"{path}: the header cannot be read: {problem}")
        return fields
    raise FileError(f"{path}: empty; expected a first line with the names of the columns")


def _wrong_count(fields: list[str], header: list[str]) -> str | None:
    if len(fields) == len(header):
        return None
    return f"{len(fields)} field{'s' * (len(fields) != 1)}, but the header has {len(header)}"


def _records(lines: Iterator[bytes | None], delimiter: str, limit: int) -> Iterator[_Record]:
    csv.field_size_limit(max(csv.field_size_limit(), limit))  # of the whole process, so it is only ever raised
    feed = _Feed(lines, limit)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    width = 0  # of the header, which is the first record
    while True:
        feed.begin()
        problem = None
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fields, problem = [], feed.give_back(str(error))
        if delimiter == DELIMITERS["tsv"] and width and len(fields) != width:
            feed.give_back("unexpected end")
            literal = feed.literal(delimiter)
            if len(literal) == width:
                fields, problem, feed.fault = literal, None, None
        width = width or len(fields)
        problem = problem or feed.fault
        if fields or problem:
            yield fields, problem


class _Feed:
    """The lines for `csv.reader`, of which all but the first of a bad row can be given back.

    A line that is asked for in the middle of a row begins inside quotes. When a row fails, every line given back was
    begun inside quotes and led to that failure, so another row that gets into them fails alike: it is not tried again,
    which keeps the reading linear in the size of the file.
    """

    def __init__(self, lines: Iterator[bytes | None], limit: int) -> None:
        self._lines = lines
        self._limit = limit
        self._returned: deque[bytes | None] = deque()
        self._failure = ""
        self._taken: list[bytes | None] = []
        self._size = 0
        self.fault: str | None = None

    def begin(self) -> None:
        """A new row begins."""
        self._taken = []
        self._size = 0
        self.fault = None

    def give_back(self, said: str) -> str:
        """Take back all lines but the first, once; what the csv module said of the row becomes what we say."""
        self._failure = next((ours for theirs, ours in _REASONS.items() if theirs in said), said)
        self._returned.extendleft(reversed(self._taken[1:]))
        del self._taken[1:]
        return self._failure

    def literal(self, delimiter: str) -> list[str]:
        """The fields of the row's first line if quotes were ordinary characters; none if that is not text."""
        line = self._taken[0]
        try:
            return [] if line is None or b"\0" in line else line.decode().rstrip("\r\n").split(delimiter)
        except UnicodeDecodeError:
            return []

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if self._returned and self._taken:
            raise csv.Error(self._failure)
        line = self._returned.popleft() if self._returned else next(self._lines)
        self._taken.append(line)
        self._size += len(line or b"")
        if line is None or self._size > self._limit + 1:
            opened = " (is a quote left open?)" if len(self._taken) > 1 else ""
            raise csv.Error(too_long(self._limit) + opened)
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            self.fault = self.fault or f"not UTF-8 (byte {line[error.start]:#04x})"
            text = line.decode(errors="surrogateescape")
        if b"\0" in line:
            self.fault = self.fault or "a NUL character"
        return text
