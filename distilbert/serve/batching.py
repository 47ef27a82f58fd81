# SPDX-License-Identifier: Apache-2.0
"""Items of many requests, answered together: tokenised on a few threads, given to the model on one.

Nothing waits for company: when the model is idle, what there is goes into it at once, and while it works the next batch
gathers. This file knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from distilbert.pipelines.base import Pipeline
from distilbert.pipelines.jobs import Job
from distilbert.serve.work import Observer, Refused, Work, answers, tell

log = logging.getLogger(__name__)
T = TypeVar("T")


class Batcher:
    """The queue before the model.

    Attributes:
        requests: that are accepted and not yet answered.
        items: of these requests.
        is_closed: whether new ones are refused.
    """

    def __init__(
        self,
        max_batch_tokens: int = 16_384,
        max_queue_items: int = 4_096,
        tokenizer_threads: int = 2,
        wait_seconds: float = 0.0,
        observer: Observer | None = None,
    ) -> None:
        """Start the threads.

        Args:
            max_batch_tokens: of a batch; a single job may have more.
            max_queue_items: items that are accepted and not yet answered.
            tokenizer_threads: how many.
            wait_seconds: how long a batch waits to be filled when the model is idle.
            observer: is told what happens.
        """
        self.requests = self.items = 0
        self.is_closed = False
        self._budget, self._most_items, self._wait = max_batch_tokens, max_queue_items, wait_seconds
        self._observer = observer or Observer()
        self._queue: deque[Work] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._is_stopped = False
        self._tokenizers = ThreadPoolExecutor(tokenizer_threads, "tokenizer")
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    async def run(self, pipe: Pipeline, count: int, prepare: Callable[[], Sequence[Job]]) -> list[Any]:
        """The result of each job, in order; where the model failed on one, the exception.

        When the caller is cancelled, jobs that are not yet in the model never get there.

        Args:
            pipe: answers the jobs.
            count: how many items there are.
            prepare: makes jobs of them, on a tokenizer's thread; what it raises is raised here.

        Raises:
            Refused: too many items are waiting, or the queue is closed.
        """
        with self._accepted(count):
            work = Work(pipe, asyncio.get_running_loop().create_future())
            self._tokenizers.submit(self._enqueue, work, prepare)
            try:
                return await work.answer
            finally:
                work.dropped = True

    async def tokenize(self, count: int, function: Callable[[], T]) -> T:
        """What a function gives, called on a tokenizer's thread; refused as in `run`."""
        with self._accepted(count):
            return await asyncio.get_running_loop().run_in_executor(self._tokenizers, function)

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Call a function on the thread of the model, between two batches."""
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function())
            except Exception as error:
                future.set_exception(error)

        with self._changed:
            self._calls.append(call)
            self._changed.notify()
        return future

    def close(self) -> None:
        """Refuse what is new; what is accepted goes on. May be called by a signal's handler."""
        self.is_closed = True

    def stop(self) -> None:
        """Finish what is accepted, and end the threads."""
        self.close()
        self._tokenizers.shutdown()  # first: what is in them is still to go to the model
        with self._changed:
            self._is_stopped = True
            self._changed.notify()
        self._thread.join()

    # On the caller's thread.

    @contextmanager
    def _accepted(self, count: int) -> Iterator[None]:
        if self.is_closed:
            raise Refused("the server is ending")
        if self.items + count > self._most_items:
            raise Refused(f"{self.items} inputs are waiting, at most {self._most_items} may; try again later")
        self.requests += 1
        self.items += count
        try:
            yield
        finally:
            self.requests -= 1
            self.items -= count

    # On a tokenizer's thread.

    def _enqueue(self, work: Work, prepare: Callable[[], Sequence[Job]]) -> None:
        if work.dropped:
            return
        try:
            work.jobs = prepare()
        except Exception as error:
            tell([work], error)
            return
        now = time.perf_counter()
        self._observer.tokenized(now - work.since)
        work.since = now
        if not work.jobs:
            tell([work])
            return
        with self._changed:
            self._queue.append(work)
            self._changed.notify()

    # On the thread of the model.

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._calls or self._queue or self._is_stopped):
                    self._changed.wait()
                if not (self._calls or self._queue):
                    return
                call = self._calls.popleft() if self._calls else None
                batch = [] if call else self._take()
            if call:
                call()
            elif batch:
                try:
                    self._answer(batch)
                except Exception as error:  # whatever it is: without this thread nobody gets an answer any more
                    log.exception("a batch was lost")
                    tell([work for work, _ in batch], error)

    def _take(self) -> list[tuple[Work, Job]]:
        """The next batch: of the pipeline whose turn it is, as many jobs as fit.

        A request that does not fit as a whole goes on at the end of the queue: long ones do not hold up short ones.
        """
        if self._wait:
            self._await_company()
        batch: list[tuple[Work, Job]] = []
        pipe, room, skipped = None, self._budget, []
        while self._queue:
            work = self._queue.popleft()
            if work.dropped:
                continue
            pipe = pipe or work.pipe
            if work.pipe is not pipe:
                skipped.append(work)
                continue
            before = len(batch)
            while work.taken < len(work.jobs) and (work.jobs[work.taken].tokens <= room or not batch):
                job = work.jobs[work.taken]
                batch.append((work, job))
                room -= job.tokens
                work.taken += 1
            if work.taken < len(work.jobs):
                if len(batch) > before:
                    self._queue.append(work)
                else:
                    skipped.append(work)
                break
        self._queue.extendleft(reversed(skipped))
        return batch

    def _await_company(self) -> None:
        until = self._queue[0].since + self._wait
        while not self._is_stopped and (left := until - time.perf_counter()) > 0:
            if sum(job.tokens for work in self._queue for job in work.jobs[work.taken :]) >= self._budget:
                return
            self._changed.wait(left)

    def _answer(self, batch: list[tuple[Work, Job]]) -> None:
        started = time.perf_counter()
        for work in {id(work): work for work, _ in batch}.values():
            if not work.results:
                self._observer.queued(started - work.since)
        jobs = [job for _, job in batch]
        results = answers(batch[0][0].pipe, jobs)
        self._observer.answered(len(jobs), sum(job.tokens for job in jobs), time.perf_counter() - started)
        finished = []
        for (work, _), result in zip(batch, results, strict=True):
            work.results.append(result)
            if len(work.results) == len(work.jobs):
                finished.append(work)
        tell(finished)
