# SPDX-License-Identifier: Apache-2.0
"""Rows through a pipeline: those that have a result, and those that are set aside with the reason."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

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

    def results(
        self, file: Path, rows: Iterable[Row], set_aside: Callable[[Reject], object]
    ) -> Iterator[dict[str, Any]]:
        """The output's row for each row that has a result, in order.

        Args:
            file: where the rows are from.
            rows: good and bad ones.
            set_aside: gets every other row, in order too.
        """
        waiting: deque[Row] = deque()

        def items() -> Iterator[Any]:
            for row in rows:
                waiting.append(row)
                yield self._item(row)

        for result in self.pipe.stream(items(), keep_errors=True):
            row = waiting.popleft()
            written, problem = self._written(row, result)
            if problem is None:
                yield written
            else:
                set_aside(Reject(str(file), row.number, problem, row.values))

    def _item(self, row: Row) -> Any:
        """The row as the pipeline takes it, or the error that says why it cannot be one."""
        if row.values is None:
            return InputError(row.problem)
        try:
            return read_item(self.job.task, self.job.reads, row.values)
        except InputError as error:
            return error

    def _written(self, row: Row, result: Any) -> tuple[dict[str, Any], str | None]:
        """The output's row, and what is wrong with it."""
        if isinstance(result, DistilBertError):
            return {}, str(result)
        found = {self.job.prefix + name: value for name, value in self._results.values(result).items()}
        values = row.values or {}
        if self.job.keep is not None:
            values = {name: values[name] for name in self.job.keep if name in values}
        if twice := found.keys() & values.keys():
            return {}, f"has columns that the results are called: {', '.join(map(repr, sorted(twice)))}"
        written = {**values, **found}
        return written, self._check.problem(written)
