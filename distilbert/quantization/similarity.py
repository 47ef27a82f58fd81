# SPDX-License-Identifier: Apache-2.0
"""Pairs of texts and how similar they are: what sentence vectors are measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.errors import InputError
from distilbert.training.data import Problems
from distilbert.training.tasks.labels import FoundLabels
from distilbert.training.tasks.text_classification import TextClassification


@dataclass(frozen=True)
class Pairs:
    """Pairs of texts.

    Attributes:
        texts: 2 N of them, the two of a pair one after the other.
        ids: token ids of each.
        labels: (N,) how similar the two of a pair are, on any scale.
    """

    texts: list[str]
    ids: list[list[int]]
    labels: NDArray[Any]


def read_pairs(task: TextClassification, files: Sequence[Path], limit: int | None) -> Pairs:
    """The pairs of some files, with the columns of a text classification: `text`, `text_pair` and `label`, a number.

    Args:
        task: reads and tokenises rows.
        files: as `task.files` gives them.
        limit: how many pairs at most.

    Raises:
        InputError, FileError: lists what is wrong, with file and row.
    """
    problems, found = Problems(), FoundLabels()
    texts: list[str] = []
    for chunk in task.parsed(files, limit, problems):
        for place, row in chunk:
            if len(row.texts) != 2 or row.listed:
                problems.add(place, "expected text, text_pair (or --column text_pair=NAME) and a number as label")
            found.add(place, row.labels)
            texts += row.texts
    labels = found.values(problems)[:, 0]
    problems.check()
    if len(np.unique(labels)) < 2:
        title = ", ".join(map(str, files))
        raise InputError(f"{title}: label: expected pairs of different similarity, found one value in all rows")
    return Pairs(texts, task.encode(texts), labels)
