# SPDX-License-Identifier: Apache-2.0
"""Metrics of a model in training, from its answers for examples that it does not learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.errors import TrainingError
from distilbert.training.batch import WEIGHTS, padded_length
from distilbert.training.engine import Engine


@dataclass(frozen=True)
class Answered:
    """What is known of a batch after its forward pass.

    Attributes:
        rows: (B,) which examples.
        loss: sum over all that counts.
        counted: how much that is.
        kept: of the answer for each example, as the task wants it.
        problem: why it cannot be used, if so.
    """

    rows: NDArray[np.int64]
    loss: float
    counted: float
    kept: list[Any]
    problem: str | None


def evaluate(
    engine: Engine, task: Any, examples: Any, batch_size: int, multiple: int, longest: int
) -> dict[str, float]:
    """The loss and the task's metrics, each with the name `eval_...`; processes take turns with the batches.

    Args:
        engine: with the model.
        task, examples: as for training.
        batch_size: examples of a forward pass; the longest go first.
        multiple, longest: tokens that batches are padded to.

    Raises:
        TrainingError: the model answers with NaN or infinity; on all processes.
    """
    order = np.argsort(-examples.lengths, kind="stable")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    world, own = engine.settings.world, []
    for turn in range(0, len(batches), world.size):
        # Where no batch is left it is the first again: a model spread over the processes needs all of them to answer.
        number = turn + world.rank
        rows = batches[number] if number < len(batches) else batches[0]
        length = padded_length(examples.lengths[rows], multiple, longest)
        own.append(_answer(engine, task, examples, rows, length))
    shared = engine.gathered_objects(own)
    answered = [shared[number % world.size][number // world.size] for number in range(len(batches))]
    for batch in answered:
        if batch.problem:
            raise TrainingError(f"evaluation: {batch.problem}")
    kept: list[Any] = [None] * len(order)
    for batch in answered:
        for row, found in zip(batch.rows, batch.kept, strict=True):
            kept[row] = found
    counted = sum(batch.counted for batch in answered)
    metrics = {"loss": sum(batch.loss for batch in answered) / max(counted, 1.0), **task.score(examples, kept)}
    return {f"eval_{name}": float(value) for name, value in metrics.items()}


def _answer(engine: Engine, task: Any, examples: Any, rows: NDArray[np.int64], length: int) -> Answered:
    batch = task.collate(examples, rows, length, None)
    terms, answers = engine.evaluate(batch)
    kept, problem = [], None
    for place, row in enumerate(rows):
        answer = type(answers)(**{name: values[place] for name, values in answers.items()})
        if not all(np.isfinite(values).all() for values in answer.values()):
            problem = problem or f"the model answers with NaN or infinity for example {row + 1}"
        kept.append(task.kept(examples, int(row), answer))
    return Answered(rows, sum(terms.values()), float(batch[WEIGHTS].sum()), kept, problem)
