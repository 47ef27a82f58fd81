# SPDX-License-Identifier: Apache-2.0
"""How a step is cut into parts that go through the model one after the other: for memory, and to compute less padding.

A step is the same however it is cut, since the weights of its parts add up to 1. So texts of a part that differ much
in length are computed in parts of their own, where the padding saved outweighs what a part costs. That is rarely so
where an engine computes padding in attention alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

PART_COST = 200  # tokens that could be computed in the time that one more part takes: it adds up all gradients
ATTENTION_LENGTH = 600  # of texts that take as long for attention, where tokens look at each other, as for all else
MOST_PARTS = 4  # of one forward pass that was asked for


def accumulation_parts(rows: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """The examples of a step in `count` parts of nearly equal number, without empty ones."""
    return [part for part in np.array_split(rows, min(count, len(rows))) if len(part)]


def length_parts(
    rows: NDArray[np.int64], lengths: NDArray[np.int64], unit: int, computes_padding: bool
) -> list[NDArray[np.int64]]:
    """Examples sorted by length and cut where that saves most.

    Args:
        rows: (B,) examples.
        lengths: (B,) their tokens, rounded up as they will be padded.
        unit: parts have a multiple of so many examples, but for the last.
        computes_padding: outside attention too.
    """
    order = np.argsort(-lengths, kind="stable")
    sorted_lengths = lengths[order]
    costs = sorted_lengths * (sorted_lengths / ATTENTION_LENGTH + computes_padding)  # of a text in a part so long
    bounds = _best_cuts(costs, unit)
    return [rows[order[start:end]] for start, end in pairwise(bounds)]


def _best_cuts(costs: NDArray[np.float64], unit: int) -> Sequence[int]:
    """Where to cut texts so that padding and parts cost least.

    Args:
        costs: (B,) in tokens, of one text in a part whose longest text is this one; longest first.
        unit: as for `length_parts`.
    """
    shorter = np.flatnonzero(np.diff(costs)) + 1  # only where texts become shorter is anything saved
    places = sorted({0, *(-(-shorter // unit) * unit).clip(max=len(costs)).tolist(), len(costs)})
    best: list[dict[int, tuple[float, list[int]]]] = [{0: (0.0, [0])}]
    for _ in range(MOST_PARTS):
        found: dict[int, tuple[float, list[int]]] = {}
        for start, (cost, cuts) in best[-1].items():
            for end in places:
                if end > start:
                    total = cost + (end - start) * float(costs[start]) + PART_COST
                    if end not in found or total < found[end][0]:
                        found[end] = (total, [*cuts, end])
        best.append(found)
    complete = [found[len(costs)] for found in best if len(costs) in found]
    return min(complete, key=lambda entry: entry[0])[1]
