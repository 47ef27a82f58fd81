# SPDX-License-Identifier: Apache-2.0
"""A checkpoint on a tour through every format and back to the first, each step from what the last one wrote."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from distilbert.convert import convert, open_checkpoint
from distilbert.convert.arrays import same_bits
from distilbert.convert.formats import FORMATS

ROUTE = ("pytorch", "tensorflow", "flax", "safetensors")


@dataclass(frozen=True)
class Step:
    """One conversion, from one format to the next: the weights file it wrote, and its size in bytes."""

    source: str
    format: str
    weights: Path
    nbytes: int
    seconds: float


def tour(source: Path, folder: Path) -> list[Step]:
    """Convert along the whole route, a subfolder of `folder` for each format. Every step checks what it wrote."""
    steps: list[Step] = []
    last, last_format = source, open_checkpoint(source).format.name
    for format_ in ROUTE:
        start = time.perf_counter()
        convert(last, folder / format_, format_)
        seconds = time.perf_counter() - start
        weights = folder / format_ / FORMATS[format_].file_name
        steps.append(Step(last_format, format_, weights, weights.stat().st_size, seconds))
        last, last_format = folder / format_, format_
    return steps


def is_same(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same tensors, bit for bit."""
    mine, theirs = open_checkpoint(one).tensors, open_checkpoint(other).tensors
    return mine.keys() == theirs.keys() and all(same_bits(mine[name].load(), theirs[name].load()) for name in mine)
