# SPDX-License-Identifier: Apache-2.0
"""One tensor in a file: its name, shape and dtype are known from the header, its bytes are read when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]

BFLOAT16: np.dtype[np.generic] = np.dtype(ml_dtypes.bfloat16)

# What a weight may be. Anything else in a file (integers, strings, complex numbers) is not a weight of these models.
FLOAT_DTYPES: dict[str, np.dtype[np.generic]] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": BFLOAT16,
}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that can be loaded. `load` returns a C- or F-ordered array of exactly `shape` and `dtype`.

    Each call of `load` may read the file again: whoever needs the values twice keeps the array, whoever wants little
    memory lets it go.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    load: Callable[[], Array]

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def renamed(self, name: str) -> StoredTensor:
        """The same values under another name."""
        return replace(self, name=name)

    def transposed(self) -> StoredTensor:
        """The transpose of a matrix, as a view when loaded."""
        return replace(self, shape=self.shape[::-1], load=lambda: self.load().T)

    @staticmethod
    def of(name: str, values: Array) -> StoredTensor:
        """A tensor that is already in memory."""
        return StoredTensor(name, values.shape, values.dtype, lambda: values)


@dataclass(frozen=True)
class StoredFile:
    """What a weights file holds: its tensors by native name, in the order of the file, and its text metadata."""

    tensors: dict[str, StoredTensor]
    metadata: dict[str, str]
