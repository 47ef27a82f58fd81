# SPDX-License-Identifier: Apache-2.0
"""A stream of sequences cut into windows: enough of them to be sorted well, few enough to be held in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from reprlib import repr as shown
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np

from distilbert.errors import InputError

if TYPE_CHECKING:
    from distilbert.inference.fast_model import FastModel

WINDOW_PACKS = 64
WINDOW_BYTES = 256 * 2**20  # of answers


class Measured(Protocol):
    """What a window is made of."""

    @property
    def tokens(self) -> int:
        """How many the model has to read."""

    @property
    def answers(self) -> int:
        """For how many of them it answers."""


Some = TypeVar("Some", bound=Measured)


class Item(NamedTuple):
    """One item of a stream, as `check_item` gives it.

    Attributes:
        ids: of its tokens; for multiple choice a list of those of each choice.
        places: of the tokens that are answered for; None for all.
        tokens: how many there are.
        answers: how many are answered for.
    """

    ids: Any
    places: Any
    tokens: int
    answers: int


def windows(items: Iterable[Some], fast: FastModel) -> Iterator[list[Some]]:
    """Lists of items in order, each as large as the window allows.

    Args:
        items: of any kind.
        fast: says what an answer takes.
    """
    most_tokens, most_answers = window_limits(fast)
    window: list[Some] = []
    tokens = answers = 0
    for item in items:
        tokens, answers = tokens + item.tokens, answers + item.answers
        if window and (tokens > most_tokens or answers > most_answers):
            yield window
            window, tokens, answers = [], item.tokens, item.answers
        window.append(item)
    if window:
        yield window


def window_limits(fast: FastModel) -> tuple[int, int]:
    """Tokens that are read ahead, and for how many of them answers are held."""
    tokens = WINDOW_PACKS * fast.tokens_per_pack
    if fast.first_only:
        return tokens, tokens
    widths = {"encoder": fast.config.dim, "masked-lm": fast.config.vocab_size}
    width: int = widths.get(fast.task, fast.config.num_labels)
    return tokens, max(fast.tokens_per_pack, WINDOW_BYTES // (4 * width))


def check_item(item: Any, number: int, fast: FastModel) -> Item:
    """One item as arrays of token ids.

    Raises:
        InputError: it is not what the model takes; `number` says where in the stream it is.
    """
    name = f"sequence {number}"
    if fast.task != "multiple-choice":
        ids = _check_sequence(item, name, fast)
        return Item(ids, None, len(ids), len(ids))
    if not isinstance(item, Sequence | np.ndarray) or len(item) == 0:
        raise InputError(f"{name}: multiple choice expects a list of token-id lists, found {_kind(item)}")
    choices = [_check_sequence(choice, f"{name}, choice {place}", fast) for place, choice in enumerate(item)]
    tokens = sum(map(len, choices))
    return Item(choices, None, tokens, tokens)


def with_places(items: Iterable[Item], places: Iterable[Any], fast: FastModel) -> Iterator[Item]:
    """Items that are answered for at chosen places only.

    Args:
        items: as `check_item` gives them.
        places: for each item the tokens that are answered for.
        fast: says whether it can choose.

    Raises:
        InputError: it cannot, or the places do not fit the items.
    """
    if fast.task != "masked-lm":
        raise InputError(f"places: only for masked language models, found a model for {fast.task}")
    for number, (item, chosen) in enumerate(zip_longest(items, places)):
        if item is None or chosen is None:
            found = "no sequence" if item is None else "no places"
            raise InputError(f"places: expected a list for each sequence, found {found} {number}")
        array = _check_places(chosen, f"sequence {number}", item.tokens)
        yield item._replace(places=array, answers=len(array))


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


def _check_places(places: Any, name: str, tokens: int) -> Any:
    try:
        array = np.asarray(places)
    except ValueError:
        array = np.asarray(None)
    fits = array.ndim == 1 and (array.size == 0 or array.dtype.kind in "iu")
    if not fits or (array.size and not 0 <= array.min() <= array.max() < tokens):
        raise InputError(
            f"{name}: expected places as a list of whole numbers from 0 to {tokens - 1}, found {shown(places)}"
        )
    return array.astype(np.int64)


def _kind(value: Any) -> str:
    return "an empty list" if isinstance(value, Sequence) and len(value) == 0 else type(value).__name__
