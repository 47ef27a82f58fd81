# SPDX-License-Identifier: Apache-2.0
"""Evaluations that several processes share: each answers some of the batches, and all come to the same metrics."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from distilbert.errors import TrainingError
from distilbert.outputs import SequenceClassifierOutput
from distilbert.training.engine import Engine, World
from distilbert.training.evaluation import evaluate


class Meeting:
    """What processes send each other; here they are threads."""

    def __init__(self, size: int) -> None:
        self.sent: list[Any] = [None] * size
        self.barrier = threading.Barrier(size, timeout=20)

    def gathered(self, rank: int, values: np.ndarray) -> list[np.ndarray]:
        self.sent[rank] = values.copy()
        self.barrier.wait()
        found = list(self.sent)
        self.barrier.wait()
        return found


class Answering:
    """An engine whose answer for a text is the sum of its ids."""

    def __init__(self, world: World, meeting: Meeting | None, wrong: int | None = None) -> None:
        self.settings = SimpleNamespace(world=world)
        self.meeting = meeting
        self.wrong = wrong
        self.calls = 0

    def evaluate(self, batch: dict[str, np.ndarray]) -> tuple[dict[str, float], SequenceClassifierOutput]:
        self.calls += 1
        sums = batch["input_ids"].sum(axis=1).astype(np.float32)
        logits = np.where(batch["input_ids"][:, 0] == self.wrong, np.nan, sums)
        return {"loss": float((sums / 7).sum())}, SequenceClassifierOutput(logits=logits[:, None])

    def gathered(self, values: np.ndarray) -> list[np.ndarray]:
        assert self.meeting is not None
        return self.meeting.gathered(self.settings.world.rank, values)

    gathered_objects = Engine.gathered_objects


class Sums:
    """A task whose metrics are made of all answers in the order of the examples."""

    def collate(self, examples: Any, rows: np.ndarray, length: int, draws: None) -> dict[str, np.ndarray]:
        ids = np.zeros((len(rows), length), np.int32)
        for place, row in enumerate(rows):
            ids[place, : examples.lengths[row]] = row + 1
        return {"input_ids": ids, "weights": np.ones(len(rows), np.float32)}

    def kept(self, examples: Any, row: int, answer: SequenceClassifierOutput) -> tuple[int, float]:
        return row, float(answer.logits[0])

    def score(self, examples: Any, answers: Sequence[tuple[int, float]]) -> dict[str, float]:
        assert [row for row, _ in answers] == list(range(len(examples.lengths)))
        return {"sums": sum(value * (row + 1) for row, value in answers)}


def evaluated(size: int, count: int) -> list[tuple[dict[str, float], int]]:
    """Metrics on each process, and how often its model answered."""
    lengths = np.random.default_rng(0).integers(1, 9, count)
    meeting = Meeting(size) if size > 1 else None

    def one(rank: int) -> tuple[dict[str, float], int]:
        engine = Answering(World(rank, size), meeting)
        found = evaluate(engine, Sums(), SimpleNamespace(lengths=lengths), 4, 8, 16)  # type: ignore[arg-type]
        return found, engine.calls

    with ThreadPoolExecutor(size) as threads:
        return [done.result() for done in [threads.submit(one, rank) for rank in range(size)]]


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("count", [1, 17, 40])
def test_many_processes_come_to_the_metrics_of_one(size: int, count: int) -> None:
    ((alone, batches),) = evaluated(1, count)
    found = evaluated(size, count)
    assert [metrics for metrics, _ in found] == [alone] * size
    assert {calls for _, calls in found} == {-(-batches // size)}, "a spread model needs all processes for each answer"


def test_an_answer_that_is_no_number_ends_all_processes() -> None:
    meeting = Meeting(2)

    def said(rank: int) -> str:
        engine = Answering(World(rank, 2), meeting, wrong=5)
        with pytest.raises(TrainingError, match="NaN or infinity for example 5") as raised:
            evaluate(engine, Sums(), SimpleNamespace(lengths=np.arange(1, 9)), 4, 8, 16)  # type: ignore[arg-type]
        return str(raised.value)

    with ThreadPoolExecutor(2) as threads:
        assert len(set(threads.map(said, range(2)))) == 1
