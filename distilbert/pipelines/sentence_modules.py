# SPDX-License-Identifier: Apache-2.0
"""What makes an embedding of a sentence's hidden states, as `sentence_transformers.py` reads it from a checkpoint.

How it is used: `sentence_embedding.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

POOLINGS = ("cls", "max", "mean", "mean_sqrt_len")  # in the order in which several are joined


@dataclass(frozen=True)
class Dense:
    """A linear layer after pooling: weight (O, I), bias (O,), and perhaps a tanh."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    has_tanh: bool

    def __call__(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """(I,) to (O,)."""
        result: NDArray[np.float64] = self.weight @ vector + self.bias
        return np.tanh(result) if self.has_tanh else result


@dataclass(frozen=True)
class SentenceModules:
    """How an encoder's hidden states become a sentence's embedding; by default their mean.

    Attributes:
        pooling: of `POOLINGS`; several are joined.
        include_prompt: whether the tokens of a prompt are pooled too.
        dense: layers after pooling.
        normalize: whether embeddings get the length 1.
        max_length: in tokens, where texts are cut; None for what the model takes.
        lower_case: whether texts are put into lower case, whatever the tokenizer does.
        prompts: by name, what comes before a text.
        default_prompt: the name of the one that is used when none is named.
    """

    pooling: tuple[str, ...] = ("mean",)
    include_prompt: bool = True
    dense: tuple[Dense, ...] = ()
    normalize: bool = False
    max_length: int | None = None
    lower_case: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt: str | None = None

    def problems(self, pooling: Sequence[str], width: int) -> list[str]:
        """Why this pooling of hidden states of a width does not fit the dense layers."""
        expected, found = self.dense[0].weight.shape[1] if self.dense else 0, len(pooling) * width
        if not self.dense or found == expected:
            return []
        return [f"pooling: the dense layer takes {expected} numbers, {' and '.join(pooling)} gives {found}"]
