# SPDX-License-Identifier: Apache-2.0
"""A run on this machine: shard by shard into the workplace, or straight through between the standard streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from distilbert.errors import FileError, InputError
from distilbert.predict.job import Job
from distilbert.predict.shards import Shard, ShardReader, cut
from distilbert.predict.working import Reject, Worker
from distilbert.predict.workplace import Workplace
from distilbert.tables import Row, read_rows, write_rows
from distilbert.tables.formats import STANDARD


@dataclass(frozen=True)
class Summary:
    """How a run went.

    Attributes:
        rows: of the input.
        resumed: of these, how many an earlier run had done.
        rejected: of these, how many were set aside.
        rejects: the file in which they are; None if there are none.
    """

    rows: int
    resumed: int
    rejected: int
    rejects: Path | None


class Progress(Protocol):
    """Is told how far a run is."""

    def begin(self, total: int, done: int) -> None:
        """There are `total` rows, of which an earlier run has done some."""

    def advance(self) -> None:
        """One more row is read; it is done when the rows that go through the model with it are."""


class Silence:
    """The progress of which nothing is said."""

    def begin(self, total: int, done: int) -> None:
        pass

    def advance(self) -> None:
        pass


Distribute = Callable[[Job, Workplace, list[Shard], Progress], None]


def run(
    job: Job,
    overwrite: bool,
    progress: Progress,
    set_aside: Callable[[Reject], None],
    distribute: Distribute | None = None,
) -> Summary:
    """Work through a job's inputs: in shards, or where an end is a standard stream straight through.

    Args:
        job: what to do.
        overwrite: whether a finished output, or parts of another run, may go.
        progress: is told how far it is.
        set_aside: with standard streams, gets each row without a result; otherwise a file does.
        distribute: works off shards on other machines; default here.

    Raises:
        InputError: shards are to be distributed of a stream.
        FileError: the input cannot be read, the output not be written.
    """
    if STANDARD not in (*job.inputs, job.output):
        return _run_shards(job, overwrite, progress, distribute or work_here)
    if distribute:
        raise InputError("expected files, which all machines can read; found a standard stream")
    return _run_stream(job, overwrite, progress, set_aside)


def _run_shards(job: Job, overwrite: bool, progress: Progress, distribute: Distribute) -> Summary:
    place = Workplace(job.output, job.output_format, job.schema)
    with place.held(job.fingerprint(), overwrite):
        shards = cut(job)
        done = set(place.done(shards))
        left = [shard for shard in shards if shard not in done]
        total, resumed = sum(map(len, shards)), sum(map(len, done))
        progress.begin(total, resumed)
        if left:
            distribute(job, place, left, progress)
        rejected = place.finish(shards)
    return Summary(total, resumed, rejected, place.rejects if rejected else None)


def work_here(job: Job, place: Workplace, shards: list[Shard], progress: Progress) -> None:
    """Work off shards one after the other."""
    worker, reader = Worker(job), ShardReader(job)
    for shard in shards:
        work_shard(worker, place, shard, _counted(reader.rows(shard), progress))


def work_shard(
    worker: Worker, place: Workplace, shard: Shard, rows: Iterator[Row], confirm: Callable[[], None] = lambda: None
) -> None:
    """Work off one shard; `confirm` as in `Workplace.write`."""

    def whole() -> Iterator[Row]:
        count = 0
        for row in rows:
            count += 1
            yield row
        if count != len(shard):
            found = f"found {count} rows from {shard.start} on, expected {len(shard)}"
            raise FileError(f"{shard.file}: has changed since the run began: {found}; begin again with --overwrite")

    place.write(shard, lambda set_aside: worker.results(shard.file, whole(), set_aside), confirm)


def _run_stream(job: Job, overwrite: bool, progress: Progress, set_aside: Callable[[Reject], None]) -> Summary:
    if job.output.exists() and not overwrite:
        raise FileError(f"{job.output}: exists; say --overwrite to replace it, or name another output")
    counts = {"rows": 0, "rejected": 0}

    def reject(found: Reject) -> None:
        counts["rejected"] += 1
        set_aside(found)

    def results() -> Iterator[dict[str, Any]]:
        worker = Worker(job)
        for path in job.inputs:
            rows = read_rows(path, job.input_format, job.wanted_columns)
            yield from worker.results(path, count(rows), reject)

    def count(rows: Iterator[Row]) -> Iterator[Row]:
        for row in _counted(rows, progress):
            counts["rows"] += 1
            yield row

    rows = results()
    first = next(rows, None)
    columns = None if job.schema is None else list(job.schema)
    if first is None and columns is None and job.output_format != "jsonl":
        columns = [job.prefix + name for name in job.results.columns]  # all that is known of a table without rows
    write_rows(job.output, job.output_format, chain([] if first is None else [first], rows), columns, schema=job.schema)
    return Summary(counts["rows"], 0, counts["rejected"], None)


def _counted(rows: Iterator[Row], progress: Progress) -> Iterator[Row]:
    for row in rows:
        yield row
        progress.advance()
