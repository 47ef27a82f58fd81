# SPDX-License-Identifier: Apache-2.0
"""The texts of a call: one or a batch, alone or in pairs, whole or split into words; and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distilbert.errors import TokenizerError, describe
from distilbert.tokenizer.settings import has_surrogates
from distilbert.tokenizer.vocabulary import SHOWN

Row = Any  # a text (str, or a list of words), or a tuple of two texts
Problem = tuple[int, str]  # of the row with this number


def make_rows(text: Any, text_pair: Any, is_split_into_words: bool) -> tuple[list[Row], bool]:
    """The rows of a call, and whether it was a batch.

    What is inside the rows is looked at only when the Rust library refuses them: see `row_problems`.

    Raises:
        TokenizerError: The arguments are no texts, or do not fit each other.
    """
    if not isinstance(text, str | list | tuple) or (isinstance(text, str) and is_split_into_words):
        expected = "a list of words" if is_split_into_words else "str"
        raise TokenizerError(f"text: expected {expected} or a list of them, found {_name(text)}")
    if not _is_batch(text, is_split_into_words):
        return [make_row(text, text_pair, is_split_into_words)], False
    if text_pair is None:
        return batch_rows(text, is_split_into_words), True
    if not isinstance(text_pair, list | tuple):
        raise TokenizerError(f"text_pair: expected a list, as text is one, found {_name(text_pair)}")
    if len(text) != len(text_pair):
        raise TokenizerError(f"text_pair: expected {len(text)} texts, as many as in text, found {len(text_pair)}")
    return list(zip(text, text_pair, strict=True)), True


def batch_rows(rows: Sequence[Any], is_split_into_words: bool) -> list[Row]:
    """The rows of a batch whose pairs are together: two texts in a list are a pair like two in a tuple."""
    return [tuple(row) if isinstance(row, list) and not is_split_into_words else row for row in rows]


def make_row(text: Any, text_pair: Any, is_split_into_words: bool) -> Row:
    """One text or one pair as a row. An empty second text is no second text: so in transformers 4.57, if alone."""
    kind = list | tuple if is_split_into_words else str
    for name, value in (("text", text), ("text_pair", text_pair)):
        if not isinstance(value, kind) and not (name == "text_pair" and value is None):
            hint = "a list of words" if is_split_into_words else "str (is_split_into_words=True for a list of words)"
            raise TokenizerError(f"{name}: expected {hint}, found {_name(value)}")
    return (text, text_pair) if text_pair else text


def is_pair(row: Row, is_split_into_words: bool) -> bool:
    """Whether a row has two texts."""
    if not isinstance(row, tuple) or len(row) != 2:
        return False
    return not is_split_into_words or all(isinstance(text, list | tuple) for text in row)


def length_in_chars(text: Any) -> int:
    """Characters of a text, in whatever form; 0 for what is no text."""
    if isinstance(text, list | tuple):
        return sum(len(word) for word in text if isinstance(word, str))
    return len(text) if isinstance(text, str) else 0


def row_problems(rows: Sequence[Row], is_split_into_words: bool) -> list[Problem]:
    """What keeps rows from being encoded, the first few."""
    problems: list[Problem] = []
    for number, row in enumerate(rows):
        pair = is_pair(row, is_split_into_words)
        if isinstance(row, tuple) and not pair and not is_split_into_words:
            problems.append((number, f"expected a text or two of them, found {len(row)}"))
        else:
            for text in row if pair else (row,):
                problems += [(number, found) for found in _text_problems(text, is_split_into_words)]
        if len(problems) >= SHOWN:
            break
    return problems[:SHOWN]


def refuse_rows(problems: Sequence[Problem], rows: Sequence[Row]) -> TokenizerError:
    """The error for rows that cannot be encoded. A row alone goes without its number: its caller may have another."""
    named = [found if len(rows) == 1 else f"row {number}: {found}" for number, found in problems]
    return TokenizerError(describe("text", named))


def _text_problems(text: Any, is_split_into_words: bool) -> list[str]:
    if not is_split_into_words:
        if not isinstance(text, str):
            return [f"expected str, found {_name(text)}"]
        return ["holds half of a surrogate pair, which is no character"] if has_surrogates(text) else []
    if not isinstance(text, list | tuple):
        return [f"expected a list of words, found {_name(text)}"]
    for position, word in enumerate(text):
        for problem in _text_problems(word, False):
            return [f"word {position}: {problem}"]
    return []


def _is_batch(text: Any, is_split_into_words: bool) -> bool:
    if is_split_into_words:
        return len(text) > 0 and isinstance(text[0], list | tuple)
    return not isinstance(text, str)


def _name(value: object) -> str:
    return "None" if value is None else type(value).__name__
