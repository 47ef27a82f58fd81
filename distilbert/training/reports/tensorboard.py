# SPDX-License-Identifier: Apache-2.0
"""Curves for TensorBoard, through tensorboardX: `train/loss`, `eval/accuracy` and so on, over steps."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distilbert.errors import BackendError
from distilbert.training.reports.report import Report
from distilbert.training.reports.run_facts import Plan

_FLUSH = 10  # seconds after which curves are on the disk


class TensorBoardReport(Report):
    """Writes event files into a folder. A training that goes on hides what was written past the step where it does."""

    def __init__(self, folder: Path) -> None:
        """Say where.

        Raises:
            BackendError: tensorboardX is not installed.
        """
        self._folder = folder
        self._make = _writer_class()
        self._writer: Any = None

    def begin(self, plan: Plan) -> None:
        self.close()
        step = plan.resumed_step
        self._writer = self._make(
            logdir=str(self._folder),
            purge_step=step + 1 if step else 0,
            filename_suffix=f".{step}",  # files are named by the second, and two trainings may begin in one
            flush_secs=_FLUSH,
        )

    def log(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        self._write(step, {"epoch": epoch, **values}, "train")

    def evaluated(self, step: int, epoch: float, metrics: Mapping[str, float]) -> None:
        self._write(step, metrics, "eval")

    def saved(self, step: int, path: Path) -> None:
        if self._writer:
            self._writer.flush()

    def end(self, metrics: Mapping[str, float]) -> None:
        self.close()

    def close(self) -> None:
        if self._writer:
            self._writer.close()
            self._writer = None

    def _write(self, step: int, values: Mapping[str, float], group: str) -> None:
        for name, value in values.items():
            if self._writer and math.isfinite(value):
                self._writer.add_scalar(f"{group}/{name.removeprefix('eval_')}", value, step)


def _writer_class() -> Any:
    try:
        return importlib.import_module("tensorboardX").SummaryWriter
    except ImportError:
        raise BackendError(
            'curves for TensorBoard need tensorboardX\n  install:  pip install "distilbert[train]", '
            "or do without: --report_to none"
        ) from None
