# SPDX-License-Identifier: Apache-2.0
"""Texts out of files of any layout, in order and with bounded memory: lines of .txt files, rows of tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

from distilbert.errors import FileError, InputError
from distilbert.tables import read_rows
from distilbert.tables.streams import open_reader
from distilbert.training.data import Place, find_files, format_of, read_columns

PIECE = 1 << 20  # bytes of a line taken at once; a longer line is cut between words
TEXT = "text"  # the format of files that are lines and no table
FIELDS = ("text", "label")
PAIR = "text_pair"  # the second text of a row, as in fine-tuning
_NO_PAIRS = f"column {PAIR!r}: pairs of texts are not distilled yet; leave the column out"


class Text(NamedTuple):
    """A line or row.

    Attributes:
        number: its place in the file, from 0.
        text: what it says; may be empty.
        label: of its column, as it stands there; None where there is none.
    """

    number: int
    text: str
    label: Any


def find_texts(names: Sequence[str], format: str | None = None) -> list[Path]:
    """The files that names, patterns and folders stand for, each once; FileError lists what is wrong with them."""
    return find_files(names, format, (TEXT,))


def read_texts(path: Path, columns: Mapping[str, str], format: str | None = None, start: int = 0) -> Iterator[Text]:
    """The texts of a file from number `start` on.

    Args:
        path: the file.
        columns: names of the columns for `text` and `label`; where they name none for `label`, one of that name may be.
        format: by the suffix when None.
        start: how many to skip.

    Raises:
        FileError: the file is no UTF-8 text, a row is bad, with its number, or a column that is named is not there.
        InputError: a text is no text, or one of a pair; lines of text are to have labels.
    """
    kind, label = format_of(path, format, (TEXT,)), columns.get("label")
    if kind == TEXT:
        if label is not None:
            raise InputError(f"{path}: has lines of text and no columns; leave out --column label={label}")
        return _lines(path, start)
    present = read_columns(path, kind)
    if present is None:
        return _rows(path, kind, columns, None, start)
    if PAIR in present:
        raise InputError(f"{path}: {_NO_PAIRS}")
    labels = [label or "label"] if label or "label" in present else []
    return _rows(path, kind, columns, list(dict.fromkeys([columns["text"], *labels])), start)


def text_columns(given: Sequence[str]) -> dict[str, str]:
    """Which columns texts and labels are in, from FIELD=NAME; without `label` where its column is not named.

    Raises:
        InputError: a field is neither `text` nor `label`, or is named twice.
    """
    columns: dict[str, str] = {}
    for entry in given:
        field, separator, name = entry.partition("=")
        if not separator or field not in FIELDS or not name:
            raise InputError(f"column: expected text=NAME or label=NAME, found {entry!r}")
        if field in columns:
            raise InputError(f"column: expected each field once, found {field}={columns[field]} and {entry}")
        columns[field] = name
    return {"text": "text", **columns}


def _lines(path: Path, start: int) -> Iterator[Text]:
    with open_reader(path) as stream:
        for number, piece in enumerate(_pieces(stream)):
            if number < start:
                continue
            try:
                yield Text(number, piece.decode().strip(), None)
            except UnicodeDecodeError as error:
                found = f"found byte {piece[error.start]:#04x}"
                raise FileError(f"{Place(path, number)}: expected UTF-8 text, {found}") from None


def _pieces(stream: BufferedReader) -> Iterator[bytes]:
    """Lines, and of lines above a limit pieces that end between words, or at least between characters."""
    rest = b""
    while piece := stream.readline(PIECE):
        piece, rest = rest + piece, b""
        if not piece.endswith(b"\n") and len(piece) >= PIECE:
            cut = piece.rfind(b" ") + 1 or _character(piece)
            piece, rest = piece[:cut], piece[cut:]
        yield piece
    if rest:
        yield rest


def _character(piece: bytes) -> int:
    """Where the last character of UTF-8 bytes begins."""
    cut = len(piece) - 1
    while cut > 1 and piece[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut


def _rows(path: Path, format: str, columns: Mapping[str, str], wanted: list[str] | None, start: int) -> Iterator[Text]:
    label, is_labelled = columns.get("label", "label"), False
    for row in read_rows(path, format, wanted, start):
        if row.values is None:
            raise FileError(f"{Place(path, row.number)}: {row.problem}")
        text = row.values.get(columns["text"])
        if not isinstance(text, str):
            found = "nothing" if text is None else type(text).__name__
            raise InputError(f"{Place(path, row.number)}: column {columns['text']!r}: expected text, found {found}")
        if row.values.get(PAIR) is not None:
            raise InputError(f"{Place(path, row.number)}: {_NO_PAIRS}")
        is_labelled = is_labelled or label in row.values
        yield Text(row.number, text, row.values.get(label))
    if "label" in columns and not is_labelled and not start:  # JSON Lines declare no columns
        raise FileError(f"{path}: no row has {label!r}; name the right column, as in --column label=NAME")
