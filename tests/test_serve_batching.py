# SPDX-License-Identifier: Apache-2.0
"""The queue before the model: what goes into it together, what is refused, what is dropped, and how it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from distilbert.pipelines.jobs import Encoded, Job
from distilbert.serve.batching import Batcher
from distilbert.serve.work import Observer, Refused


class FakePipeline:
    """Doubles numbers, slowly if its door is shut; notes what came together and on which thread."""

    def __init__(self, is_open: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.begun = threading.Event()
        self.door = threading.Event()
        if is_open:
            self.door.set()

    def answer(self, jobs: Sequence[Job]) -> Iterator[Any]:
        self.batches.append([job.item for job in jobs])
        self.threads.add(threading.get_ident())
        self.begun.set()
        assert self.door.wait(10)
        for job in jobs:
            if job.item < 0:
                raise RuntimeError("a negative number")
            yield 2 * job.item


def jobs(*items: int, tokens: int = 1) -> list[Job]:
    return [Job(item, Encoded([[0] * tokens]), None) for item in items]


async def run(batcher: Batcher, pipe: Any, *items: int, tokens: int = 1) -> list[Any]:
    return await batcher.run(pipe, len(items), lambda: jobs(*items, tokens=tokens))


async def until(condition: Any) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to that")


@pytest.fixture
def make() -> Iterator[Any]:
    made = []

    def batcher(**settings: Any) -> Batcher:
        made.append(Batcher(**settings))
        return made[-1]

    yield batcher
    for one in made:
        one.stop()


async def behind_a_shut_door(batcher: Batcher, pipe: FakePipeline, *requests: Any) -> list[Any]:
    """The model is at work on item 0 while the other requests queue in their order; then all are answered."""
    first = asyncio.create_task(run(batcher, pipe, 0))
    await until(pipe.begun.is_set)
    tasks = []
    for request in requests:
        tasks.append(asyncio.create_task(request))
        waiting = len(batcher._queue)
        await until(lambda waiting=waiting: len(batcher._queue) == waiting + 1)
    pipe.door.set()
    return [await task for task in (first, *tasks)]


def test_an_idle_model_starts_at_once(make):
    pipe = FakePipeline()
    started = time.perf_counter()
    assert asyncio.run(run(make(), pipe, 1, 2)) == [2, 4]
    assert time.perf_counter() - started < 1
    assert pipe.batches == [[1, 2]]


def test_what_gathers_goes_together_on_one_thread(make):
    pipe = FakePipeline(is_open=False)
    batcher = make()
    results = asyncio.run(
        behind_a_shut_door(batcher, pipe, run(batcher, pipe, 1), run(batcher, pipe, 2, 3), run(batcher, pipe, 4))
    )
    assert results == [[0], [2], [4, 6], [8]]
    assert pipe.batches == [[0], [1, 2, 3, 4]]
    assert pipe.threads.isdisjoint({threading.get_ident()})
    assert len(pipe.threads) == 1


def test_batches_keep_to_the_budget_and_long_requests_let_short_ones_by(make):
    pipe = FakePipeline(is_open=False)
    batcher = make(max_batch_tokens=4)
    results = asyncio.run(
        behind_a_shut_door(batcher, pipe, run(batcher, pipe, 1, 2, 3, 4, 5, 6, 7, 8, 9), run(batcher, pipe, 10))
    )
    assert results[1:] == [[2, 4, 6, 8, 10, 12, 14, 16, 18], [20]]
    assert pipe.batches == [[0], [1, 2, 3, 4], [10, 5, 6, 7], [8, 9]]


def test_a_request_that_has_not_begun_keeps_its_place(make):
    pipe = FakePipeline(is_open=False)
    batcher = make(max_batch_tokens=4)
    asyncio.run(
        behind_a_shut_door(
            batcher, pipe, run(batcher, pipe, 1, tokens=3), run(batcher, pipe, 2, tokens=2), run(batcher, pipe, 3)
        )
    )
    assert pipe.batches == [[0], [1], [2, 3]]


def test_a_job_beyond_the_budget_goes_alone(make):
    pipe = FakePipeline(is_open=False)
    batcher = make(max_batch_tokens=4)
    asyncio.run(behind_a_shut_door(batcher, pipe, run(batcher, pipe, 1, tokens=9), run(batcher, pipe, 2)))
    assert pipe.batches == [[0], [1], [2]]


def test_models_take_turns(make):
    one, other = FakePipeline(is_open=False), FakePipeline()
    batcher = make()
    asyncio.run(
        behind_a_shut_door(
            batcher, one, run(batcher, one, 1), run(batcher, other, 2), run(batcher, one, 3), run(batcher, other, 4)
        )
    )
    assert one.batches == [[0], [1, 3]]
    assert other.batches == [[2, 4]]
    assert one.threads == other.threads


def test_a_bad_job_does_not_spoil_the_others(make):
    pipe = FakePipeline(is_open=False)
    batcher = make()
    results = asyncio.run(behind_a_shut_door(batcher, pipe, run(batcher, pipe, 1), run(batcher, pipe, -1, 2)))
    assert results[1] == [2]
    assert isinstance(results[2][0], RuntimeError)
    assert results[2][1] == 4


def test_what_prepare_raises_is_raised(make):
    def prepare() -> list[Job]:
        raise ValueError("no text")

    batcher = make()
    with pytest.raises(ValueError, match="no text"):
        asyncio.run(batcher.run(FakePipeline(), 1, prepare))
    assert (batcher.requests, batcher.items) == (0, 0)
    assert asyncio.run(batcher.run(FakePipeline(), 0, list)) == []


def test_the_queue_is_bounded_in_items(make):
    pipe = FakePipeline(is_open=False)
    batcher = make(max_queue_items=3)

    async def check() -> None:
        first = asyncio.create_task(run(batcher, pipe, 1, 2))
        await until(pipe.begun.is_set)
        with pytest.raises(Refused, match="2 inputs are waiting, at most 3"):
            await run(batcher, pipe, 3, 4)
        second = asyncio.create_task(run(batcher, pipe, 5))
        await until(lambda: batcher.items == 3)
        pipe.door.set()
        assert [await first, await second] == [[2, 4], [10]]
        assert await run(batcher, pipe, 6, 7, 8) == [12, 14, 16]

    asyncio.run(check())


def test_a_request_that_nobody_waits_for_is_dropped(make):
    pipe = FakePipeline(is_open=False)
    batcher = make(max_batch_tokens=1)

    async def check() -> None:
        first = asyncio.create_task(run(batcher, pipe, 0, 1, 2))
        await until(pipe.begun.is_set)
        late = asyncio.create_task(asyncio.wait_for(run(batcher, pipe, 3), 0.02))
        with pytest.raises(TimeoutError):
            await late
        assert batcher.items == 3
        first.cancel()  # one of its jobs is in the model: the others never get there
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (batcher.requests, batcher.items) == (0, 0)
        pipe.door.set()
        assert await run(batcher, pipe, 4) == [8]

    asyncio.run(check())
    assert pipe.batches == [[0], [4]]


def test_a_closed_queue_finishes_what_it_has(make):
    pipe = FakePipeline(is_open=False)
    batcher = make(max_batch_tokens=1)

    async def check() -> list[Any]:
        first = asyncio.create_task(run(batcher, pipe, 1, 2, 3))
        await until(pipe.begun.is_set)
        batcher.close()
        with pytest.raises(Refused, match="ending"):
            await run(batcher, pipe, 4)
        pipe.door.set()
        return await first

    assert asyncio.run(check()) == [2, 4, 6]
    batcher.stop()
    assert not batcher._thread.is_alive()


def test_what_is_being_tokenised_when_it_ends_is_answered(make):
    begun, door = threading.Event(), threading.Event()

    def prepare() -> list[Job]:
        begun.set()
        assert door.wait(10)
        return jobs(3)

    batcher = make()

    async def check() -> list[Any]:
        task = asyncio.create_task(batcher.run(FakePipeline(), 1, prepare))
        await until(begun.is_set)
        stopping = threading.Thread(target=batcher.stop)
        stopping.start()
        await until(lambda: batcher.is_closed)
        await asyncio.sleep(0.1)
        door.set()
        result = await asyncio.wait_for(task, 5)
        stopping.join(5)
        return result

    assert asyncio.run(check()) == [6]
    assert not batcher._thread.is_alive()


def test_calls_on_the_thread_of_the_model(make):
    pipe = FakePipeline()
    batcher = make()
    asyncio.run(run(batcher, pipe, 1))
    assert {batcher.submit(threading.get_ident).result(10)} == pipe.threads
    with pytest.raises(ZeroDivisionError):
        batcher.submit(lambda: 1 // 0).result(10)
    assert asyncio.run(run(batcher, pipe, 1)) == [2]


def test_tokenizing_alone_is_counted_too(make):
    batcher = make(max_queue_items=2)
    assert asyncio.run(batcher.tokenize(2, lambda: "done")) == "done"
    with pytest.raises(Refused):
        asyncio.run(batcher.tokenize(3, lambda: "done"))


def test_waiting_for_company_when_asked_to(make):
    pipe = FakePipeline()
    batcher = make(wait_seconds=5.0, max_batch_tokens=3)

    async def check() -> float:
        started = time.perf_counter()
        await asyncio.gather(*(run(batcher, pipe, item) for item in (1, 2, 3)))
        return time.perf_counter() - started

    assert asyncio.run(check()) < 4  # it is full, so there is nothing to wait for
    assert [sorted(batch) for batch in pipe.batches] == [[1, 2, 3]]


def test_everything_is_observed(make):
    class Notes(Observer):
        def __init__(self) -> None:
            self.said: list[Any] = []

        def tokenized(self, seconds: float) -> None:
            self.said.append("tokenized")

        def queued(self, seconds: float) -> None:
            self.said.append("queued")

        def answered(self, items: int, tokens: int, seconds: float) -> None:
            self.said.append((items, tokens))

    notes = Notes()
    asyncio.run(run(make(observer=notes), FakePipeline(), 1, 2, tokens=5))
    assert notes.said == ["tokenized", "queued", (2, 10)]


def test_the_thread_of_the_model_outlives_a_bug(make):
    class Broken(Observer):
        def answered(self, items: int, tokens: int, seconds: float) -> None:
            if items == 1:
                raise RuntimeError("a bug")

    batcher = make(observer=Broken())
    with pytest.raises(RuntimeError, match="a bug"):
        asyncio.run(run(batcher, FakePipeline(), 1))
    assert asyncio.run(run(batcher, FakePipeline(), 1, 2)) == [2, 4]


def test_many_requests_from_several_loops_get_their_own_answers(make):
    pipe = FakePipeline()
    batcher = make(max_batch_tokens=7)
    problems: list[Any] = []

    async def client(number: int) -> None:
        for step in range(20):
            items = [1000 * number + step + more for more in range(step % 5 + 1)]
            if await run(batcher, pipe, *items) != [2 * item for item in items]:
                problems.append(items)

    async def clients(first: int) -> None:
        await asyncio.gather(*(client(number) for number in range(first, first + 8)))

    threads = [threading.Thread(target=lambda first=first: asyncio.run(clients(first))) for first in (0, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert problems == []
    assert (batcher.requests, batcher.items) == (0, 0)
    assert sum(map(len, pipe.batches)) == 16 * sum(step % 5 + 1 for step in range(20))
    assert max(map(len, pipe.batches)) <= 7
