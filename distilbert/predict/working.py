# SPDX-License-Identifier: Apache-2.0
"""Rows through a pipeline: those that have a result, and those that are set aside with the reason."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from distilbert.errors import DistilBertError, InputError
from distilbert.pipelines import Pipeline
from distilbert.predict.fields import read_item
from distilbert.predict.job import Job
from distilbert.tables import Row, RowCheck


class Reject(NamedTuple):
    """A row set aside.

    Attributes:
        file: where it is from.
        row: its place there, from 0.
        reason: what is wrong with it.
        values: what it held, if it could be read.
    """

    file: str
    row: int
    reason: str
    values: Mapping[str, Any] | None


class Worker:
    """A job with its model loaded."""

    def __init__(self, job: Job, pipe: Pipeline | None = None) -> None:
        """Load the model, unless it is given."""
        self.job = job
        self.pipe = job.open_pipeline() if pipe is None else pipe
        self._results = job.results
        self._check = RowCheck(job.output_format, job.schema)

    def results(self, file: Path, rows: Iterable[Row], set_aside: Callable[[Reject], None]) -> Iterator[dict[str, Any]]:
        """The output's row for each row that has a result, in order.

        Args:
            file: where the rows are from.
            rows: good and bad ones.
            set_aside: gets every other row.
        """
        waiting: deque[Row] = deque()

        def items() -> Iterator[Any]:
            for row in rows:
                try:
                    item = self._item(row)
                except DistilBertError as error:
                    set_aside(Reject(str(file), row.number, str(error), row.values))
                else:
                    waiting.append(row)
                    yield item

        for result in self.pipe.stream(items(), keep_errors=True):
            row = waiting.popleft()
            written, problem = self._written(row, result)
            if problem is None:
                yield written
            else:
                set_aside(Reject(str(file), row.number, problem, row.values))

    def _item(self, row: Row) -> Any:
        if row.values is None:
            raise InputError(row.problem)
        return read_item(self.job.task, self.job.reads, row.values)

    def _written(self, row: Row, result: Any) -> tuple[dict[str, Any], str | None]:
        """The output's row, and what is wrong with it."""
        if isinstance(result, DistilBertError):
            return {}, str(result)
        found = {self.job.prefix + name: value for name, value in self._results.values(result).items()}
        if not _is_finite(found):
            return {}, "the model's answer is not a number (NaN)"
        values = row.values or {}
        if self.job.keep is not None:
            values = {name: values[name] for name in self.job.keep if name in values}
        if twice := found.keys() & values.keys():
            return {}, f"has columns that the results are called: {', '.join(map(repr, sorted(twice)))}"
        written = {**values, **found}
        return written, self._check.problem(written)


def _is_finite(value: Any) -> bool:
    """Whether all numbers in it are."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, np.ndarray):
        return bool(np.isfinite(value).all())
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return all(map(_is_finite, parts))
