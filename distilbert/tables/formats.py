# SPDX-License-Identifier: Apache-2.0
"""The names of the formats and the suffixes that stand for them; nothing is opened here."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from distilbert.errors import FileError

FORMATS: Final = ("csv", "tsv", "jsonl", "parquet", "arrow")
TEXT_FORMATS: Final = ("csv", "tsv", "jsonl")
DELIMITERS: Final = {"csv": ",", "tsv": "\t"}
STANDARD: Final = Path("-")  # standard input or output

_SUFFIXES: Final = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}


def format_of(path: str | Path, format: str | None = None) -> str:
    """The format of a file: `format` where given, else what the suffix says; `.gz` may follow that of a text format.

    Raises:
        FileError: `format` is no format, or there is none and the suffix is unknown.
    """
    if format is not None:
        if format not in FORMATS:
            raise FileError(f"{path}: expected one of the formats {', '.join(FORMATS)}; found {format!r}")
        return format
    if Path(path) == STANDARD:
        raise FileError(f"{path}: standard input and output have no suffix; say which format: {', '.join(FORMATS)}")
    found = suffix_format(Path(path))
    if found is None:
        raise FileError(f"{path}: unknown suffix; expected one of {known_suffixes()}, or say which format it is")
    return found


def suffix_format(path: Path) -> str | None:
    """What the suffix says, None when it is unknown."""
    name = path.name.lower()
    found = _SUFFIXES.get(Path(name.removesuffix(".gz")).suffix)
    return None if name.endswith(".gz") and found not in TEXT_FORMATS else found


def is_gzip(path: Path) -> bool:
    """Whether a file of a text format is written compressed."""
    return path.name.lower().endswith(".gz")


def known_suffixes() -> str:
    """All suffixes, for a message."""
    return ", ".join(_SUFFIXES) + " (and .gz after those of text)"
