# SPDX-License-Identifier: Apache-2.0
"""Texts with gaps to the words in the gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.config import DistilBertConfig
from distilbert.errors import InputError
from distilbert.outputs import ModelOutput
from distilbert.tables.fields import Fields
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.training.batch import WEIGHTS, Batch, Ragged
from distilbert.training.data import Problems
from distilbert.training.data.growing import GrowingRagged
from distilbert.training.guesses import EVALUATION, Guesses, count_guesses, guess_scores
from distilbert.training.masking import Masked, Pieces, mask
from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.tasks.file_task import FileTask, refuse, text_problem
from distilbert.training.tasks.task import Examples


@dataclass
class TextRuns(Examples):
    """Runs of tokens.

    Attributes:
        ids: token ids of each.
    """

    ids: Ragged

    def __post_init__(self) -> None:
        self.lengths = self.ids.lengths


class MaskedLM(FileTask):
    """Reads `text`, or plain text with a paragraph in each line.

    The texts are put one after the other with [SEP] between them, and cut into runs of full length; with line_by_line
    each is an example for itself, and cut off where it is too long.
    """

    model_task = "masked-lm"
    main_metric = "loss"
    fields = Fields(("text",))
    formats = ("text",)

    def __init__(
        self, recipe: FinetuneRecipe, tokenizer: DistilBertTokenizer, config: DistilBertConfig | None = None
    ) -> None:
        super().__init__(recipe, tokenizer, config)
        self._pieces = Pieces.of(tokenizer)
        if config is not None and len(tokenizer) > config.vocab_size:
            raise InputError(
                f"tokenizer: has {len(tokenizer):,} tokens, but the model's vocab_size is {config.vocab_size:,}; "
                "they do not belong together: take the tokenizer of the model, or resize its embeddings"
            )

    def parse(self, values: Mapping[str, Any]) -> str:
        refuse([text_problem("text", values["text"])])
        return str(values["text"])

    def read(self, files: Sequence[Path], limit: int | None, learn_labels: bool) -> TextRuns:
        problems, ids = Problems(), GrowingRagged()
        for chunk in self.parsed(files, limit, problems):
            texts = [text for _, text in chunk]
            if self.recipe.line_by_line:
                ids.extend(self.encode(texts))
            else:
                separator = [self.tokenizer.sep_token_id or 0]
                ids.extend([[*row, *separator] for row in self.encode(texts, whole=True)])
        problems.check()
        found = ids.done()
        self.check_tokens(found, files)
        return TextRuns(found if self.recipe.line_by_line else self._runs(found.values[:-1]))

    def config_changes(self) -> dict[str, Any]:
        return {}

    def collate(self, examples: TextRuns, rows: NDArray[np.int64], length: int, draws: Sequence[int] | None) -> Batch:
        inputs = self.inputs(examples.ids, rows, length)
        masked = self._masked(inputs["input_ids"], rows, draws)
        return {
            **inputs,
            "input_ids": masked.input_ids,
            "places": masked.places,
            "labels": masked.labels,
            WEIGHTS: masked.weights,
        }

    def kept(self, examples: TextRuns, row: int, answer: ModelOutput) -> Guesses:
        """How well the model guessed."""
        return count_guesses(answer, self._masked(examples.ids[row][None, :], np.array([row]), None))

    def score(self, examples: TextRuns, answers: Sequence[Guesses]) -> dict[str, float]:
        return guess_scores(answers)

    # Used above.

    def _runs(self, stream: NDArray[np.int32]) -> Ragged:
        """All tokens in runs of full length, each with its own [CLS] and [SEP]; the last one may be shorter."""
        cls, sep = self.tokenizer.cls_token_id or 0, self.tokenizer.sep_token_id or 0
        room = self.max_length - 2
        full = len(stream) // room
        table = np.full((full, self.max_length), sep, np.int32)
        table[:, 0] = cls
        table[:, 1:-1] = stream[: full * room].reshape(full, room)
        rest = stream[full * room :]
        last = np.concatenate([[cls], rest, [sep]]).astype(np.int32) if len(rest) else rest
        starts = np.arange(full + 1, dtype=np.int64) * self.max_length
        ends = [starts[-1] + len(last)] if len(rest) else []
        return Ragged(np.concatenate([table.reshape(-1), last]), np.concatenate([starts, ends]).astype(np.int64))

    def _masked(self, ids: NDArray[np.int32], rows: NDArray[np.int64], draws: Sequence[int] | None) -> Masked:
        return mask(
            ids,
            self._pieces.maskable(ids),
            self._pieces.word_starts(ids) if self.recipe.whole_word_masking else None,
            self.recipe.mlm_probability,
            EVALUATION if draws is None else draws,
            rows,
            self._pieces,
        )
