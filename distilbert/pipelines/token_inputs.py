# SPDX-License-Identifier: Apache-2.0
"""Texts whose tokens are to be labelled: whole or as lists of words, perhaps with offsets of the caller's own."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from reprlib import repr as shown
from typing import Any, NamedTuple

import numpy as np

from distilbert.errors import InputError, describe
from distilbert.pipelines.inputs import as_text, check_keys

Offsets = list[tuple[int, int]]


class Text(NamedTuple):
    """An item, read.

    Attributes:
        text: what `start` and `end` of a result count in.
        row: what the tokenizer gets: the text, or its words.
        starts: where the words start in the text, if there are words.
        offsets: the characters of each token, if the caller says.
    """

    text: str
    row: str | list[str]
    starts: list[int] | None = None
    offsets: Offsets | None = None


def read_text(item: Any, delimiter: str | None) -> Text:
    """A text, a list of words, or either as `{"text": ..., "offset_mapping": ...}`.

    Args:
        item: what the caller gave.
        delimiter: what words are joined with; None for texts that are not split into words.

    Raises:
        InputError: it is of another form.
    """
    value, offsets = item, None
    if isinstance(item, Mapping):
        check_keys(item, {"text"}, {"offset_mapping"})
        value, offsets = item["text"], item.get("offset_mapping")
        offsets = None if offsets is None else _offsets(offsets)
    if delimiter is not None:
        words = _words(value)
        starts = [0, *accumulate(len(word) + len(delimiter) for word in words)]
        return Text(delimiter.join(words), words, starts, offsets)
    if isinstance(value, list | tuple):
        raise InputError("text: expected str, found a list; use is_split_into_words=True for lists of words")
    return Text(as_text(value), value, None, offsets)


def is_words(item: Any) -> bool:
    """Whether it is a list of words, as an item or in one."""
    return isinstance(item, list | tuple | Mapping)


def _words(value: Any) -> list[str]:
    if not isinstance(value, list | tuple):
        found = type(value).__name__
        raise InputError(f"words: expected a list of str, as is_split_into_words=True says; found {found}")
    problems = [
        f"word {place}: expected str, found {type(word).__name__}"
        for place, word in enumerate(value)
        if not isinstance(word, str)
    ]
    if problems:
        raise InputError(describe("words", problems))
    return list(value)


def _offsets(value: Any) -> Offsets:
    try:
        pairs = np.asarray(value)
    except ValueError:  # rows of different lengths
        pairs = np.empty(0)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu" or (pairs < 0).any():
        raise InputError(f"offset_mapping: expected a pair (start, end) for each token, found {shown(value)}")
    return [(start, end) for start, end in pairs.tolist()]
