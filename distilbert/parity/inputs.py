# SPDX-License-Identifier: Apache-2.0
"""Sample calls for any config and task, the same for every framework and every time: what parity is measured on.

They hold what real batches hold: texts of different lengths, padding on either side, positions from the whole table, a
single token, labels with ignored places, and rows of nothing but padding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert import inputs
from distilbert.config import DistilBertConfig
from distilbert.inputs import IGNORED_LABEL

Array = NDArray[Any]

CHOICES = 3  # of every multiple-choice question
_SHORT = 12  # tokens


@dataclass(frozen=True)
class SampleCall:
    """One call of a model: a name for the report, and NumPy arguments.

    `finite_only` marks a call whose numbers mean nothing, so that they only have to be finite.
    """

    name: str
    arguments: dict[str, Array]
    finite_only: bool = False


def sample_calls(config: DistilBertConfig, task: str, seed: int = 0, longest: int = 48) -> list[SampleCall]:
    """The calls that a model of this config and task is measured on.

    Args:
        config: sizes, padding id, number of labels and problem type.
        task: a name in `spec.TASKS`.
        seed: of the token ids and labels.
        longest: tokens in the longest call, where the model takes as many. The reference needs about a second for a
            hundred tokens of a base-size model.
    """
    sampler = _Sampler(config, task, np.random.default_rng(seed))
    short = min(_SHORT, config.max_position_embeddings)
    long = min(longest, config.max_position_embeddings)
    places = np.linspace(0, config.max_position_embeddings - 1, long).round().astype(np.int32)
    lengths = [max(short * twelfths // 12, 1) for twelfths in (12, 6, 11, 1, 9, 3)]
    return [
        SampleCall("padding after the text", sampler.padded(lengths)),
        SampleCall("padding before the text", sampler.padded(lengths, before=True)),
        SampleCall("a single token", sampler.full(1)),
        SampleCall("positions from the whole table", {**sampler.full(long), "position_ids": places}),
        SampleCall("rows of padding only", sampler.padded([short, 0, 0] * 2), finite_only=True),
    ]


class _Sampler:
    """Draws token ids and labels.

    The first text (of multiple choice: the first question) comes once more at the end with other labels, so that no
    model can be right about all: a loss near zero is the difference of large numbers, and says nothing about either.
    """

    def __init__(self, config: DistilBertConfig, task: str, random: np.random.Generator) -> None:
        self.config = config
        self.task = task
        self.random = random

    def full(self, length: int) -> dict[str, Array]:
        """Two texts (of multiple choice: questions) without padding, and without a mask."""
        keep = np.ones((2 * CHOICES if self.task == "multiple-choice" else 2, length), bool)
        return self._rows({"input_ids": self._ids(keep)}) | self._labels(keep)

    def padded(self, lengths: Sequence[int], before: bool = False) -> dict[str, Array]:
        """One text for each length, padded to the longest; with padding before the text, positions count the text."""
        keep = np.arange(max(lengths)) < np.array(lengths)[:, None]
        keep = keep[:, ::-1] if before else keep
        arguments = {"input_ids": self._ids(keep), "attention_mask": keep.astype(np.int32)}
        if before:
            arguments["position_ids"] = np.maximum(keep.cumsum(1) - 1, 0).astype(np.int32)
        return self._rows(arguments) | self._labels(keep)

    def _ids(self, keep: Array) -> Array:
        padding = self.config.pad_token_id
        ids = self.random.integers(0, self.config.vocab_size, keep.shape)
        return np.where(keep, ids, 0 if padding is None else padding).astype(np.int32)

    def _rows(self, arguments: Mapping[str, Array]) -> dict[str, Array]:
        if self.task == "multiple-choice":
            arguments = {name: value.reshape(-1, CHOICES, value.shape[1]) for name, value in arguments.items()}
        return {name: np.concatenate([value, value[:1]]) for name, value in arguments.items()}

    def _labels(self, keep: Array) -> dict[str, Array]:
        texts, length = keep.shape
        if self.task == "encoder":
            return {}
        if self.task == "multiple-choice":
            return {"labels": self._classes((texts // CHOICES,), CHOICES)}
        if self.task == "question-answering":  # a position right behind the text does not count
            names = ("start_positions", "end_positions")
            return {name: self._classes((texts,), length + 1) for name in names}
        if self.task == "sequence-classification":
            return {"labels": self._sequence_labels(texts)}
        wanted = keep & (self.random.random(keep.shape) < 0.3)
        wanted[0] = keep[0]  # so that some place always counts
        classes = self.config.vocab_size if self.task == "masked-lm" else self.config.num_labels
        labels = self._classes(keep.shape, classes)
        return {"labels": np.where(np.concatenate([wanted, wanted[:1]]), labels, np.int32(IGNORED_LABEL))}

    def _sequence_labels(self, texts: int) -> Array:
        classes = self._classes((texts,), self.config.num_labels)
        kind = inputs.problem_type(self.config, classes)
        if kind == "single_label_classification":
            return classes
        shape = (texts, self.config.num_labels)
        if kind == "multi_label_classification":
            return self._classes(shape, 2).astype(np.float32)
        return self._classes(shape, 17).astype(np.float32) / 4 - 2  # exact in every float type

    def _classes(self, shape: tuple[int, ...], count: int) -> Array:
        first = self.random.integers(0, count, shape)
        return np.concatenate([first, (first[:1] + 1) % count]).astype(np.int32)
