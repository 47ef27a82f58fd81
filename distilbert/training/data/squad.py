# SPDX-License-Identifier: Apache-2.0
"""Files of SQuAD v1.1 and v2.0, perhaps compressed, as rows: a question, its text, and where the answers are in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distilbert.errors import FileError
from distilbert.files import parse_json
from distilbert.tables.rows import Row
from distilbert.tables.streams import open_reader

LIMIT = 2**30  # bytes; the training set of SQuAD has 42 million


def read_squad(path: Path) -> Iterator[Row]:
    """The questions as rows of `question`, `context` and `answers`, a list of `{"text": ..., "answer_start": ...}`.

    A question that is marked as impossible has no answers. Texts are not checked here.

    Raises:
        FileError: the file cannot be read, or is of another form.
    """
    number = 0
    for place, article in _entries(path, "data", _document(path), "data"):
        for within, paragraph in _entries(path, place, article, "paragraphs"):
            context = _entry(path, within, paragraph, "context")
            for where, question in _entries(path, within, paragraph, "qas"):
                impossible = question.get("is_impossible", False)
                if not isinstance(impossible, bool):
                    yield Row(number, None, f"is_impossible: expected true or false, found {impossible!r:.40}")
                else:
                    answers = [] if impossible else _entry(path, where, question, "answers")
                    values = {"question": question.get("question"), "context": context, "answers": answers}
                    yield Row(number, values, None)
                number += 1


def _document(path: Path) -> dict[str, Any]:
    with open_reader(path) as stream:
        data = stream.read(LIMIT + 1)
    if len(data) > LIMIT:
        raise FileError(f"{path}: more than {LIMIT:,} bytes; cut it into several files")
    try:
        return parse_json(data.decode(), str(path))
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: expected UTF-8 text, found byte {data[error.start]:#04x} at {error.start}") from None


def _entries(path: Path, place: str, parent: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and value of each object in a list."""
    found = _entry(path, place, parent, name)
    if not isinstance(found, list):
        raise FileError(f"{path}: {place}: {name}: expected a list, found {type(found).__name__}")
    for number, entry in enumerate(found):
        where = f"{name}[{number}]" if name == "data" else f"{place}.{name}[{number}]"
        if not isinstance(entry, dict):
            raise FileError(f"{path}: {where}: expected an object, found {type(entry).__name__}")
        yield where, entry


def _entry(path: Path, place: str, parent: dict[str, Any], name: str) -> Any:
    if name not in parent:
        found = ", ".join(map(repr, list(parent)[:10])) or "nothing"
        raise FileError(
            f"{path}: {place}: expected {name!r}, found {found}; the form of SQuAD is data > paragraphs > context, qas"
        )
    return parent[name]
