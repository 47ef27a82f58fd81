# SPDX-License-Identifier: Apache-2.0
"""The input cut into shards: fixed ranges of rows, each worked on by itself.

That a shard sees no other shard's rows is what makes its bytes always the same: which texts go through the model
together moves the last digits of a score.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from distilbert.predict.job import Job
from distilbert.tables import Row, count_rows, read_rows


@dataclass(frozen=True)
class Shard:
    """Rows `start` to `stop` (exclusive) of a file; `number` is its place in the output."""

    number: int
    file: Path
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def cut(job: Job) -> list[Shard]:
    """All shards of a job's inputs, in order.

    Raises:
        FileError: an input cannot be read to its end.
    """
    counts = [(path, count_rows(path, job.input_format)) for path in job.inputs]
    ranges = (
        (path, start, min(start + job.shard_rows, count))
        for path, count in counts
        for start in range(0, count, job.shard_rows)
    )
    return [Shard(number, *found) for number, found in enumerate(ranges)]


class ShardReader:
    """The rows of shards. Of shards that come in order, also with gaps, a file is read once for all of them."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._file: Path | None = None
        self._rows: Iterator[Row] = iter(())
        self._place = 0

    def rows(self, shard: Shard) -> Iterator[Row]:
        """The rows of a shard, which must all be taken before the next one's."""
        if shard.file != self._file or shard.start < self._place:
            self._rows = read_rows(shard.file, self._job.input_format, self._job.wanted_columns, shard.start)
            self._file, self._place = shard.file, shard.start
        skipped = shard.start - self._place
        self._place = shard.stop
        return itertools.islice(self._rows, skipped, skipped + len(shard))
