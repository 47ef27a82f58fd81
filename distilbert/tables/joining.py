# SPDX-License-Identifier: Apache-2.0
"""Several written files as one, without reading their values."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from distilbert.errors import DistilBertError, FileError, describe
from distilbert.tables.columnar_writing import join_columnar
from distilbert.tables.delimited import read_header, skip_header
from distilbert.tables.formats import DELIMITERS, TEXT_FORMATS, format_of
from distilbert.tables.rows import ROW_LIMIT, quoted
from distilbert.tables.streams import open_reader, open_writer

_BLOCK = 1024 * 1024  # bytes


def join_files(parts: Sequence[str | Path], target: str | Path, format: str | None = None) -> None:
    """Write the rows of `parts`, in this order, to `target`, which appears only when it is complete.

    What `write_rows` wrote in parts is, joined, byte for byte what it writes at once. Compressed parts are unpacked;
    the target is compressed when its own name ends in `.gz`.

    Args:
        parts: files of one format, with the same columns in the same order.
        target: where to; it may not be one of the parts.
        format: of all of them; by the suffix of `target` when None.

    Raises:
        FileError: there are no parts, their columns are unequal, a part cannot be read, the target not be written.
    """
    paths, target = [Path(part) for part in parts], Path(target)
    found = format_of(target, format)
    if not paths:
        raise FileError(f"{target}: no parts to join")
    if found not in TEXT_FORMATS:
        join_columnar(paths, target, found)
        return
    mark = DELIMITERS.get(found)
    if mark is not None:
        _check_headers(paths, target, mark)
    with open_writer(target) as stream:
        for index, part in enumerate(paths):
            with open_reader(part) as source:
                if mark is not None and index > 0:
                    skip_header(source, mark)
                _copy(source, stream)


def _check_headers(parts: Sequence[Path], target: Path, mark: str) -> None:
    headers: dict[Path, list[str]] = {}
    problems: list[str] = []
    for part in parts:
        try:
            headers[part] = read_header(part, mark, ROW_LIMIT)
        except DistilBertError as error:
            problems.append(str(error))
    first = next(iter(headers), parts[0])
    for part, header in headers.items():
        if header != headers[first]:
            problems.append(f"{part}: unequal to {first}: the header is {quoted(header)}")
    if problems:
        raise FileError(describe(f"{target}: the parts cannot be joined", problems))


def _copy(source: io.BufferedReader, stream: IO[bytes]) -> None:
    """Copy the rest and end it with a line end, so that the next part begins on a line of its own."""
    last = b"\n"
    while block := source.read1(_BLOCK):
        stream.write(block)
        last = block[-1:]
    if last != b"\n":
        stream.write(b"\n")
