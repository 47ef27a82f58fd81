# SPDX-License-Identifier: Apache-2.0
"""Memory of a long stream through the fast path: level in every framework, and never far ahead of its answers.

Each measurement is a process of its own (`python -m tests.test_inference_memory NAME`), so that no other test's memory
is in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import backend
from distilbert.outputs import SequenceClassifierOutput

STATM = Path("/proc/self/statm")
TEXTS = 200_000  # caches of kernels are still filling in the first half
FEW_TEXTS = 10_000  # for what stands in for a model
GROWTH_PER_TEXT = 300  # bytes, seen are up to 160 that grow ever slower; an answer that is kept takes 400
LONGEST = 60  # tokens

pytestmark = pytest.mark.skipif(not STATM.exists(), reason=f"the resident memory is unknown: no {STATM}")

Run = Callable[[Iterable[list[int]]], Iterable[Any]]


def measure(run: Run, count: int) -> dict[str, float]:
    """Bytes by which the second half of a stream's texts makes the process grow, and tokens that are read ahead."""
    waiting: deque[int] = deque()  # lengths of the texts whose answers are to come
    tokens = ahead = half = 0

    def texts() -> Iterator[list[int]]:
        nonlocal tokens
        random = np.random.default_rng(0)
        for _ in range(count):
            length = int(np.clip(random.lognormal(3.1, 0.5), 3, LONGEST))
            waiting.append(length)
            tokens += length
            yield random.integers(0, 3000, length).tolist()

    for given, _ in enumerate(run(texts()), 1):
        ahead = max(ahead, tokens)
        tokens -= waiting.popleft()
        if given == count // 2:
            half = resident()
    return {"unanswered": len(waiting), "ahead": ahead, "growth": resident() - half, "resident": resident()}


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measured(name: str) -> dict[str, float]:
    """`measure` in a process of its own, for a framework or a stand-in."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.test_inference_memory", name],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
        timeout=400,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(bool(row.missing), reason=f"{row.title} is not installed"))
        for name, row in backend.BACKENDS.items()
    ],
)
def test_a_long_stream(name):
    found = measured(name)
    assert found["unanswered"] == 0
    assert found["growth"] < GROWTH_PER_TEXT * TEXTS / 2
    assert found["ahead"] <= found["window"] + LONGEST


# What stands in for a model: the check passes one that is right, and sees what is wrong with the others.


def answer(text: list[int]) -> SequenceClassifierOutput:
    return SequenceClassifierOutput(logits=np.zeros(2, np.float32) + len(text))


def level(texts: Iterable[list[int]]) -> Iterator[Any]:
    yield from map(answer, texts)


def leaking(texts: Iterable[list[int]]) -> Iterator[Any]:
    kept = []
    for text in texts:
        kept.append(answer(text))
        yield kept[-1]


def greedy(texts: Iterable[list[int]]) -> Iterator[Any]:
    yield from map(answer, list(texts))


STAND_INS: dict[str, Run] = {"level": level, "leaking": leaking, "greedy": greedy}


@pytest.mark.parametrize(("name", "grows", "hurries"), [("level", 0, 0), ("leaking", 1, 0), ("greedy", 0, 1)])
def test_a_leak_and_a_stream_read_whole_are_seen(name, grows, hurries):
    found = measured(name)
    assert found["unanswered"] == 0
    assert (found["growth"] >= GROWTH_PER_TEXT * FEW_TEXTS / 2) == grows
    assert (found["ahead"] > LONGEST) == hurries


def main(name: str) -> dict[str, float]:
    if name in STAND_INS:
        return measure(STAND_INS[name], FEW_TEXTS)
    import distilbert
    from distilbert.demo import MODEL
    from distilbert.inference.streaming import window_limits

    fast = distilbert.load(MODEL, backend=name).for_inference()
    return {**measure(fast.run, TEXTS), "window": min(window_limits(fast))}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1])) + "\n")
