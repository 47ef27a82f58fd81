# SPDX-License-Identifier: Apache-2.0
"""The model that `for_inference` makes: how it is called, and how it works through a stream of sequences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.errors import InputError, describe
from distilbert.inference.packing import Batch, Pack
from distilbert.inference.precision import best_dtype, check_dtype
from distilbert.inference.streaming import Item, check_item, windows, with_places
from distilbert.inputs import check_call, check_choices
from distilbert.outputs import ANSWERS, ModelOutput

Array = NDArray[Any]


class FastModel(ABC):
    """A snapshot of a model that answers as it does, sooner; it cannot be trained, and later training is not seen.

    Attributes:
        config: of the model.
        task: of the model.
        dtype: `float32`, `bfloat16`, `float16` or `int8`.
        tokens_per_pack: how many tokens are worked on at a time.
    """

    backend: str
    tokens_per_pack: int  # few enough that what passes from layer to layer stays in the CPU's cache

    def __init__(self, model: Any, dtype: str, on_gpu: bool) -> None:
        self.config = model.config
        self.task = model.task
        self.dtype = best_dtype(on_gpu) if check_dtype(dtype) == "auto" else dtype
        self.answer, self.fields = ANSWERS[self.task]
        self.first_only = self.task in ("sequence-classification", "multiple-choice")

    # Written by each backend.

    @staticmethod
    @abstractmethod
    def bounds(values: Any) -> tuple[int, int] | None:
        """Smallest and largest value of a tensor, or None where they cannot be looked at."""

    @abstractmethod
    def tensor(self, value: Any) -> Any:
        """An array or list of whole numbers as a tensor of the framework."""

    def reshape(self, value: Any, shape: tuple[int, ...]) -> Any:
        """A tensor in another shape."""
        return value.reshape(shape)

    @abstractmethod
    def dense(self, input_ids: Any, attention_mask: Any | None, position_ids: Any | None) -> tuple[Any, ...]:
        """The fields of the answer for rectangular tensors (B, T): (B, T, ...) each, or (B, ...) with `first_only`."""

    @abstractmethod
    def packed(self, batch: Batch) -> tuple[Array, ...]:
        """The fields for packed rows: (R*L, ...) each, or (P, ...) for the tokens in `batch.places`."""

    @abstractmethod
    def packs(self, lengths: Sequence[int]) -> Iterator[Pack]:
        """How sequences of these lengths are laid into rows."""

    # Calling.

    def __call__(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        *,
        position_ids: Any = None,
        token_type_ids: Any = None,
        return_dict: bool | None = None,
        **others: Any,
    ) -> Any:
        """Answer for one batch as the model does, at padded places too.

        Args:
            input_ids: token ids (B, T), for multiple choice (B, C, T).
            attention_mask: like input_ids, 1 to attend and 0 for padding.
            position_ids: (B, T), (1, T) or (T,); default 0, 1, 2, ...
            token_type_ids: accepted and ignored, as by the model.
            return_dict: False for a tuple; default `config.return_dict`.
            others: what else the model's call knows (labels, head_mask, output_attentions, ...) is refused unless it is
                None or False: it takes the model itself.

        Returns:
            The model's output class with the framework's tensors, in float32 for every `dtype`.

        Raises:
            InputError: lists everything in the call that does not fit.
        """
        self._refuse(others, attention_mask)
        ids, mask, positions = (self._tensor(value) for value in (input_ids, attention_mask, position_ids))
        choices = None
        if self.task == "multiple-choice":
            check_choices(ids, None)
            choices = ids.shape[1]
            ids, mask, positions = (self._without_choices(value) for value in (ids, mask, positions))
        arrays = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        check_call(self.config, arrays, self.bounds)
        fields = self.dense(ids, mask, positions)
        if choices is not None:
            fields = tuple(self.reshape(field, (-1, choices)) for field in fields)
        output = self.answer(**dict(zip(self.fields, fields, strict=True)))
        return output if return_dict or (return_dict is None and self.config.return_dict) else output.to_tuple()

    def run(
        self, sequences: Iterable[Sequence[Any]], places: Iterable[Sequence[int]] | None = None
    ) -> Iterator[ModelOutput]:
        """Answer for every sequence of a list or stream, without work on padding.

        Args:
            sequences: token ids of each text, of any length; for multiple choice a list of them for each question.
            places: for masked language models, of each text the tokens whose logits are wanted, counted from 0; default
                all. For a short text, logits for the whole vocabulary are most of the work, and of the memory.

        Yields:
            One answer for each sequence, in their order: the model's output class with NumPy arrays without the axis of
            the batch, as in last_hidden_state (T, D), logits (T, V) or (L,), start_logits (T,); with P places logits
            (P, V). What is read ahead and not yet yielded is bounded, so that a stream may be endless.

        Raises:
            InputError: a sequence is empty, too long, or has ids or places out of range; it is named by its number.
        """
        items: Iterator[Item] = (check_item(item, number, self) for number, item in enumerate(sequences))
        for window in windows(items if places is None else with_places(items, places, self), self):
            yield from self._answers(window)

    def warm_up(self, lengths: Sequence[int] | None = None, places: int | None = None) -> None:
        """Do ahead what the first calls would have to do (compile, reorder weights).

        Args:
            lengths: the number of tokens of texts to come; default short, usual and the longest ones.
            places: for runs with `places` alone: how many of them a text will have at most.
        """
        longest = self.config.max_position_embeddings
        chosen = [min(length, longest) for length in (lengths or (16, 32, 64, 128, 256, 512))]
        for length in sorted(set(chosen)):
            sequence = [0] * length
            for count in {1, max(self.tokens_per_pack // length, 1)}:
                items = [sequence] * count
                at = None if places is None else [[0] * places] * count
                list(self.run([[item] for item in items] if self.task == "multiple-choice" else items, at))

    # Used above.

    def _answers(self, window: list[Item]) -> Iterator[ModelOutput]:
        if self.task != "multiple-choice":
            for fields in self._fields([item.ids for item in window], self._places(window)):
                yield self.answer(**dict(zip(self.fields, fields, strict=True)))
            return
        sequences = [sequence for item in window for sequence in item.ids]
        scores = iter(self._fields(sequences, [(0,)] * len(sequences)))
        for item in window:
            logits = np.concatenate([next(scores)[0] for _ in item.ids])
            yield self.answer(logits=logits)

    def _places(self, window: list[Item]) -> list[Any] | None:
        """Of each sequence the tokens that are answered for, or None for all."""
        if self.first_only:
            return [(0,)] * len(window)
        return None if window[0].places is None else [item.places for item in window]

    def _fields(self, sequences: list[Any], places: list[Any] | None) -> list[tuple[Array, ...]]:
        """The fields of each sequence, in order."""
        found: list[tuple[Array, ...]] = [()] * len(sequences)
        for pack in self.packs([len(sequence) for sequence in sequences]):
            batch = pack.fill(sequences, places)
            fields = self.packed(batch)
            for number, part in zip(pack.numbers, batch.parts, strict=True):
                found[number] = tuple(self._part(field, part) for field in fields)
        return found

    def _part(self, field: Array, part: slice) -> Array:
        # A copy, so that one kept answer does not keep those of its neighbours.
        answer: Array = (field[part.start] if self.first_only else field[part]).copy()
        return answer

    def _without_choices(self, value: Any) -> Any:
        return value if value is None or len(value.shape) < 3 else self.reshape(value, (-1, value.shape[-1]))

    def _tensor(self, value: Any) -> Any:
        return None if value is None else self.tensor(value)

    def _refuse(self, others: dict[str, Any], attention_mask: Any) -> None:
        problems = [f"{name}: not on the fast path" for name, value in others.items() if not _is_absent(value)]
        if attention_mask is not None and np.ndim(attention_mask) == 4:
            problems.append("attention_mask: not on the fast path with 4 axes")
        if problems:
            raise InputError(describe("inputs", [f"{problem}; call the model itself for that" for problem in problems]))


def _is_absent(value: Any) -> bool:
    return value is None or value is False
