# SPDX-License-Identifier: Apache-2.0
"""What goes into an exported model and comes out of it: the names, and how many axes they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from distilbert.config import DistilBertConfig
from distilbert.outputs import ANSWERS

Array = NDArray[Any]

INPUTS = ("input_ids", "attention_mask")
AXES = {"batch": "batch_size", "choices": "num_choices", "tokens": "sequence_length"}


class Session(Protocol):
    """A file that is open to be run."""

    def run(self, inputs: Mapping[str, NDArray[np.int64]]) -> dict[str, Array]:
        """The outputs by name for `input_ids` and `attention_mask` (B, T), of multiple choice (B, C, T)."""


def output_names(task: str) -> tuple[str, ...]:
    """The fields of a task's answer, as a call of the model fills them."""
    return ANSWERS[task][1]


def axes(task: str) -> tuple[str, ...]:
    """What the axes of the inputs are called."""
    names = ("batch", "choices", "tokens") if task == "multiple-choice" else ("batch", "tokens")
    return tuple(AXES[name] for name in names)


def output_shape(task: str, config: DistilBertConfig, tokens: int) -> tuple[int, ...]:
    """The shape of every output for one text of so many tokens; of multiple choice, for one choice of one question."""
    shapes: dict[str, tuple[int, ...]] = {
        "encoder": (tokens, config.dim),
        "masked-lm": (tokens, config.vocab_size),
        "sequence-classification": (config.num_labels,),
        "multiple-choice": (1,),
        "token-classification": (tokens, config.num_labels),
        "question-answering": (tokens,),
    }
    return (1, *shapes[task])
