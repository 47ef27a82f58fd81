# SPDX-License-Identifier: Apache-2.0
"""A stream of sequences cut into windows: enough of them to be sorted well, few enough to be held in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distilbert.errors import InputError

if TYPE_CHECKING:
    from distilbert.inference.fast_model import FastModel

Item = Sequence[Any]  # of token ids; for multiple choice of sequences

WINDOW_PACKS = 64
WINDOW_BYTES = 256 * 2**20  # of answers


def windows(items: Iterable[tuple[Item, int]], fast: FastModel) -> Iterator[list[Item]]:
    """Lists of items in order, each as large as the window allows.

    Args:
        items: with their number of tokens.
        fast: says what an answer takes.
    """
    budget = window_tokens(fast)
    window: list[Item] = []
    tokens = 0
    for item, length in items:
        if window and tokens + length > budget:
            yield window
            window, tokens = [], 0
        window.append(item)
        tokens += length
    if window:
        yield window


def window_tokens(fast: FastModel) -> int:
    """Tokens that are read ahead."""
    budget = WINDOW_PACKS * fast.tokens_per_pack
    if fast.first_only:
        return budget
    widths = {"encoder": fast.config.dim, "masked-lm": fast.config.vocab_size}
    width: int = widths.get(fast.task, fast.config.num_labels)
    return max(fast.tokens_per_pack, min(budget, WINDOW_BYTES // (4 * width)))


def check_item(item: Any, number: int, fast: FastModel) -> tuple[Item, int]:
    """One item as arrays of token ids, and its number of tokens.

    Raises:
        InputError: it is not what the model takes; `number` says where in the stream it is.
    """
    name = f"sequence {number}"
    if fast.task != "multiple-choice":
        ids = _check_sequence(item, name, fast)
        return ids, len(ids)
    if not isinstance(item, Sequence | np.ndarray) or len(item) == 0:
        raise InputError(f"{name}: multiple choice expects a list of token-id lists, found {_kind(item)}")
    choices = [_check_sequence(choice, f"{name}, choice {place}", fast) for place, choice in enumerate(item)]
    return choices, sum(map(len, choices))


def _check_sequence(ids: Any, name: str, fast: FastModel) -> Any:
    longest, words = fast.config.max_position_embeddings, fast.config.vocab_size
    try:
        array = np.asarray(ids)
    except ValueError:
        raise InputError(f"{name}: expected a list of token ids, found {_kind(ids)}") from None
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        found = "an empty list" if array.size == 0 else f"{_kind(ids)} of shape {array.shape} and type {array.dtype}"
        raise InputError(f"{name}: expected a list of at least one token id (whole numbers), found {found}")
    if array.size > longest:
        raise InputError(
            f"{name}: expected at most max_position_embeddings {longest} tokens, found {array.size}; truncate the text"
        )
    if array.min() < 0 or array.max() >= words:
        raise InputError(
            f"{name}: expected ids from 0 to {words - 1} (vocab_size {words}), found {array.min()} to {array.max()}"
        )
    return array


def _kind(value: Any) -> str:
    return "an empty list" if isinstance(value, Sequence) and len(value) == 0 else type(value).__name__
