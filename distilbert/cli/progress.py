# SPDX-License-Identifier: Apache-2.0
"""How far a long run is: a bar with rate and time left in a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_QUIET = 30.0  # seconds between two lines in a log
_STEP = 64  # rows between two looks at the clock


class RowBar:
    """Rows done, their rate, the time left. A context: the bar goes when it ends.

    Attributes:
        seconds: since the first row, so that loading the model does not count; where rows come in bursts since the
            beginning, because the first ones took their time too.
    """

    def __init__(self, in_bursts: bool = False) -> None:
        self._in_bursts = in_bursts
        self._bar: Bar | None = None
        self._task: Any = None
        self._total: int | None = None
        self._before = self._rows = 0
        self._began = self._spoke = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def __enter__(self) -> RowBar:
        if sys.stderr.isatty():
            self._bar = _bar()
            self._bar.start()
            self._task = self._bar.add_task("rows", total=None)
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.update(self._task, completed=self._before + self._rows)
            self._bar.stop()

    def begin(self, total: int, done: int) -> None:
        self._total, self._before = total, done
        self._began = self._spoke = time.monotonic()
        if self._bar:
            self._bar.reset(self._task, total=total, completed=done)

    def advance(self) -> None:
        if self._rows == 0 and not self._in_bursts:
            self._began = self._spoke = time.monotonic()
        self._rows += 1
        if self._rows % _STEP:
            return
        if self._bar:
            self._bar.update(self._task, completed=self._before + self._rows)
        elif time.monotonic() - self._spoke > _QUIET:
            self._spoke = time.monotonic()
            typer.echo(self._line(), err=True)

    def _line(self) -> str:
        rate = self._rows / self.seconds
        done = self._before + self._rows
        if self._total is None:
            return f"{done:,} rows, {rate:,.0f} rows/s"
        minutes, seconds = divmod(round((self._total - done) / rate), 60)
        left = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
        return f"{done:,} of {self._total:,} rows, {rate:,.0f} rows/s, {left} left"


def _bar() -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.progress import Task as Row
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Row) -> Text:
            return Text("" if task.speed is None else f"{task.speed:,.0f} rows/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    return Bar(*columns, console=Console(file=sys.stderr), speed_estimate_period=60)
