# SPDX-License-Identifier: Apache-2.0
"""The calls on lists of ids that come without a text: joining, truncating and marking them."""

from __future__ import annotations

from collections.abc import Sequence
from reprlib import repr as shown

from distilbert.errors import TokenizerError
from distilbert.tokenizer.call_options import SIDES, TRUNCATIONS

Ids = list[int]


def join(cls: int, sep: int, first: Sequence[int], second: Sequence[int] | None) -> Ids:
    """[CLS] A [SEP], or [CLS] A [SEP] B [SEP]."""
    tail = [] if second is None else [*second, sep]
    return [cls, *first, sep, *tail]


def segments(first: Sequence[int], second: Sequence[int] | None) -> Ids:
    """0 for the first text with its special tokens, 1 for the second."""
    return [0] * (len(first) + 2) + ([] if second is None else [1] * (len(second) + 1))


def special_mask(first: Sequence[int], second: Sequence[int] | None) -> Ids:
    """1 for each special token that `join` adds, 0 for the rest."""
    tail = [] if second is None else [*[0] * len(second), 1]
    return [1, *[0] * len(first), 1, *tail]


def truncate(
    ids: Ids, pair_ids: Ids | None, remove: int, strategy: str, stride: int, side: str
) -> tuple[Ids, Ids | None, Ids]:
    """Take `remove` ids away from one text or two.

    Returns:
        What is left of the first text, of the second, and what overflows with `stride` ids before it. Two texts that
        are both cut ("longest_first") overflow into nothing.

    Raises:
        TokenizerError: The text to cut is too short, or absent.
    """
    if strategy not in TRUNCATIONS or side not in SIDES:
        raise TokenizerError(f"truncation: expected one of {', '.join(TRUNCATIONS)}, found {shown(strategy)} ({side})")
    if remove <= 0 or strategy == "do_not_truncate":
        return ids, pair_ids, []
    if strategy == "longest_first" and pair_ids is not None:
        from_first, from_second = _shares(len(ids), len(pair_ids), remove)
        _check_enough("both texts", len(ids) + len(pair_ids), remove - 1)
        return _cut(ids, from_first, side), _cut(pair_ids, from_second, side), []
    if strategy == "only_second":
        if pair_ids is None:
            raise TokenizerError("truncation: 'only_second' needs a second text")
        _check_enough("the second text", len(pair_ids), remove)
        return ids, _cut(pair_ids, remove, side), _rest(pair_ids, remove + stride, side)
    _check_enough("the first text", len(ids), remove)
    return _cut(ids, remove, side), pair_ids, _rest(ids, remove + stride, side)


def _shares(first: int, second: int, remove: int) -> tuple[int, int]:
    """How many ids each text gives: the longer one down to the other's length, then both alternately."""
    alone = min(abs(first - second), remove)
    both = remove - alone
    if first > second:
        return alone + both // 2, both - both // 2
    return both // 2, alone + both - both // 2


def _cut(ids: Ids, remove: int, side: str) -> Ids:
    return ids[remove:] if side == "left" else ids[: len(ids) - remove]


def _rest(ids: Ids, count: int, side: str) -> Ids:
    count = min(count, len(ids))
    return ids[:count] if side == "left" else ids[len(ids) - count :]


def _check_enough(what: str, length: int, remove: int) -> None:
    if length <= remove:
        raise TokenizerError(f"truncation: {remove} tokens are to be removed, but {what} has only {length}")
