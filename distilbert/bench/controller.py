# SPDX-License-Identifier: Apache-2.0
"""Lets contenders take turns: in every round each of them runs each of its cases for a share of the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from distilbert.bench.measured import Case, Measurement
from distilbert.bench.process import WorkerFailure

_PAUSE = 0.1  # seconds before a turn: threads of the one before spin for some hundredths of a second, then sleep


class Worker(Protocol):
    """What runs a contender: a process, or a fake."""

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request; WorkerFailure if there is none."""

    def close(self) -> None:
        """End it."""


@dataclass(frozen=True)
class Entry:
    """A contender in a suite: how to start its worker, the request that opens it, its cases."""

    name: str
    start: Callable[[], Worker]
    opening: Mapping[str, Any]
    cases: Sequence[Case]


@dataclass
class Outcome:
    """Measurements by contender and case name, and versions of packages by contender."""

    cells: dict[tuple[str, str], Measurement] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)


Progress = Callable[[str], None]


def measure(
    entries: Sequence[Entry], rounds: int, seconds: float, progress: Progress, pause: float = _PAUSE
) -> Outcome:
    """Run all contenders in alternation.

    Args:
        entries: the contenders; one that fails is left out from there on, with the reason in its cells.
        rounds: how often each has its turn.
        seconds: for each contender and case, over all rounds.
        progress: is told what is done at the moment.
        pause: seconds of quiet before each turn.
    """
    outcome = Outcome()
    with _closing() as workers:
        runners = [_Runner(entry, outcome, workers) for entry in entries]
        for runner in runners:
            progress(f"{runner.entry.name}: starting")
            runner.open()
            for case in runner.entry.cases:
                progress(f"{runner.entry.name}, {case.name}: warming up")
                runner.prepare(case)
        for number in range(1, rounds + 1):
            for runner in runners:
                for case in runner.entry.cases:
                    progress(f"round {number} of {rounds}: {runner.entry.name}, {case.name}")
                    runner.run(case, seconds / rounds, pause)
    return outcome


class _Runner:
    """A contender's turns. Its first failure in a case ends that case; the end of its worker ends all of them."""

    def __init__(self, entry: Entry, outcome: Outcome, workers: list[Worker]) -> None:
        self.entry = entry
        self.outcome = outcome
        self.workers = workers
        self.worker: Worker | None = None
        for case in entry.cases:
            outcome.cells[entry.name, case.name] = Measurement()

    def open(self) -> None:
        try:
            self.worker = self.entry.start()
            self.workers.append(self.worker)
            self.outcome.versions[self.entry.name] = self.worker.ask({"do": "open", **self.entry.opening})["versions"]
        except (WorkerFailure, OSError) as error:
            for case in self.entry.cases:
                self._fail(case, str(error))

    def prepare(self, case: Case) -> None:
        request = {"do": "prepare", "case": case.name, "method": case.method, "arguments": case.arguments}
        self._ask(case, request)

    def run(self, case: Case, seconds: float, pause: float) -> None:
        cell = self.outcome.cells[self.entry.name, case.name]
        if cell.error:
            return
        time.sleep(pause)
        answer = self._ask(case, {"do": "run", "case": case.name, "seconds": seconds})
        if answer:
            self.outcome.cells[self.entry.name, case.name] = Measurement((*cell.times, *answer["seconds"]))

    def _ask(self, case: Case, request: Mapping[str, Any]) -> dict[str, Any] | None:
        if self.worker is None or self.outcome.cells[self.entry.name, case.name].error:
            return None
        try:
            return self.worker.ask(request)
        except WorkerFailure as error:
            self._fail(case, str(error))
            return None

    def _fail(self, case: Case, reason: str) -> None:
        key = self.entry.name, case.name
        self.outcome.cells[key] = Measurement(self.outcome.cells[key].times, reason)


@contextmanager
def _closing() -> Iterator[list[Worker]]:
    """A list of workers that all end with the block, however it ends."""
    workers: list[Worker] = []
    try:
        yield workers
    finally:
        for worker in workers:
            worker.close()
