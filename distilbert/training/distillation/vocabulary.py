# SPDX-License-Identifier: Apache-2.0
"""A smaller vocabulary for a smaller student: the pieces that a corpus needs most, and nothing lost to [UNK].

Every single character, as the beginning of a word and as its continuation, stays a piece. WordPiece takes the longest
piece that fits and then goes on: with all characters there it always can, so a word that could be split before can be
split now, if into more pieces. A character that the old vocabulary lacks in one of the two forms, as only a vocabulary
made by hand does, is no such help: all pieces that hold one stay.

Teacher and student then both work with the new pieces. Each is a piece of the teacher's too, so its embeddings and the
rows of its projector are taken over (`with_vocabulary`), and nothing has to be mapped later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert import spec
from distilbert.config import DistilBertConfig
from distilbert.convert.tensor import Array
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.tokenizer.definition import Definition


def kept_pieces(tokenizer: DistilBertTokenizer, counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The ids to keep, rising: special and added tokens, characters, then the most frequent pieces up to `size`.

    Args:
        tokenizer: of the teacher.
        counts: (V,) how often each piece occurs in the corpus; pieces that do not occur are not kept for their rank.
        size: how many to keep, if what must be kept is not more.
    """
    needed = needed_pieces(tokenizer)
    rank = np.argsort(-np.where(needed, -1, counts), kind="stable")
    wanted = rank[: max(0, size - int(needed.sum()))]
    chosen = needed.copy()
    chosen[wanted[counts[wanted] > 0]] = True
    return np.flatnonzero(chosen)


def needed_pieces(tokenizer: DistilBertTokenizer) -> NDArray[np.bool_]:
    """(V,) which pieces no smaller vocabulary can do without."""
    vocabulary, prefix = tokenizer.get_vocab(), tokenizer.backend_tokenizer.model.continuing_subword_prefix
    always = {*tokenizer.added_tokens_decoder, *tokenizer.all_special_ids}
    needed = np.zeros(len(tokenizer), bool)
    for piece, number in vocabulary.items():
        bare = piece.removeprefix(prefix)
        first, later = ([], bare) if piece != bare else (bare[:1], bare[1:])
        parts = [*first, *(prefix + character for character in later)]
        needed[number] = len(bare) == 1 or number in always or any(part not in vocabulary for part in parts)
    return needed & ~_unused(vocabulary, len(needed), always)


def smaller_tokenizer(tokenizer: DistilBertTokenizer, kept: NDArray[np.int64]) -> DistilBertTokenizer:
    """A tokenizer that is the same but for its vocabulary; new ids are the places in `kept`."""
    words = [tokenizer._token(int(number)) for number in kept if number < tokenizer.vocab_size]
    definition = Definition(
        words=words,
        pipeline=tokenizer._engine.pipeline,
        added=list(tokenizer.added_tokens_decoder.values()),
        special=dict(tokenizer._special),
        additional=list(tokenizer._additional),
        settings=dict(tokenizer._settings),
        unknown=dict(tokenizer._unknown),
    )
    smaller = type(tokenizer).__new__(type(tokenizer))
    smaller._setup(definition)
    return smaller


def with_vocabulary(
    config: DistilBertConfig, tensors: Mapping[str, Array], kept: NDArray[np.int64]
) -> tuple[DistilBertConfig, dict[str, Array]]:
    """A model that knows only the pieces kept: their rows of the word embeddings and the vocabulary projector."""
    changed: dict[str, Array] = dict(tensors)
    for name in tensors:
        if name.endswith(spec.WORD_EMBEDDINGS) or name in (spec.PROJECTOR, spec.PROJECTOR_BIAS):
            changed[name] = np.ascontiguousarray(tensors[name][kept])
    changes: dict[str, Any] = {"vocab_size": len(kept)}
    if config.pad_token_id is not None:
        place = np.flatnonzero(kept == config.pad_token_id)
        changes["pad_token_id"] = int(place[0]) if len(place) else None
    return config.replace(**changes), changed


def _unused(vocabulary: Mapping[str, int], size: int, always: set[int]) -> NDArray[np.bool_]:
    """(V,) BERT's [unused0] and so on, which no text contains."""
    unused = np.zeros(size, bool)
    for piece, number in vocabulary.items():
        unused[number] = piece.startswith("[unused") and number not in always
    return unused
