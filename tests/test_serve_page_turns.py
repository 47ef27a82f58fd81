# SPDX-License-Identifier: Apache-2.0
"""One thread works for the page, also when who asked has gone; and few may wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("fastapi")

from distilbert.serve.errors import ServeError
from distilbert.serve.page.turns import MOST, Turns


@pytest.fixture
def turns() -> Iterator[Turns]:
    made = Turns()
    yield made
    made.stop()


class Work:
    """Is done when the door opens; counts how many are at it at a time."""

    def __init__(self) -> None:
        self.begun, self.door = threading.Event(), threading.Event()
        self.now = self.most = self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        self.now += 1
        self.most = max(self.most, self.now)
        self.begun.set()
        assert self.door.wait(10)
        self.now -= 1
        return self.calls


async def cancelled(turns: Turns, work: Work) -> None:
    """Somebody who asks and goes away."""
    task = asyncio.create_task(turns.run(work))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_who_goes_away_frees_no_second_thread(turns: Turns) -> None:
    work = Work()

    async def check() -> int:
        await cancelled(turns, work)
        assert work.begun.is_set()
        for _ in range(3):
            await cancelled(turns, work)
        last = asyncio.create_task(turns.run(work))
        await asyncio.sleep(0.05)
        work.door.set()
        return await last

    assert asyncio.run(check()) == 2  # those who went away before their turn are passed over
    assert work.most == 1


def test_few_may_wait(turns: Turns) -> None:
    work = Work()

    async def check() -> None:
        for _ in range(MOST - 1):
            await cancelled(turns, work)
        last = asyncio.create_task(turns.run(work))
        await asyncio.sleep(0)
        with pytest.raises(ServeError, match=f"works on {MOST} requests") as error:
            await turns.run(work)
        assert (error.value.status, error.value.kind, dict(error.value.headers or {})) == (
            429,
            "overloaded",
            {"Retry-After": "1"},
        )
        work.door.set()
        assert await last == 2
        assert await turns.run(work) == 3

    asyncio.run(check())


def test_errors_come_back_and_free_their_place(turns: Turns) -> None:
    async def check() -> None:
        for _ in range(2 * MOST):
            with pytest.raises(ZeroDivisionError):
                await turns.run(lambda: 1 // 0)

    asyncio.run(check())
