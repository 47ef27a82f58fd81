# SPDX-License-Identifier: Apache-2.0
"""What routes do with vectors after the model has made them."""

from __future__ import annotations

import numpy as np

from distilbert.errors import InputError
from distilbert.pipelines.scores import Numbers

_TINY = 1e-12


def shortened(vectors: list[list[float]], count: int, name: str) -> list[list[float]]:
    """The first `count` numbers of each, scaled to length 1; InputError, about the field `name`, if there are fewer."""
    found = np.asarray(vectors, np.float64)
    if count > found.shape[1]:
        raise InputError(f"{name}: expected at most {found.shape[1]}, found {count}")
    result: list[list[float]] = _unit(found[:, :count]).tolist()
    return result


def cosines(vectors: list[list[float]]) -> list[float]:
    """The cosine of the first vector with each other one."""
    units = _unit(np.asarray(vectors, np.float64))
    result: list[float] = np.clip(units[1:] @ units[0], -1, 1).tolist()
    return result


def _unit(vectors: Numbers) -> Numbers:
    unit: Numbers = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _TINY)
    return unit
