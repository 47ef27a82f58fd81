# SPDX-License-Identifier: Apache-2.0
"""Which tokens a masked language model has to guess, and what it sees in their place. Arrays in, arrays out.

Of the tokens that may be masked, each text gives a fixed share (at least one, if it has any): 80 % become [MASK], 10 %
another token, 10 % stay. What is drawn for a token depends on the draws, the number of its text and its place alone:
not on the other texts of the batch, the padded length, or how often anything was drawn before. So an epoch can be cut
into batches and processes in any way, or resumed in its middle, and is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distilbert.errors import TokenizerError
from distilbert.tokenizer import DistilBertTokenizer

Array = NDArray[Any]

MULTIPLE = 8  # numbers of places are rounded up to it, so that compiled code meets few shapes
_TO_MASK, _TO_OTHER = 0.8, 0.9  # cumulated shares: [MASK], another token; the rest stays
_CHOICE, _FATE, _OTHER = range(3)  # what is drawn for each token


@dataclass(frozen=True)
class Pieces:
    """What masking must know of a vocabulary of V word pieces.

    Attributes:
        mask: the id of [MASK].
        ordinary: ids of the pieces that are not special: another token is one of these.
        special: (V,) whether an id is a special token, [PAD] and [UNK] included.
        continues: (V,) whether an id continues a word.
    """

    mask: int
    ordinary: NDArray[np.int32]
    special: NDArray[np.bool_]
    continues: NDArray[np.bool_]

    @classmethod
    def of(cls, tokenizer: DistilBertTokenizer) -> Pieces:
        """Of a tokenizer; TokenizerError if it has no [MASK]."""
        special, continues = np.zeros(len(tokenizer), bool), np.zeros(len(tokenizer), bool)
        special[tokenizer.all_special_ids] = True
        prefix = tokenizer.backend_tokenizer.model.continuing_subword_prefix
        for piece, number in tokenizer.get_vocab().items():
            continues[number] = piece.startswith(prefix)
        if tokenizer.mask_token_id is None:
            raise TokenizerError("tokenizer: has no mask_token, which masked language modelling needs")
        return cls(tokenizer.mask_token_id, np.flatnonzero(~special).astype(np.int32), special, continues & ~special)

    def maskable(self, ids: Array) -> NDArray[np.bool_]:
        """Where ids (B, T) are no special token and no padding."""
        return ~self.special[ids]

    def word_starts(self, ids: Array) -> NDArray[np.bool_]:
        """Where ids (B, T) begin a word."""
        return ~self.continues[ids]


class Masked(NamedTuple):
    """A masked batch.

    Attributes:
        input_ids: (B, T) what the model sees, of the type of the ids given.
        places: (B, P) int32, the places to guess, ascending; filled up with 0. P is a multiple of 8.
        labels: (B, P) int32, what was there; filled up with 0.
        weights: (B, P) float32, 1 for a place to guess and 0 for what fills up.
    """

    input_ids: Array
    places: NDArray[np.int32]
    labels: NDArray[np.int32]
    weights: NDArray[np.float32]


def mask(
    ids: Array,
    maskable: NDArray[np.bool_],
    word_starts: NDArray[np.bool_] | None,
    probability: float,
    draws: Sequence[int],
    numbers: Array,
    pieces: Pieces,
    rates: Array | None = None,
) -> Masked:
    """Mask a batch.

    Args:
        ids: (B, T) token ids, padded.
        maskable: (B, T) which tokens may be masked; `pieces.maskable(ids)` is all but special ones.
        word_starts: (B, T) where words begin: the pieces of a word are then masked together, as many whole words as
            fit into the share (one, if the first is longer). None: each token for itself.
        probability: share of the maskable tokens of a text to be masked, rounded.
        draws: seed of what is drawn, as (seed, epoch).
        numbers: (B,) number of each text.
        pieces: of the vocabulary.
        rates: (V,) how readily each piece is masked relative to others (a word: its first piece); None: all alike.
    """
    uniform = draw(draws, numbers, ids.shape[1], _CHOICE)
    keys = -np.log1p(-uniform)  # the lowest of exponential keys are a sample without replacement
    if rates is not None:
        keys = keys / rates[ids]
    wanted = np.maximum(np.rint(maskable.sum(1) * probability), 1).astype(np.int64)
    chosen = _choose(keys, maskable, word_starts, wanted)
    fate = draw(draws, numbers, ids.shape[1], _FATE)
    other = pieces.ordinary[(draw(draws, numbers, ids.shape[1], _OTHER) * len(pieces.ordinary)).astype(np.int64)]
    seen = np.where(chosen & (fate < _TO_MASK), pieces.mask, ids)
    seen = np.where(chosen & (fate >= _TO_MASK) & (fate < _TO_OTHER), other, seen).astype(ids.dtype)
    return Masked(seen, *_gather(ids, chosen))


def _choose(
    keys: Array, maskable: NDArray[np.bool_], word_starts: NDArray[np.bool_] | None, wanted: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(B, T) the maskable tokens with the lowest keys, as many as wanted; or whole words by their first token's key."""
    places = np.arange(keys.shape[1])
    first = None
    if word_starts is not None:
        begins = word_starts | ~maskable
        begins[:, 1:] |= ~maskable[:, :-1]  # what is left of a word after a token that cannot be masked
        first = np.maximum.accumulate(np.where(begins, places, 0), axis=1)  # (B, T) where each token's word begins
        keys = np.take_along_axis(keys, first, 1)
    order = np.argsort(np.where(maskable, keys, np.inf), axis=1, kind="stable")
    taken = places < wanted[:, None]
    if first is not None:
        words = np.take_along_axis(first, order, 1)
        ends = np.concatenate([words[:, 1:] != words[:, :-1], np.ones((len(words), 1), bool)], 1)
        last = np.minimum.accumulate(np.where(ends, places, keys.shape[1])[:, ::-1], axis=1)[:, ::-1]
        taken = (last < wanted[:, None]) | (words == words[:, :1])
    chosen = np.zeros(keys.shape, bool)
    np.put_along_axis(chosen, order, taken, 1)
    return chosen & maskable


def _gather(ids: Array, chosen: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Places, labels and weights (B, P) of the chosen tokens."""
    most = int(chosen.sum(1).max(initial=1))
    shape = (len(ids), -(-most // MULTIPLE) * MULTIPLE)
    places, labels, weights = np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    rows, columns = np.nonzero(chosen)
    slots = chosen.cumsum(1)[rows, columns] - 1
    places[rows, slots], labels[rows, slots], weights[rows, slots] = columns, ids[rows, columns], 1
    return places, labels, weights


def draw(draws: Sequence[int], numbers: Array, count: int, stream: int) -> NDArray[np.float64]:
    """(B, count) evenly drawn from 0 (included) to 1 (excluded), by hashing draws, numbers, place and stream."""
    state = np.zeros(1, np.uint64)
    for value in (stream, *draws):
        state = _mixed(state, np.asarray([value], np.int64))
    rows = _mixed(state, np.asarray(numbers, np.int64))
    values = _mixed(rows[:, None], np.arange(count, dtype=np.int64)[None, :])
    return (values >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(state: NDArray[np.uint64], values: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The state after taking in values: the finalizer of SplitMix64, in which every bit decides every other."""
    with np.errstate(over="ignore"):
        x = (state ^ values.astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
