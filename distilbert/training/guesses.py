# SPDX-License-Identifier: Apache-2.0
"""How well a masked language model guesses, counted text by text: the logits of all places are too many to keep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from distilbert.outputs import ModelOutput
from distilbert.training.masking import Masked

EVALUATION = (0,)  # draws of evaluations, which mask the same tokens every time
_MOST = 700.0  # the exponential of more is no number any more


class Guesses(NamedTuple):
    """The guesses in one text: how many places, how many right, and the sum of -log p."""

    places: int
    right: int
    surprise: float


def count_guesses(answer: ModelOutput, masked: Masked) -> Guesses:
    """The guesses in one text.

    Args:
        answer: of the model, with `logits` (P, V); those of filled up places are left out.
        masked: what it was asked, a batch of this one text.
    """
    count = int(masked.weights.sum())
    logits, labels = answer.logits[:count].astype(np.float32), masked.labels[0, :count]
    highest = logits.max(-1, keepdims=True)
    log_sum = np.log(np.exp(logits - highest).sum(-1, dtype=np.float64)) + highest[:, 0]
    surprise = log_sum - logits[np.arange(count), labels]
    return Guesses(count, int((logits.argmax(-1) == labels).sum()), float(surprise.sum()))


def guess_scores(guesses: Sequence[Guesses]) -> dict[str, float]:
    """Share of all places that were guessed right, and perplexity: `{"accuracy": ..., "perplexity": ...}`."""
    count = max(sum(text.places for text in guesses), 1)
    mean = sum(text.surprise for text in guesses) / count
    return {
        "accuracy": sum(text.right for text in guesses) / count,
        "perplexity": math.exp(min(mean, _MOST)),
    }
