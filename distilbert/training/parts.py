# SPDX-License-Identifier: Apache-2.0
"""How a step is cut into parts that go through the model one after the other: for memory, and to compute less padding.

A step is the same however it is cut, since the weights of its parts add up to 1. So texts of a part that differ much
in length are computed in parts of their own, where the padding saved outweighs what a part costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

PART_COST = 160  # tokens that could be computed in the time that one more part takes: it adds up all gradients
MOST_PARTS = 4  # of one forward pass that was asked for


def accumulation_parts(rows: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """The examples of a step in `count` parts of nearly equal number, without empty ones."""
    return [part for part in np.array_split(rows, min(count, len(rows))) if len(part)]


def length_parts(rows: NDArray[np.int64], lengths: NDArray[np.int64], unit: int) -> list[NDArray[np.int64]]:
    """Examples sorted by length and cut where that saves most.

    Args:
        rows: (B,) examples.
        lengths: (B,) their tokens, rounded up as they will be padded.
        unit: parts have a multiple of so many examples, but for the last.
    """
    order = np.argsort(-lengths, kind="stable")
    sorted_lengths = lengths[order]
    bounds = _best_cuts(sorted_lengths, unit)
    return [rows[order[start:end]] for start, end in pairwise(bounds)]


def _best_cuts(lengths: NDArray[np.int64], unit: int) -> Sequence[int]:
    """Where to cut texts (longest first) so that padded tokens plus the cost of parts are least."""
    shorter = np.flatnonzero(np.diff(lengths)) + 1  # only where texts become shorter is anything saved
    places = sorted({0, *(-(-shorter // unit) * unit).clip(max=len(lengths)).tolist(), len(lengths)})
    best: list[dict[int, tuple[float, list[int]]]] = [{0: (0.0, [0])}]
    for _ in range(MOST_PARTS):
        found: dict[int, tuple[float, list[int]]] = {}
        for start, (cost, cuts) in best[-1].items():
            for end in places:
                if end > start:
                    total = cost + (end - start) * float(lengths[start]) + PART_COST
                    if end not in found or total < found[end][0]:
                        found[end] = (total, [*cuts, end])
        best.append(found)
    complete = [found[len(lengths)] for found in best if len(lengths) in found]
    return min(complete, key=lambda entry: entry[0])[1]
