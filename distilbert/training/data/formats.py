# SPDX-License-Identifier: Apache-2.0
"""Files of examples of any format, by one set of functions. The formats themselves are next door and in `tables`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from distilbert import tables
from distilbert.errors import FileError, describe
from distilbert.tables.finding import column_problems, expand
from distilbert.tables.formats import STANDARD
from distilbert.tables.rows import Row, choose_columns
from distilbert.training.data.conll import read_conll
from distilbert.training.data.lines import read_lines_of_text
from distilbert.training.data.squad import read_squad


@dataclass(frozen=True)
class Format:
    """A format that is no table.

    Attributes:
        suffixes: of its files, for the tasks that know it.
        columns: of its rows.
        read: gives the rows of a file.
    """

    suffixes: tuple[str, ...]
    columns: tuple[str, ...]
    read: Callable[[Path], Iterator[Row]]


FORMATS = {
    "conll": Format((".conll", ".bio", ".iob", ".iob2", ".txt"), ("tokens", "tags"), read_conll),
    "squad": Format((".json",), ("question", "context", "answers"), read_squad),
    "text": Format((".txt", ".text"), ("text",), read_lines_of_text),
}


def find_files(names: Sequence[str], format: str | None, known: Collection[str]) -> list[Path]:
    """The files that names, patterns and folders stand for; see `tables.find_inputs`.

    Args:
        names: what the user wrote.
        format: of all files, whatever their suffixes.
        known: which of `FORMATS` are meant besides tables.

    Raises:
        FileError: lists what is not found, of unknown format or of unequal columns.
    """
    problems: list[str] = []
    suffixes = [suffix for name in known for suffix in FORMATS[name].suffixes]
    found: dict[Path, Path] = {}
    for name in names:
        for path in expand(name, problems, suffixes):
            found.setdefault(path.resolve(), path)
    formats: dict[str, list[Path]] = {}
    for path in found.values():
        try:
            formats.setdefault(format_of(path, format, known), []).append(path)
        except FileError as error:
            problems.append(str(error))
    for name, paths in formats.items():
        problems += [] if name in FORMATS else column_problems(paths, name)
    if not names:
        problems.append("no name was given")
    if problems:
        raise FileError(describe("data", problems))
    return list(found.values())


def format_of(path: Path, format: str | None, known: Collection[str]) -> str:
    """The format of a file: `format` where given, else what the suffix says; arguments as in `find_files`.

    Raises:
        FileError: it is unknown, or the file is standard input, which can be read only once.
    """
    if path == STANDARD:
        raise FileError("-: standard input can be read only once, and training may have to go on later; name a file")
    if format is not None and format not in (*tables.FORMATS, *known):
        raise FileError(f"{path}: expected one of the formats {', '.join([*tables.FORMATS, *known])}; found {format!r}")
    if format is not None and format in known:
        return format
    name = path.name.lower().removesuffix(".gz")
    by_suffix = [kind for kind in known if name.endswith(FORMATS[kind].suffixes)]
    return by_suffix[0] if by_suffix and format is None else tables.format_of(path, format)


def read_columns(path: Path, format: str) -> list[str] | None:
    """The columns of a file; None for JSON Lines, which declare none."""
    return list(FORMATS[format].columns) if format in FORMATS else tables.read_columns(path, format)


def read_rows(path: Path, format: str, columns: Sequence[str] | None) -> Iterator[Row]:
    """The rows of a file in order, each good or set aside with the reason; see `tables.read_rows`."""
    if format not in FORMATS:
        return tables.read_rows(path, format, columns)
    choose_columns(path, FORMATS[format].columns, columns)
    return FORMATS[format].read(path)
