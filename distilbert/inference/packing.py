# SPDX-License-Identifier: Apache-2.0
"""Sequences of any lengths laid into rows of tokens, so that little or no work is done on padding.

Linear layers see every token alone, so sequences can share a row; attention is told where each one starts and ends.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int32]

SHORTEST_ROW = 16
USUAL_ROW = 128  # attention over a row this long is some 5 % of the work, and it leaves hardly a gap unfilled


@dataclass(frozen=True)
class Pack:
    """Rows of one length, each a list of sequences (by number) that lie in it one after another."""

    rows: tuple[tuple[int, ...], ...]
    row_length: int

    def fill(self, sequences: Sequence[Sequence[int]], places: Sequence[Sequence[int]] | None = None) -> Batch:
        """The tokens of the sequences where they belong.

        Args:
            sequences: token ids of each.
            places: tokens of each that alone are answered for; default all.
        """
        shape = len(self.rows), self.row_length
        ids, positions, segments = (np.zeros(shape, np.int32) for _ in range(3))
        chosen: list[int] = []
        batch = Batch(ids, positions, segments, [], [], None if places is None else chosen)
        for row, numbers in enumerate(self.rows):
            start = 0
            for segment, number in enumerate(numbers, 1):
                tokens = sequences[number]
                end = start + len(tokens)
                batch.input_ids[row, start:end] = tokens
                batch.position_ids[row, start:end] = np.arange(len(tokens))
                batch.segments[row, start:end] = segment
                batch.lengths.append(len(tokens))
                first = row * self.row_length + start
                if places is None:
                    batch.parts.append(slice(first, first + len(tokens)))
                else:
                    batch.parts.append(slice(len(chosen), len(chosen) + len(places[number])))
                    chosen += [first + place for place in places[number]]
                start = end
        return batch

    @property
    def numbers(self) -> tuple[int, ...]:
        """The sequences in the order in which they lie in the rows."""
        return tuple(number for row in self.rows for number in row)


@dataclass(frozen=True)
class Batch:
    """Packed tokens, (R rows, L tokens) each.

    Attributes:
        input_ids: token ids (R, L), 0 where there is no token.
        position_ids: the place of each token in its own sequence (R, L).
        segments: 1, 2, ... for the sequences in a row, 0 where there is no token (R, L).
        lengths: number of tokens of each sequence, in the order in which they lie in the rows.
        parts: where the answer to each sequence stands among those of all.
        places: tokens of the flattened rows that alone are answered for, in this order; None for all of them.
    """

    input_ids: Integers
    position_ids: Integers
    segments: Integers
    lengths: list[int]
    parts: list[slice]
    places: list[int] | None

    def places_in_rows(self) -> tuple[Integers, tuple[Integers, Integers]]:
        """The chosen tokens of each row (R, M), and the row and column in which each of `places` stands there."""
        rows, length = self.input_ids.shape
        row, token = np.divmod(np.asarray(self.places, np.int32), length)
        column = np.arange(len(row), dtype=np.int32) - np.searchsorted(row, row).astype(np.int32)
        found = np.zeros((rows, column.max(initial=0) + 1), np.int32)
        found[row, column] = token
        return found, (row, column)


def flat_packs(lengths: Sequence[int], budget: int) -> Iterator[Pack]:
    """Packs of a single row: neighbours in it have similar lengths, and fewer than 16 places at its end stay free.

    Kernels keep a program for each number of tokens that they have met, so row lengths are multiples of 16.

    Args:
        lengths: tokens of each sequence.
        budget: tokens of a pack at most, unless one sequence alone has more.
    """
    pending: list[int] = []
    tokens = 0
    for number in np.argsort(lengths, kind="stable").tolist():
        if pending and tokens + lengths[number] > budget:
            yield Pack((tuple(pending),), multiple(tokens))
            pending, tokens = [], 0
        pending.append(number)
        tokens += lengths[number]
    if pending:
        yield Pack((tuple(pending),), multiple(tokens))


def row_packs(lengths: Sequence[int], budget: int) -> Iterator[Pack]:
    """Packs whose shapes are few, for compiled code: rows of 16, 32, 64, ... tokens, 1, 2, 4, ... rows to a pack.

    One row may have a length in between, where that holds all the tokens that are left.

    Args:
        lengths: tokens of each sequence.
        budget: tokens of a pack at most, unless one row alone has more.
    """
    by_length: dict[int, list[tuple[int, ...]]] = {}
    for row_length, numbers in best_fit(lengths):
        by_length.setdefault(row_length, []).append(tuple(numbers))
    for row_length, rows in by_length.items():
        start = 0
        for count in powers_of_two(len(rows), max(budget // row_length, 1)):
            yield Pack(tuple(rows[start : start + count]), row_length)
            start += count


def best_fit(lengths: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Rows (length, sequences): longest sequence first, each into the row where it leaves the smallest gap."""
    rows: list[tuple[int, list[int]]] = []
    gaps: list[tuple[int, int]] = []  # (free tokens, row), sorted
    remaining = int(sum(lengths))
    for number in np.argsort(lengths, kind="stable")[::-1].tolist():
        length = lengths[number]
        place = bisect.bisect_left(gaps, (length, -1))
        if place < len(gaps):
            gap, row = gaps.pop(place)
        else:
            gap = row_length(max(length, min(remaining, USUAL_ROW)))
            gap = min(gap, shortened_row(remaining))
            row = len(rows)
            rows.append((gap, []))
        rows[row][1].append(number)
        bisect.insort(gaps, (gap - length, row))
        remaining -= length
    return rows


def padded_places(places: Sequence[int]) -> list[int]:
    """Places with more of them, for kernels that keep a program for each number: 1, 2, 4, 8, 16, 32, 48 and so on."""
    count = len(places)
    return [*places, *[0] * ((next_power(max(count, 1)) if count < SHORTEST_ROW else multiple(count)) - count)]


def multiple(tokens: int) -> int:
    """The smallest multiple of the shortest row that holds so many tokens."""
    return -(-tokens // SHORTEST_ROW) * SHORTEST_ROW


def row_length(tokens: int) -> int:
    """The length of a row for so many tokens or more: the smallest of 16, 32, 64 and so on that holds them.

    Smaller steps would leave less room behind a text, but too little for others to fill.
    """
    return max(SHORTEST_ROW, next_power(tokens))


def shortened_row(tokens: int) -> int:
    """The length of a last row, for so many tokens and no more: 16, 24, 32, 48, 64, 96 and so on."""
    length = row_length(tokens)
    between = length * 3 // 4
    return between if between > SHORTEST_ROW and tokens <= between else length


def next_power(number: int) -> int:
    """The smallest power of two that is not below a number."""
    return 1 << (number - 1).bit_length()


def powers_of_two(count: int, largest: int) -> Iterator[int]:
    """`count` as a sum of powers of two, none above `largest`: 11 with 4 is 4, 4, 2, 1."""
    part = 1 << (largest.bit_length() - 1)
    while count:
        while part > count:
            part //= 2
        yield part
        count -= part
