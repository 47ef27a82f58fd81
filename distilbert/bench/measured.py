# SPDX-License-Identifier: Apache-2.0
"""What is measured and what comes of it: cases, times, the one statistic, and a suite's results as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """One column of a table.

    Attributes:
        name: heading.
        method: of the contenders, which prepares the call to time.
        arguments: of that method, as JSON values.
        unit: `ms` for a time; otherwise a rate, of which `amount` is done in one call.
        amount: as in 872 sentences; for a rate only.
        flops: floating-point operations of one call, where the machine's limit is known; else 0.
    """

    name: str
    method: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    unit: str = "ms"
    amount: float = 0.0
    flops: int = 0

    @property
    def is_rate(self) -> bool:
        """Whether more is better."""
        return self.unit != "ms"

    def value(self, seconds: float) -> float:
        """In this case's unit."""
        return self.amount / seconds if self.is_rate else seconds * 1e3


@dataclass(frozen=True)
class Measurement:
    """The times of one contender in one case: seconds of each call, in the order in which they were made.

    `error` says why there are none, or why there are fewer than there should be.
    """

    times: tuple[float, ...] = ()
    error: str | None = None

    @property
    def seconds(self) -> float | None:
        """The lower quartile, or None for a failure."""
        return None if self.error or not self.times else lower_quartile(self.times)


@dataclass(frozen=True)
class SuiteResult:
    """One table.

    Attributes:
        name, title: of the suite.
        contenders: rows. `cases`: columns.
        cells: by contender and case name; a pair that was not to be measured is absent.
        baseline: the row that the others are compared with, or None.
        limits: the least seconds that the machine could need, by contender and case name, where known.
    """

    name: str
    title: str
    contenders: tuple[str, ...]
    cases: tuple[Case, ...]
    cells: Mapping[tuple[str, str], Measurement]
    baseline: str | None = None
    limits: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def value(self, contender: str, case: Case) -> float | None:
        """In the case's unit."""
        seconds = self._seconds(contender, case)
        return None if seconds is None else case.value(seconds)

    def ratio(self, contender: str, case: Case) -> float | None:
        """How many times as fast as the baseline; above 1 is faster."""
        seconds, base = self._seconds(contender, case), self._seconds(self.baseline or "", case)
        return None if seconds is None or base is None else base / seconds

    def fraction(self, contender: str, case: Case) -> float | None:
        """Which part of the speed that the machine allows is reached, from 0 to 1."""
        seconds, limit = self._seconds(contender, case), self.limits.get((contender, case.name))
        return None if seconds is None or limit is None else limit / seconds

    @property
    def failures(self) -> list[tuple[str, str, str]]:
        """Contender, case and reason."""
        return [(*key, cell.error) for key, cell in self.cells.items() if cell.error]

    def _seconds(self, contender: str, case: Case) -> float | None:
        cell = self.cells.get((contender, case.name))
        return cell.seconds if cell else None


def lower_quartile(times: Sequence[float]) -> float:
    """The smallest time that a quarter of all do not exceed: little disturbed by what else the machine does."""
    return sorted(times)[(len(times) - 1) // 4]
