# SPDX-License-Identifier: Apache-2.0
"""One thread for what the page asks for, and a bounded number of requests that wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from distilbert.serve.errors import RETRY, ServeError

T = TypeVar("T")

MOST = 8  # requests that wait, with the one that is worked on


class Turns:
    """Functions are called one after the other, whether or not somebody still waits for the one before."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "page")
        self._room = threading.Semaphore(MOST)

    async def run(self, function: Callable[[], T]) -> T:
        """What a function gives. It is not called if the caller is cancelled before its turn comes.

        Raises:
            ServeError: 429, too many wait.
        """
        if not self._room.acquire(blocking=False):
            raise ServeError(429, "overloaded", f"the page works on {MOST} requests; try again later", RETRY)
        is_dropped = False

        def call() -> Any:
            try:
                return None if is_dropped else function()
            finally:
                self._room.release()  # not before: until then it takes memory

        try:
            # Not cancelled with the caller: a thread cannot be, and who comes next has to wait for it.
            result: T = await asyncio.shield(asyncio.wrap_future(self._thread.submit(call)))
            return result
        finally:
            is_dropped = True

    def stop(self) -> None:
        """Take nothing more; what runs goes on."""
        self._thread.shutdown(wait=False, cancel_futures=True)
