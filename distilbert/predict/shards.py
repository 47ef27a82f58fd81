# SPDX-License-Identifier: Apache-2.0
"""The input cut into shards: fixed ranges of rows, each worked on by itself.

That a shard sees no other shard's rows is what makes its bytes always the same: which texts go through the model
together moves the last digits of a score.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
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


def rows_of(job: Job, shards: Iterable[Shard]) -> Iterator[tuple[Shard, Iterator[Row]]]:
    """Each shard with its rows, which must be taken before the next one; a file is read once for all of its shards."""
    for path, group in itertools.groupby(shards, key=lambda shard: shard.file):
        first, *others = group
        rows = read_rows(path, job.input_format, job.wanted_columns, first.start)
        place = first.start
        for shard in (first, *others):
            yield shard, _between(rows, shard.start - place, len(shard))
            place = shard.stop


def _between(rows: Iterator[Row], skipped: int, count: int) -> Iterator[Row]:
    return itertools.islice(rows, skipped, skipped + count)
