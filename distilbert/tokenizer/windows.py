# SPDX-License-Identifier: Apache-2.0
"""Rows to Rust encodings, cut to windows, in bounded memory.

The Rust library makes all windows of a text that it truncates, and of a pair of texts all combinations of the windows
of both, whether they are wanted or not: two texts of 200 kB each take over 10 GB. Here such pairs are cut one text at
a time. And where a stride would leave a window without progress, which ends the Rust library, it is refused before.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Encoding, Tokenizer

from distilbert.errors import TokenizerError
from distilbert.tokenizer.call_inputs import Problem, Row, is_pair, length_in_chars, refuse_rows, row_problems
from distilbert.tokenizer.call_options import CallOptions, check_room
from distilbert.tokenizer.engine import Engine, Truncation

MANY_WINDOWS = 64  # combinations, estimated from characters, above which a pair is cut one text at a time
MOST_WINDOWS = 1000  # combinations that one pair may overflow into when they are asked for
CHARS_TO_TOKENS = 3  # no character gives more tokens: Korean syllables fall apart into three letters


@dataclass(frozen=True)
class RowEncoder:
    """Encodes rows with the settings of one call."""

    engine: Engine
    options: CallOptions
    truncation_side: str
    add_special_tokens: bool
    is_split_into_words: bool
    overflow: bool
    split_special_tokens: bool

    def encode(self, rows: Sequence[Row]) -> list[Encoding]:
        """One encoding for each row, which holds its other windows if `overflow`.

        Raises:
            TokenizerError: A row is no text, or cannot be truncated as asked.
        """
        pairs = [number for number, row in enumerate(rows) if is_pair(row, self.is_split_into_words)]
        if not self.options.truncates:
            return self._batch(self._view(None), rows)
        check_room(self.options, self._specials(bool(pairs)), self.engine.specials[False], self.overflow)
        if self.options.truncation == "only_second" and len(pairs) < len(rows):
            raise TokenizerError("truncation: 'only_second' needs two texts in every row; use 'only_first' or True")
        view = self._view(self._truncation())
        if not pairs:
            return self._batch(view, rows)
        if self.overflow:
            self._check_windows(rows, pairs)
            return self._batch(view, rows)
        long = [number for number in pairs if self._is_long(rows[number])]
        nothing = [] if self.is_split_into_words else ""
        encodings = self._batch(view, [nothing if number in long else row for number, row in enumerate(rows)])
        for number in long:
            encodings[number] = self._cut_pair(rows, number)
        return encodings

    def _truncation(self) -> Truncation:
        # Without overflow the stride changes nothing but the work.
        stride = self.options.stride if self.overflow else 0
        return Truncation(self.options.truncation, self._max_length, stride, self.truncation_side)

    @property
    def _max_length(self) -> int:
        return self.options.max_length or 0

    def _specials(self, pair: bool) -> int:
        return self.engine.specials[pair] if self.add_special_tokens else 0

    def _view(self, truncation: Truncation | None) -> Tokenizer:
        return self.engine.view(truncation, self.split_special_tokens)

    def _batch(self, view: Tokenizer, rows: Sequence[Row], add_special_tokens: bool | None = None) -> list[Encoding]:
        specials = self.add_special_tokens if add_special_tokens is None else add_special_tokens
        try:
            encodings: list[Encoding] = view.encode_batch(
                rows, is_pretokenized=self.is_split_into_words, add_special_tokens=specials
            )
        except Exception as error:
            # The library raises TypeError for what is no text, and Exception itself when it cannot truncate.
            if type(error) not in (TypeError, Exception):
                raise
            problems = row_problems(rows, self.is_split_into_words) or self._truncation_problems(view, rows)
            raise (refuse_rows(problems, rows) if problems else TokenizerError(f"text: {error}")) from None
        return encodings

    def _truncation_problems(self, view: Tokenizer, rows: Sequence[Row]) -> list[Problem]:
        for number, row in enumerate(rows):
            try:
                view.encode_batch([row], is_pretokenized=self.is_split_into_words)
            except Exception:
                other = "second" if self.options.truncation == "only_first" else "first"
                how = f"truncation={self.options.truncation!r} does not cut it; use True, or a larger max_length"
                return [(number, f"the {other} text leaves no room in max_length {self._max_length}, and {how}")]
        return []

    def _is_long(self, row: Row) -> bool:
        """Whether the windows of both texts could combine into many, by their characters."""
        half = max(1, (self._max_length - self._specials(True)) // 2)
        first, second = (length_in_chars(text) // half + 1 for text in row)
        return self.options.truncation == "longest_first" and first * second > MANY_WINDOWS

    def _cut_pair(self, rows: Sequence[Row], number: int) -> Encoding:
        first, second = self._texts(rows, number)
        kept = self._kept(len(first), len(second))
        return self._view(None).post_process(
            _cut(first, kept[0], self.truncation_side),
            _cut(second, kept[1], self.truncation_side),
            add_special_tokens=self.add_special_tokens,
        )

    def _texts(self, rows: Sequence[Row], number: int) -> list[Encoding]:
        """The two texts of a pair, each whole."""
        if problems := row_problems([rows[number]], self.is_split_into_words):
            raise refuse_rows([(number, found) for _, found in problems], rows)
        return self._batch(self._view(None), list(rows[number]), add_special_tokens=False)

    def _kept(self, first: int, second: int) -> tuple[int, int]:
        """How many tokens of each text a window keeps, as the Rust library decides it."""
        room = self._max_length - self._specials(True)
        if first + second <= room:
            return first, second
        if self.options.truncation == "only_first":
            return room - second, second
        if self.options.truncation == "only_second":
            return first, room - first
        shorter, longer = sorted((first, second))
        longer = max(shorter, room - shorter)
        if shorter + longer > room:
            shorter, longer = room // 2, room // 2 + room % 2
        return (shorter, longer) if first <= second else (longer, shorter)

    def _check_windows(self, rows: Sequence[Row], pairs: Sequence[int]) -> None:
        """Refuse strides at which a window would not advance, and combinations of windows without bound."""
        problems: list[Problem] = []
        for number in pairs:
            if not self._is_suspect(rows[number]):
                continue
            lengths = [len(encoding) for encoding in self._texts(rows, number)]
            kept = self._kept(*lengths)
            counts = [
                _window_count(length, window, self.options.stride) for length, window in zip(lengths, kept, strict=True)
            ]
            if 0 in counts:
                window = kept[counts.index(0)]
                problems.append((number, f"stride {self.options.stride} in windows of {window} tokens"))
            elif counts[0] * counts[1] > MOST_WINDOWS:
                found = f"{counts[0]} and {counts[1]} windows of the two texts combine into {counts[0] * counts[1]:,}"
                problems.append((number, f"{found}; use truncation='only_first' or 'only_second'"))
        if problems:
            raise refuse_rows(problems[:5], rows)

    def _is_suspect(self, row: Row) -> bool:
        """Whether a row is worth counting its tokens: by its characters it could be one to refuse."""
        room = self._max_length - self._specials(True)
        first, second = (CHARS_TO_TOKENS * length_in_chars(text) for text in row)
        if self.options.truncation == "longest_first":
            step = max(1, room // 2 - self.options.stride)
            return self.options.stride >= room // 2 or (first // step + 1) * (second // step + 1) > MOST_WINDOWS
        whole = second if self.options.truncation == "only_first" else first
        return self.options.stride > 0 and self.options.stride + whole >= room


def _window_count(length: int, window: int, stride: int) -> int:
    """How many windows a text is cut into; 0 if they would not advance."""
    if length <= window:
        return 1
    return 0 if stride >= window else 1 + -(-(length - window) // (window - stride))


def _cut(encoding: Encoding, kept: int, side: str) -> Encoding:
    """The first or last tokens of an encoding, without the windows that `Encoding.truncate` would make of the rest."""
    state: dict[str, Any] = json.loads(encoding.__getstate__())
    part = slice(0, kept) if side == "right" else slice(len(encoding) - kept, None)
    state = {name: value[part] if isinstance(value, list) else value for name, value in state.items()}
    result = Encoding()
    result.__setstate__(json.dumps(state | {"overflowing": [], "sequence_ranges": {}}).encode())
    return result
