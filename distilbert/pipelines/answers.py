# SPDX-License-Identifier: Apache-2.0
"""From a question and its text to windows of tokens, and from a model's answers for them to pieces of the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from distilbert.errors import InputError, TokenizerError
from distilbert.outputs import ModelOutput
from distilbert.pipelines.spans import Span, candidates
from distilbert.tokenizer import DistilBertTokenizer

NOTHING = {"score": 0.0, "start": 0, "end": 0, "answer": ""}


def context_place(tokenizer: DistilBertTokenizer) -> int:
    """1 if the context is the second text; as in transformers it is the first (0) where padding is on the left."""
    return 1 if tokenizer.padding_side == "right" else 0


def question_windows(
    tokenizer: DistilBertTokenizer, pairs: Sequence[tuple[str, str]], length: int, stride: int
) -> list[list[Encoding]]:
    """The windows of each question and its context.

    Args:
        tokenizer: of the model.
        pairs: questions and contexts.
        length: tokens of a window, with its question, at most.
        stride: tokens of the context that a window repeats of the one before.

    Raises:
        InputError: a question leaves no room for its context.
        TokenizerError: a text cannot be encoded.
    """
    place = context_place(tokenizer)
    try:
        encoded = tokenizer.batch_encode_plus(
            pairs if place == 1 else [pair[::-1] for pair in pairs],
            truncation="only_second" if place == 1 else "only_first",
            max_length=length,
            stride=stride,
            return_overflowing_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
    except TokenizerError:
        _check_room(tokenizer, pairs, length, stride)
        raise
    windows: list[list[Encoding]] = [[] for _ in pairs]
    for number, window in zip(encoded["overflow_to_sample_mapping"], encoded.encodings or (), strict=True):
        windows[number].append(window)
    return windows


def find_answers(
    tokenizer: DistilBertTokenizer,
    text: str,
    windows: Sequence[Encoding],
    answers: Sequence[ModelOutput],
    top_k: int,
    *,
    max_answer_len: int,
    align_to_words: bool,
    handle_impossible_answer: bool,
) -> list[dict[str, Any]]:
    """The most probable answers, at least one, best first; those of the same text, but for case, are one.

    Args:
        tokenizer: of the model.
        text: the context.
        windows: of it.
        answers: of the model, for each window (T,).
        top_k: how many at most.
        max_answer_len: tokens of an answer, at most.
        align_to_words: widen answers to whole words.
        handle_impossible_answer: whether "no answer", the empty text, is one of the answers.
    """
    place, cls = context_place(tokenizer), tokenizer.cls_token_id
    # Several spans of tokens can be the same words: with too few of them, words would be missed.
    count = 2 * top_k + 10 if align_to_words else top_k
    found: dict[str, dict[str, Any]] = {}
    no_answer = np.inf
    for window, logits in zip(windows, answers, strict=True):
        allowed = _allowed(window, place, cls)
        best = candidates(logits.start_logits, logits.end_logits, allowed, count, max_answer_len)
        no_answer = min(no_answer, best.no_answer)
        for span in best.spans:
            start, end = _characters(window, span, place, align_to_words)
            answer = text[start:end]
            entry = found.setdefault(answer.lower(), {"score": 0.0, "start": start, "end": end, "answer": answer})
            entry["score"] += span.score
    results = list(found.values())
    if handle_impossible_answer:
        results.append({**NOTHING, "score": no_answer})
    results.sort(key=lambda result: -result["score"])  # stable: of equal ones, the one found first
    return results[:top_k] or [dict(NOTHING)]


def _check_room(tokenizer: DistilBertTokenizer, pairs: Sequence[tuple[str, str]], length: int, stride: int) -> None:
    """Raise InputError if a question leaves no room for its context."""
    questions = [question for question, _ in pairs]
    longest = max(map(len, tokenizer(questions, add_special_tokens=False, verbose=False)["input_ids"]))
    specials = tokenizer.num_special_tokens_to_add(pair=True)
    room = max(length - specials - longest, 0)
    if room <= stride:
        raise InputError(
            f"question: has {longest} tokens, which leaves {room} of {length} for the context, and windows with "
            f"doc_stride {stride} take more; shorten the question, raise max_seq_len or lower doc_stride"
        )


def _allowed(window: Encoding, place: int, cls: int | None) -> NDArray[np.bool_]:
    """(T,), the tokens that an answer may have, by the rules of transformers.

    They are the context and every [CLS], also one that is written in the question; and all where the context comes
    first.
    """
    if place == 0:
        return np.ones(len(window), bool)
    allowed: NDArray[np.bool_] = np.array(window.ids) == cls
    allowed[:-1] |= np.array(window.type_ids[:-1]) == 1  # but for the last token, which is [SEP]
    return allowed


def _characters(window: Encoding, span: Span, place: int, align_to_words: bool) -> tuple[int, int]:
    """Where in the context a span is."""
    start = end = None
    if align_to_words:
        start, end = _word(window, span.start, place), _word(window, span.end, place)
    if start is None or end is None:
        start, end = (window.token_to_chars(token) or (0, 0) for token in (span.start, span.end))
    return start[0], end[1]


def _word(window: Encoding, token: int, place: int) -> tuple[int, int] | None:
    """The characters of a token's word, as far as the window holds it; None for special tokens."""
    word = window.token_to_word(token)
    found: tuple[int, int] | None = None if word is None else window.word_to_chars(word, place)
    return found
