# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the rows of a data set: collected over all files, told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from distilbert.errors import InputError

SHOWN = 20  # problems that are told; of further ones the number


class Place(NamedTuple):
    """Where a row is: its file, and its number there, from 0."""

    path: Path
    row: int

    def __str__(self) -> str:
        return f"{self.path}, row {self.row}"


class Problems:
    """The first problems as text and the number of all, so that a file full of them takes no memory."""

    def __init__(self) -> None:
        self.count = 0
        self._shown: list[str] = []

    def add(self, place: Any, problem: str) -> None:
        """Note one.

        Args:
            place: a `Place` or a file.
            problem: what was expected there, and what was found.
        """
        self.count += 1
        if len(self._shown) < SHOWN:
            self._shown.append(f"{place}: {problem}")

    def check(self) -> None:
        """Raise InputError if there are any."""
        if self.count == 1:
            raise InputError(self._shown[0])
        if self.count:
            more = [f"and {self.count - SHOWN:,} more"] if self.count > SHOWN else []
            lines = [f"  - {line}" for line in self._shown + more]
            raise InputError("\n".join([f"data: {self.count:,} problems (rows count from 0)", *lines]))
