# SPDX-License-Identifier: Apache-2.0
"""Metrics of a model in training, from its answers for examples that it does not learn from."""

from __future__ import annotations

from typing import Any

import numpy as np

from distilbert.errors import TrainingError
from distilbert.training.batch import WEIGHTS, padded_length
from distilbert.training.engine import Engine


def evaluate(
    engine: Engine, task: Any, examples: Any, batch_size: int, multiple: int, longest: int
) -> dict[str, float]:
    """The loss and the task's metrics, each with the name `eval_...`.

    Args:
        engine: with the model.
        task, examples: as for training.
        batch_size: examples of a forward pass; the longest go first.
        multiple, longest: tokens that batches are padded to.

    Raises:
        TrainingError: the model answers with NaN or infinity.
    """
    order = np.argsort(-examples.lengths, kind="stable")
    kept: list[Any] = [None] * len(order)
    lost = counted = 0.0
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = task.collate(examples, rows, padded_length(examples.lengths[rows], multiple, longest), None)
        terms, answers = engine.evaluate(batch)
        lost += sum(terms.values())
        counted += float(batch[WEIGHTS].sum())
        for place, row in enumerate(rows):
            answer = type(answers)(**{name: values[place] for name, values in answers.items()})
            if not all(np.isfinite(values).all() for values in answer.values()):
                raise TrainingError(f"evaluation: the model answers with NaN or infinity for example {row + 1}")
            kept[row] = task.kept(examples, int(row), answer)
    metrics = {"loss": lost / max(counted, 1.0), **task.score(examples, kept)}
    return {f"eval_{name}": float(value) for name, value in metrics.items()}
