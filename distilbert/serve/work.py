# SPDX-License-Identifier: Apache-2.0
"""A request's jobs on their way through the queue, from the caller to the model and back; and who is told about it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from distilbert.pipelines.base import Pipeline
from distilbert.pipelines.jobs import Job

log = logging.getLogger(__name__)


class Refused(Exception):
    """The queue takes nothing more, for now or for good."""


class Observer:
    """Is told what happens, from any thread. This one does not care; times are in seconds."""

    def tokenized(self, seconds: float) -> None:
        """The items of a request became jobs."""

    def queued(self, seconds: float) -> None:
        """The first job of a request waited so long for its batch."""

    def answered(self, items: int, tokens: int, seconds: float) -> None:
        """A batch went through the model."""


@dataclass(eq=False)
class Work:
    """The jobs of a request on their way."""

    pipe: Pipeline
    answer: asyncio.Future[list[Any]]
    jobs: Sequence[Job] = ()
    since: float = field(default_factory=time.perf_counter)  # when it was accepted, then when it had its jobs
    results: list[Any] = field(default_factory=list)
    taken: int = 0  # jobs that are in a batch, or were
    dropped: bool = False


def answers(pipe: Pipeline, jobs: Sequence[Job]) -> list[Any]:
    """The result of each job, or the exception that it alone ends in: one bad job must not spoil the batch."""
    try:
        return list(pipe.answer(jobs))
    except Exception as error:
        if len(jobs) > 1:
            log.warning("a batch of %d failed (%s), trying one by one", len(jobs), type(error).__name__)
            return [answers(pipe, [job])[0] for job in jobs]
        log.exception("the model failed")
        return [error]


def tell(works: Sequence[Work], error: Exception | None = None) -> None:
    """Give the answers, or the error, to who waits for them."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Work]] = {}
    for work in works:
        by_loop.setdefault(work.answer.get_loop(), []).append(work)
    for loop, those in by_loop.items():
        with suppress(RuntimeError):  # a loop that is closed waits for nothing
            loop.call_soon_threadsafe(_deliver, those, error)


def _deliver(works: Sequence[Work], error: Exception | None) -> None:
    for work in works:
        if work.answer.done():
            continue
        if error is None:
            work.answer.set_result(work.results)
        else:
            work.answer.set_exception(error)
