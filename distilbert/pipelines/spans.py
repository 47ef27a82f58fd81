# SPDX-License-Identifier: Apache-2.0
"""The most probable answers in one window of a text, from its start and end logits. Of tokens, not of characters."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from distilbert.pipelines.scores import Numbers, largest, softmax

NO_ANSWER = 0  # the place of [CLS], where a model points if the window holds no answer


class Span(NamedTuple):
    """Tokens `start` to `end` (inclusive), and their probability."""

    start: int
    end: int
    score: float


class Candidates(NamedTuple):
    """What a window offers.

    Attributes:
        spans: the most probable first.
        no_answer: the probability that there is no answer in it.
    """

    spans: list[Span]
    no_answer: float


def candidates(
    start_logits: NDArray[Any], end_logits: NDArray[Any], allowed: NDArray[np.bool_], count: int, max_tokens: int
) -> Candidates:
    """The most probable spans.

    A span's probability is that of its start times that of its end, each a softmax over the allowed tokens and [CLS].
    Of equal ones the one that starts first comes first, then the one that ends first: so the order depends on nothing
    but the logits. Spans of probability 0 are left out.

    Args:
        start_logits: (T,).
        end_logits: (T,).
        allowed: (T,), the tokens that an answer may have; [CLS] at place 0 counts in the softmax only.
        count: how many spans at most.
        max_tokens: the length of a span, at most.
    """
    counted = allowed.copy()
    counted[NO_ANSWER] = True
    starts, ends = (softmax(np.where(counted, logits, -np.inf)) for logits in (start_logits, end_logits))
    no_answer = float(starts[NO_ANSWER] * ends[NO_ANSWER])
    starts[NO_ANSWER] = ends[NO_ANSWER] = 0
    scores = _band(starts, ends, min(max_tokens, len(starts)))
    flat = scores.reshape(-1)
    rows, columns = np.divmod(np.array(largest(flat, count), np.int64), scores.shape[1])
    best = zip(rows.tolist(), (rows + columns).tolist(), scores[rows, columns].tolist(), strict=True)
    return Candidates([Span(*span) for span in best if span[2] > 0], no_answer)


def _band(starts: Numbers, ends: Numbers, width: int) -> Numbers:
    """(T, width): at [s, n] the probability of the span from s to s + n. Far fewer than (T, T), where most are 0."""
    padded = np.concatenate([ends, np.zeros(width - 1)])
    band: Numbers = starts[:, None] * sliding_window_view(padded, width)
    return band
