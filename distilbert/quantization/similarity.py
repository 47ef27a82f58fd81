# SPDX-License-Identifier: Apache-2.0
"""Pairs of texts and how similar they are: what sentence vectors are measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.errors import InputError
from distilbert.tables.fields import Fields
from distilbert.training.batch import Batch
from distilbert.training.data import Problems
from distilbert.training.tasks.file_task import FileTask, refuse, text_problem
from distilbert.training.tasks.labels import as_number, label_name
from distilbert.training.tasks.task import Examples


@dataclass
class Pairs(Examples):
    """Pairs of texts.

    Attributes:
        texts: 2 N of them, the two of a pair one after the other.
        ids: token ids of each.
        labels: (N,) how similar the two of a pair are, on any scale.
    """

    texts: list[str]
    ids: list[list[int]]
    labels: list[float]

    def __post_init__(self) -> None:
        self.lengths = np.array([len(ids) for ids in self.ids])


class Similarity(FileTask):
    """Reads `text`, `text_pair`, and `label`, a number. Nothing is trained for it."""

    model_task = "encoder"
    main_metric = "spearmanr"
    fields = Fields(("text", "text_pair", "label"))

    def parse(self, values: Mapping[str, Any]) -> tuple[str, str, float]:
        text, pair, label = (values[name] for name in ("text", "text_pair", "label"))
        number = None if label is None else as_number(label_name(label))
        problem = f"label: expected a number, found {label!r:.60}" if number is None else None
        refuse([text_problem("text", text), text_problem("text_pair", pair), problem])
        return text, pair, float(number or 0.0)

    def read(self, files: Sequence[Path], limit: int | None, learn_labels: bool) -> Pairs:
        problems = Problems()
        rows = [row for chunk in self.parsed(files, limit, problems) for _, row in chunk]
        problems.check()
        if len({label for *_, label in rows}) < 2:
            title = ", ".join(map(str, files))
            raise InputError(f"{title}: label: expected pairs of different similarity, found one value in all rows")
        texts = [text for first, second, _ in rows for text in (first, second)]
        return Pairs(texts, self.encode(texts), [label for *_, label in rows])

    def config_changes(self) -> dict[str, Any]:
        return {}

    def collate(self, examples: Pairs, rows: NDArray[np.int64], length: int, draws: Sequence[int] | None) -> Batch:
        raise NotImplementedError("nothing is trained for it")

    def score(self, examples: Pairs, answers: Sequence[Any]) -> dict[str, float]:
        raise NotImplementedError("vectors are scored by a pipeline")
