# SPDX-License-Identifier: Apache-2.0
"""How a training goes: a bar with loss, rate and time left in a terminal, a line for each line of the log elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from distilbert.training.reports.report import Report
from distilbert.training.reports.run_facts import Plan

if TYPE_CHECKING:
    from rich.progress import Progress

PAUSE = 10.0  # seconds between two lines about what comes before the first step


class TrainingBar(Report):
    """A report to standard error. A context: the bar goes when it ends, the lines stay."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._row: Any = None
        self._plan: Plan | None = None
        self._told = time.monotonic()
        self._first: tuple[int, float] | None = None  # a step and when it was taken: compiling does not count

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def preparing(self, what: str) -> None:
        if time.monotonic() - self._told > PAUSE:
            self._told = time.monotonic()
            self._say(what)

    def begin(self, plan: Plan) -> None:
        self._plan, self._first = plan, None
        self._say(plan_line(plan))
        if sys.stderr.isatty():
            self.close()
            self._bar = _bar()
            done, total = plan.resumed_step, plan.total_steps
            self._row = self._bar.add_task("", total=total, completed=done, loss="", rate="", left="")
            self._bar.start()

    def stepped(self, step: int) -> None:
        self._first = self._first or (step, time.monotonic())
        if self._bar:
            self._bar.update(self._row, completed=step, left=clock(self._seconds_left(step)))

    def log(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        left = self._seconds_left(step)
        self._first = self._first or (step, time.monotonic())
        if self._bar:
            self._bar.update(self._row, completed=step, loss=_loss(values), rate=_tokens(values), left=clock(left))
        else:
            self._say(", ".join(filter(None, [self._place(step, epoch), _loss(values), *_speed(values), _left(left)])))

    def evaluated(self, step: int, epoch: float, metrics: Mapping[str, float]) -> None:
        found = ", ".join(f"{name.removeprefix('eval_')} {value:.4g}" for name, value in metrics.items())
        self._say(f"{self._place(step, epoch)}: {found}")

    def saved(self, step: int, path: Path) -> None:
        self._say(f"step {step:,}: saved {path}")

    def close(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _place(self, step: int, epoch: float) -> str:
        total = f" of {self._plan.total_steps:,}" if self._plan else ""
        return f"step {step:,}{total} (epoch {epoch:.2f})"

    def _seconds_left(self, step: int) -> float | None:
        if self._plan is None or self._first is None or step <= self._first[0]:
            return None
        per_step = (time.monotonic() - self._first[1]) / (step - self._first[0])
        return per_step * (self._plan.total_steps - step)

    def _say(self, line: str) -> None:
        if self._bar:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            typer.echo(line, err=True)


def plan_line(plan: Plan) -> str:
    """What is about to be trained, in one line."""
    processes = f", {plan.processes} processes" if plan.processes > 1 else ""
    epochs = "1 epoch" if plan.epochs == 1 else f"{plan.epochs:g} epochs"
    resumed = f"; goes on after step {plan.resumed_step:,}" if plan.resumed_step else ""
    return (
        f"{plan.total_steps:,} steps, {epochs} of {plan.examples:,} examples, "
        f"{plan.trainable_parameters:,} parameters, {plan.backend}{processes}{resumed}"
    )


def clock(seconds: float | None) -> str:
    """Hours, minutes and seconds: `1:02:03`; empty for what is not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _loss(values: Mapping[str, float]) -> str:
    return f"loss {values['loss']:.4f}" if "loss" in values else ""


def _speed(values: Mapping[str, float]) -> list[str]:
    return [f"learning rate {values['learning_rate']:.3g}" if "learning_rate" in values else "", _tokens(values)]


def _tokens(values: Mapping[str, float]) -> str:
    return f"{values['tokens_per_second']:,.0f} tokens/s" if "tokens_per_second" in values else ""


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"{clock(seconds)} left"


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    told = (TextColumn(f"{{task.fields[{name}]}}") for name in ("loss", "rate", "left"))
    return Progress(BarColumn(), MofNCompleteColumn(), *told, console=Console(file=sys.stderr))
