# SPDX-License-Identifier: Apache-2.0
"""The table of a quantization as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distilbert.quantization.schemes import Scheme


@dataclass(frozen=True)
class Row:
    """What a scheme costs and gains.

    Attributes:
        scheme: which one; `FORMAT:float32` is what the others of the format are compared with.
        nbytes: of the model's file.
        seconds: of a text, in the lower quartile of the rounds.
        quality: the metric in percent.
        drop: how many points that is below float32 in the same format.
        problem: why it was not even measured, else None.
    """

    scheme: Scheme
    nbytes: int = 0
    seconds: float = float("nan")
    quality: float = float("nan")
    drop: float = float("nan")
    problem: str | None = None


@dataclass(frozen=True)
class Quantized:
    """What came of it.

    Attributes:
        output: the folder with the chosen export.
        metric: what quality is.
        texts: how many it was measured on.
        rows: of every scheme.
        chosen: the best of those that pass.
    """

    output: Path
    metric: str
    texts: int
    rows: tuple[Row, ...]
    chosen: Scheme


def as_json(found: Quantized) -> dict[str, Any]:
    """The table, for files and scripts; what was not measured is null."""
    return {
        "metric": found.metric,
        "texts": found.texts,
        "chosen": str(found.chosen),
        "rows": [
            {
                "scheme": str(row.scheme),
                "bytes": row.nbytes,
                **{
                    name: None if np.isnan(getattr(row, name)) else getattr(row, name)
                    for name in ("seconds", "quality", "drop")
                },
                "problem": row.problem,
            }
            for row in found.rows
        ],
    }
