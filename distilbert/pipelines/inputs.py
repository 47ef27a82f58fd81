# SPDX-License-Identifier: Apache-2.0
"""The forms in which people hand over texts, and clear words about others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from distilbert.errors import InputError

Pair = tuple[str, str | None]


def as_list(inputs: Any, expected: str) -> list[Any]:
    """The items of a list, tuple, generator or column.

    Args:
        inputs: what the caller gave.
        expected: what it should be a list of, for the error.

    Raises:
        InputError: it is nothing to go through.
    """
    if isinstance(inputs, str | bytes | Mapping) or not isinstance(inputs, Iterable):
        raise InputError(f"inputs: expected {expected}, or a list of these; found {type(inputs).__name__}")
    return list(inputs)


def as_text(value: Any, name: str = "text") -> str:
    """A text; InputError for anything else."""
    if not isinstance(value, str):
        raise InputError(f"{name}: expected str, found {type(value).__name__}")
    return value


def as_pair(item: Any) -> Pair:
    """A text, `{"text": ...}` or `{"text": ..., "text_pair": ...}` as a text and perhaps a second one.

    An empty second text is none: so in transformers.
    """
    if not isinstance(item, Mapping):
        if isinstance(item, list | tuple):
            raise InputError(
                f"text: expected str, found {type(item).__name__}; a pair is {{'text': ..., 'text_pair': ...}}"
            )
        return as_text(item), None
    check_keys(item, {"text"}, {"text_pair"})
    second = item.get("text_pair")
    return as_text(item["text"]), None if second is None else as_text(second, "text_pair") or None


def check_keys(item: Mapping[Any, Any], needed: set[str], allowed: Collection[str] = ()) -> None:
    """Raise InputError if an item lacks a key, or has others than these."""
    if not needed <= item.keys() <= needed | set(allowed):
        also = f" and perhaps {', '.join(sorted(allowed))}" if allowed else ""
        found = ", ".join(map(str, item)) or "none"
        raise InputError(f"inputs: expected the keys {', '.join(sorted(needed))}{also}; found {found}")


def is_count(value: Any) -> bool:
    """Whether it is a whole number of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def chunks(items: Iterable[Any], most: int, most_characters: int) -> Iterator[list[Any]]:
    """A stream in lists of at most so many items, which end where they have so many characters."""
    chunk: list[Any] = []
    size = 0
    for item in items:
        chunk.append(item)
        size += characters(item)
        if len(chunk) == most or size >= most_characters:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def characters(item: Any, depth: int = 3) -> int:
    """How many the texts in an item have: itself, its fields, and lists in these."""
    if isinstance(item, str):
        return len(item)
    parts = item.values() if isinstance(item, Mapping) else item if isinstance(item, list | tuple) else ()
    return sum(characters(part, depth - 1) for part in parts) if depth else 0
