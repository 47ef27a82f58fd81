# SPDX-License-Identifier: Apache-2.0
"""Examples of different lengths as arrays: how they are stored, put together and cut up. Nothing here knows a task.

A batch is a dict of arrays whose first axis counts examples. `weights` says how much each label counts in the loss;
over all parts of a step, on all processes, they add up to 1, so that a step is the same however it is cut up. The same
goes for other arrays whose names end in `weights`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Batch = dict[str, NDArray[Any]]
WEIGHTS = "weights"


@dataclass(frozen=True)
class Ragged:
    """Lists of whole numbers of different lengths, one after the other.

    Attributes:
        values: (total,) all of them.
        starts: (N + 1,) where each list starts, and the end of the last.
    """

    values: NDArray[np.int32]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> Ragged:
        """From lists."""
        kept = [np.asarray(row, np.int32) for row in rows]
        lengths = [len(row) for row in kept]
        values = np.concatenate(kept) if kept else np.zeros(0, np.int32)
        return cls(values, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.values[self.starts[row] : self.starts[row + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) of the lists."""
        return np.diff(self.starts)

    def padded(self, rows: NDArray[np.int64], length: int, filler: int) -> NDArray[np.int32]:
        """(len(rows), length), each filled up at its end."""
        table = np.full((len(rows), length), filler, np.int32)
        for place, row in enumerate(rows):
            found = self[int(row)]
            table[place, : len(found)] = found
        return table


def padded_length(lengths: NDArray[np.int64], multiple: int, most: int) -> int:
    """The longest length, rounded up to a multiple of so many tokens but never above `most`."""
    longest = int(lengths.max(initial=1))
    return max(longest, min(-(-longest // multiple) * multiple, most))


def normalised(parts: Sequence[Batch]) -> list[Batch]:
    """The parts of a step with weights that add up to 1, each kind of them; all zero where nothing counts."""
    found = [dict(part) for part in parts]
    for kind in {name for part in parts for name in part if name.endswith(WEIGHTS)}:
        total = sum(float(part[kind].sum(dtype=np.float64)) for part in found if kind in part)
        for part in found:
            if kind in part:
                part[kind] = (part[kind] * (1 / total if total else 0.0)).astype(np.float32)
    return found


def with_token_places(batch: Batch, multiple: int = 1) -> Batch:
    """A batch that says where its tokens are, `token_places` (N,), so that a model computes no padding.

    The first of each row is always among them, since a class may be read from it. There are a multiple of `multiple`,
    but no more than places: filled up with the place that is none.
    """
    mask = batch["attention_mask"]
    seen = mask != 0
    seen[..., 0] = True
    places = np.flatnonzero(seen)
    count = -(-len(places) // multiple) * multiple
    filled = np.full(min(count, mask.size), mask.size, np.int32)
    filled[: len(places)] = places
    return {**batch, "token_places": filled}


def share(batch: Batch, rank: int, size: int, multiple: int = 1) -> Batch:
    """The rows of one process out of `size`.

    All get equally many, and a multiple of `multiple`: missing ones are empty rows of weight 0.
    """
    rows = -(-len(batch[WEIGHTS]) // (size * multiple)) * multiple
    return {name: _rows(values, rank * rows, rows) for name, values in batch.items()}


def _rows(values: NDArray[Any], start: int, count: int) -> NDArray[Any]:
    found = values[start : start + count]
    if len(found) == count:
        return found
    empty = np.zeros((count - len(found), *values.shape[1:]), values.dtype)
    return np.concatenate([found, empty])
