# SPDX-License-Identifier: Apache-2.0
"""Texts, or pairs of them, to one label, to several labels, or to a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distilbert.config import DistilBertConfig
from distilbert.errors import InputError
from distilbert.outputs import ModelOutput
from distilbert.tables.fields import Fields, choose_columns
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.training import metrics
from distilbert.training.batch import WEIGHTS, Batch, Ragged
from distilbert.training.data import Problems
from distilbert.training.data.growing import GrowingRagged
from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.tasks.file_task import FileTask, refuse, text_problem
from distilbert.training.tasks.labels import MULTI, REGRESSION, SINGLE, FoundLabels, row_labels, settle
from distilbert.training.tasks.task import Examples

FEW = 10  # different labels that may be as many as the rows

MAIN_METRICS = {SINGLE: "accuracy", MULTI: "f1_micro", REGRESSION: "spearmanr"}


class Row(NamedTuple):
    """A row of a file.

    Attributes:
        text: one text, or a tuple of two.
        labels: their names.
        listed: whether they were in a list or in several columns.
    """

    text: str | tuple[str, str]
    labels: list[str]
    listed: bool

    @property
    def texts(self) -> tuple[str, ...]:
        """One or two."""
        return (self.text,) if isinstance(self.text, str) else self.text


@dataclass
class TextExamples(Examples):
    """Texts with labels.

    Attributes:
        ids: token ids of each.
        labels: (N,) int32, the class; or (N, L) uint8, 1 for each label it has; or (N, 1) float32, the number.
    """

    ids: Ragged
    labels: NDArray[Any]

    def __post_init__(self) -> None:
        self.lengths = self.ids.lengths


class TextClassification(FileTask):
    """Reads `text`, perhaps `text_pair`, and `label`: a name, a number, a list of names (also as JSON), or several
    columns that say yes or no (1 or 0, true or false).

    Lists and several columns are several labels at once; numbers of which one is not whole are a regression; all else
    is one label of several. The recipe's problem_type says otherwise.
    """

    model_task = "sequence-classification"
    main_metric = MAIN_METRICS[SINGLE]
    fields = Fields(("text", "label"), ("text_pair",), spread=("label",))

    def __init__(
        self, recipe: FinetuneRecipe, tokenizer: DistilBertTokenizer, config: DistilBertConfig | None = None
    ) -> None:
        super().__init__(recipe, tokenizer, config)
        columns = choose_columns("text-classification", self.fields, recipe.column, None)["label"]
        self._flags = columns if len(columns) > 1 else ()
        # These are known when the training data is read:
        self.problem_type = SINGLE
        self.names: Sequence[str] = ()  # of the labels
        self._numbers: Mapping[str, int] = {}  # of the labels, as the data calls them

    def parse(self, values: Mapping[str, Any]) -> Row:
        text, pair = values["text"], values.get("text_pair")
        pair = None if pair == "" else pair  # as in the pipeline
        problems = [text_problem("text", text), None if pair is None else text_problem("text_pair", pair)]
        names: list[str] = []
        listed = False
        try:
            names, listed = row_labels(values["label"], self._flags)
        except InputError as error:
            problems.append(str(error))
        refuse(problems)
        return Row(text if pair is None else (text, pair), names, listed)

    def read(self, files: Sequence[Path], limit: int | None, learn_labels: bool) -> TextExamples:
        problems, found, tokens = Problems(), FoundLabels(), GrowingRagged()
        listed: bool | None = None
        characters = 0
        for chunk in self.parsed(files, limit, problems):
            tokens.extend(self.encode([row.text for _, row in chunk]))
            characters += sum(len(text) for _, row in chunk for text in row.texts)
            for place, row in chunk:
                listed = row.listed if listed is None else listed
                if row.listed != listed:
                    problems.add(place, "label: expected a list in every row or in none")
                found.add(place, row.labels)
        problems.check()
        ids = tokens.done()
        self.check_tokens(ids, files)
        if learn_labels:
            self._learn(found, bool(listed), files)
            self._check_swapped(found, characters, files)
        elif bool(listed) != (self.problem_type == MULTI):
            expected = "expected a list, as in" if self.problem_type == MULTI else "expected no list, as in"
            problems.add(files[0], f"label: {expected} the training data")
        problems.check()
        return TextExamples(ids, self._labels(found))

    def config_changes(self) -> dict[str, Any]:
        if self.problem_type == REGRESSION:
            return {"num_labels": 1, "problem_type": REGRESSION}
        return {"id2label": dict(enumerate(self.names)), "problem_type": self.problem_type}

    def collate(
        self, examples: TextExamples, rows: NDArray[np.int64], length: int, draws: Sequence[int] | None
    ) -> Batch:
        found = examples.labels[rows]
        return {
            **self.inputs(examples.ids, rows, length),
            "labels": found if found.ndim == 1 else found.astype(np.float32),
            WEIGHTS: np.ones(len(rows), np.float32),
        }

    def score(self, examples: TextExamples, answers: Sequence[ModelOutput]) -> dict[str, float]:
        logits = np.stack([answer.logits for answer in answers])
        if self.problem_type == REGRESSION:
            return metrics.regression(examples.labels[:, 0], logits[:, 0])
        if self.problem_type == MULTI:
            return metrics.multi_label(examples.labels, logits > 0)
        return metrics.single_label(examples.labels, logits.argmax(1), len(self.names))

    # Used above.

    def _learn(self, found: FoundLabels, listed: bool, files: Sequence[Path]) -> None:
        """Settle what the labels are."""
        problems = Problems()
        self.problem_type = self.recipe.problem_type or found.problem_type(listed, problems)
        problems.check()
        title = ", ".join(map(str, files))
        if listed != (self.problem_type == MULTI):
            expected = "lists, or several columns" if self.problem_type == MULTI else "one of each row"
            raise InputError(f"{title}: label: expected {expected}, for problem_type {self.problem_type}")
        self.main_metric = MAIN_METRICS[self.problem_type]
        if self._flags:
            self.names, self._numbers = self._flags, {name: number for number, name in enumerate(self._flags)}
        elif self.problem_type != REGRESSION:
            try:
                self.names, self._numbers = settle(found, self.config)
            except InputError as error:
                raise InputError(f"{title}: {error}") from None

    def _check_swapped(self, found: FoundLabels, characters: int, files: Sequence[Path]) -> None:
        """Raise InputError for labels that are texts: nearly all different, and longer than what is labelled."""
        longer = sum(map(len, found.names)) * len(found) > characters * len(found.names)
        if self.problem_type == SINGLE and longer and len(found.names) > max(FEW, len(found) // 2):
            title, first = ", ".join(map(str, files)), next(iter(found.names))
            raise InputError(
                f"{title}: label: expected labels that come again, found {len(found.names):,} different ones in "
                f"{len(found):,} rows, longer than the texts, such as {first!r:.60}; "
                "name the right columns, as in --column text=NAME --column label=NAME"
            )

    def _labels(self, found: FoundLabels) -> NDArray[Any]:
        """As `TextExamples` has them; InputError lists labels that are unknown, or no numbers."""
        problems = Problems()
        labels: NDArray[Any]
        if self.problem_type == REGRESSION:
            labels = found.values(problems)
        elif self.problem_type == MULTI:
            labels = found.hot(self._numbers, problems)
        else:
            labels = found.classes(self._numbers, problems)
        problems.check()
        return labels
