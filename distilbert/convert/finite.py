# SPDX-License-Identifier: Apache-2.0
"""Finding NaN and infinity among weights, quickly."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from distilbert.convert.tensor import Array
from distilbert.errors import WeightsError

_SAMPLED_FROM = 2**20  # bytes; reading more than this at every load would cost more than the load itself
_SAMPLED_ROWS = 64  # a diverged training leaves NaN all over a matrix


def all_finite(values: Array) -> bool:
    """Whether no value is NaN or infinite."""
    if values.dtype.itemsize > 2:
        with np.errstate(all="ignore"):
            if np.isfinite(values.sum()):  # NaN and infinity survive a sum, and a sum is one quick pass
                return True
    return bool(np.isfinite(values).all())


def warn_if_not_finite(tensors: Mapping[str, Array], origin: str) -> None:
    """Warn of tensors with NaN or infinity; of large matrices, which stay unread on disk, only some rows are read."""
    if found := _not_finite({name: _sample(values) for name, values in tensors.items()}):
        warnings.warn(f"{origin}: NaN or infinite weights in {found}; outputs will be NaN", stacklevel=3)


def check_finite(tensors: Mapping[str, Array], origin: str) -> None:
    """Raise WeightsError for tensors with NaN or infinity."""
    if found := _not_finite(tensors):
        raise WeightsError(f"{origin}: expected finite weights, found NaN or infinity in {found}")


def _not_finite(tensors: Mapping[str, Array]) -> str:
    """The names of those with NaN or infinity, for a message; empty if there are none."""
    bad = [name for name, values in tensors.items() if not all_finite(values)]
    return f"{', '.join(bad[:8])}{f' and {len(bad) - 8} more' if len(bad) > 8 else ''}"


def _sample(values: Array) -> Array:
    return values[:_SAMPLED_ROWS] if values.ndim == 2 and values.nbytes > _SAMPLED_FROM else values
