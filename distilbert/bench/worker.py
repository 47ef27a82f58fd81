# SPDX-License-Identifier: Apache-2.0
"""The process that a contender runs in: reads requests as lines of JSON, times calls, answers as lines of JSON.

Between requests it waits in `read` and uses no CPU. Only the standard library and the contender's own modules are
imported, for the Python that runs this need not be the one the package is installed in.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

Timed = Callable[[], object]
_WARM_UP = 2  # calls before the first timed one: frameworks compile, prepack and allocate in these


class Worker:
    """What the requests act on: one contender, and its cases once they are prepared."""

    def __init__(self) -> None:
        self.contender: Any = None
        self.cases: dict[str, Timed] = {}

    def open(self, family: str, options: dict[str, Any], packages: list[str], cpus: list[int] | None) -> dict[str, Any]:
        """Make the contender; `cpus` are those that it may use, decided before its framework counts them."""
        if cpus:
            os.sched_setaffinity(0, cpus)
        module = importlib.import_module(f"distilbert.bench.contenders.{family}")
        self.contender = module.Contender(**options)
        return {"versions": {name: importlib.metadata.version(name) for name in packages}}

    def prepare(self, case: str, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Load what the case needs, and warm up."""
        call = getattr(self.contender, method)(**arguments)
        for _ in range(_WARM_UP):
            _time(call)
        self.cases[case] = call
        return {}

    def run(self, case: str, seconds: float) -> dict[str, Any]:
        """Seconds of each call: as many as fit the budget, at least one."""
        call = self.cases[case]
        start = time.perf_counter()
        if _time(call) > seconds / 4:  # the first call finds caches that other processes filled; long ones do not mind
            start = time.perf_counter()
        times = [_time(call)]
        while time.perf_counter() - start < seconds:
            times.append(_time(call))
        return {"seconds": times}


def _time(call: Timed) -> float:
    """Seconds of a call, or what it says itself where it measures only a part of what it does."""
    start = time.perf_counter()
    answer = call()
    seconds = time.perf_counter() - start
    return answer if isinstance(answer, float) else seconds


def main() -> None:
    """Answer requests until there are no more. What frameworks print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # of any kind, by any framework: the controller lists it and goes on without us
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
