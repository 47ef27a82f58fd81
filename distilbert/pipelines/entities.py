# SPDX-License-Identifier: Apache-2.0
"""From scores of tokens to entities, by the rules of transformers 4.57. Knows nothing of models and tokenizers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from distilbert.pipelines.scores import Numbers

Join = Callable[[list[str]], str]  # tokens as text

# What a word's scores (L,) are, given those of its tokens (n, L).
WORD_SCORES: dict[str, Callable[[Numbers], Numbers]] = {
    "first": lambda scores: scores[0],
    "average": lambda scores: scores.mean(0),
    "max": lambda scores: scores[scores.max(1).argmax()],
}
STRATEGIES = ("none", "simple", *WORD_SCORES)


class Piece(NamedTuple):
    """A token of a text.

    Attributes:
        place: its number among the tokens of its sequence.
        word: the token as the vocabulary has it, or the text's own characters where the vocabulary does not have it.
        start: its first character.
        end: the character after its last.
        continues: whether it belongs to the word of the token before.
    """

    place: int
    word: str
    start: int
    end: int
    continues: bool


class Span(NamedTuple):
    """Characters `start` to `end` (exclusive) of a text with a label; a token, a word or an entity."""

    label: str
    score: float
    word: str
    start: int
    end: int


def label_tokens(pieces: Sequence[Piece], scores: Numbers, labels: Sequence[str]) -> list[Span]:
    """Each token with its likeliest label.

    Args:
        pieces: the tokens.
        scores: of the tokens (T, L).
        labels: L names.
    """
    places, best = scores.argmax(-1).tolist(), scores.max(-1).tolist()
    return [
        Span(labels[place], score, piece.word, piece.start, piece.end)
        for piece, place, score in zip(pieces, places, best, strict=True)
    ]


def label_words(
    pieces: Sequence[Piece], scores: Numbers, labels: Sequence[str], strategy: str, join: Join
) -> list[Span]:
    """Each word with its likeliest label, by the scores of its first token, of all on average, or of the surest one."""
    starts = [place for place, piece in enumerate(pieces) if place == 0 or not piece.continues]
    ends = [*starts[1:], len(pieces)][: len(starts)]
    words = [_word(pieces[start:end], join) for start, end in zip(starts, ends, strict=True)]
    chosen = scores[starts]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if end - start > 1:
            chosen[number] = WORD_SCORES[strategy](scores[start:end])
    return label_tokens(words, chosen, labels)


def group(spans: Iterable[Span], ignored: Collection[str], join: Join) -> list[Span]:
    """Entities: neighbours of one kind become one, unless a label says `B-`, that another begins.

    Args:
        spans: tokens or words in order.
        ignored: kinds to leave out.
        join: tokens as text.
    """
    groups: list[list[Span]] = []
    last = None
    for span in spans:
        begins, kind = _kind(span.label)
        if kind == last and not begins:
            groups[-1].append(span)
        else:
            groups.append([span])
        last = kind
    named = ((found[0].label.split("-", 1)[-1], found) for found in groups)
    return [
        Span(
            name,
            fmean(span.score for span in found),
            join([span.word for span in found]),
            found[0].start,
            found[-1].end,
        )
        for name, found in named
        if name not in ignored
    ]


def without_overlaps(spans: Iterable[Span]) -> list[Span]:
    """Of entities of several windows that overlap the longest, of equally long ones the surest, of equals the first."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
        elif (span.end - span.start, span.score) > (kept[-1].end - kept[-1].start, kept[-1].score):
            kept[-1] = span
    return kept


def _word(pieces: Sequence[Piece], join: Join) -> Piece:
    first = pieces[0]
    if len(pieces) == 1:
        return first
    return first._replace(word=join([piece.word for piece in pieces]), end=pieces[-1].end)


def _kind(label: str) -> tuple[bool, str]:
    """Whether an entity begins here, and of what kind it is; a label without `B-` or `I-` is its kind itself."""
    is_prefixed = label.startswith(("B-", "I-"))
    return label.startswith("B-"), label[2:] if is_prefixed else label
