# SPDX-License-Identifier: Apache-2.0
"""Finding NaN and infinity among weights, quickly."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from distilbert.convert.tensor import Array

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
    bad = [name for name, values in tensors.items() if not all_finite(_sample(values))]
    if bad:
        more = f" and {len(bad) - 8} more" if len(bad) > 8 else ""
        names = f"{', '.join(bad[:8])}{more}"
        warnings.warn(f"{origin}: NaN or infinite weights in {names}; outputs will be NaN", stacklevel=3)


def _sample(values: Array) -> Array:
    return values[:_SAMPLED_ROWS] if values.ndim == 2 and values.nbytes > _SAMPLED_FROM else values
