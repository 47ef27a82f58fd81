# SPDX-License-Identifier: Apache-2.0
"""What the loop of training tells whoever wants to know. Only the first process has any of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from distilbert.training.reports.run_facts import Plan

Tell = Callable[[str], None]  # told what goes on


class Report:
    """Base of reports: hears everything and does nothing. Steps count from 1, and are those of the whole training."""

    def preparing(self, what: str) -> None:
        """What goes on before the first step, and how far it is. It may be said often."""

    def begin(self, plan: Plan) -> None:
        """A training begins, or goes on."""

    def stepped(self, step: int) -> None:
        """A step was taken. It costs nothing: no value is fetched for it."""

    def log(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """Means since the last time: `loss`, `learning_rate`, `grad_norm`, `tokens_per_second` and others."""

    def evaluated(self, step: int, epoch: float, metrics: Mapping[str, float]) -> None:
        """Metrics of an evaluation, named `eval_...`."""

    def saved(self, step: int, path: Path) -> None:
        """A checkpoint was written."""

    def end(self, metrics: Mapping[str, float]) -> None:
        """The training has ended well, with these metrics of the model that was kept."""

    def close(self) -> None:
        """Nothing more will come, however it ended. May be called twice."""
