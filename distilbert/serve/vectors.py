# SPDX-License-Identifier: Apache-2.0
"""What routes do with vectors after the model has made them."""

from __future__ import annotations

import numpy as np

from distilbert.errors import InputError
from distilbert.pipelines.scores import unit


def shortened(vectors: list[list[float]], count: int, normalize: bool) -> list[list[float]]:
    """The first `count` numbers of each, scaled to length 1 if asked for.

    Raises:
        InputError: there are fewer, about the field `dimensions`.
    """
    found = np.asarray(vectors, np.float64)
    if count > found.shape[1]:
        raise InputError(f"dimensions: expected at most {found.shape[1]}, found {count}")
    short = found[:, :count]
    result: list[list[float]] = (unit(short) if normalize else short).tolist()
    return result


def cosines(vectors: list[list[float]]) -> list[float]:
    """The cosine of the first vector with each other one."""
    units = unit(np.asarray(vectors, np.float64))
    result: list[float] = np.clip(units[1:] @ units[0], -1, 1).tolist()
    return result
