# SPDX-License-Identifier: Apache-2.0
"""A run past one machine: shards worked off by Ray Data on the nodes of a cluster.

Only descriptions of shards go through Ray. Each actor loads the model once, reads its rows and writes its parts itself,
so that all nodes must see the same files at the same paths; every actor compares what it sees with the run's manifest
before it begins. What the driver gets back is how many rows are done, or what is wrong.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distilbert.errors import BackendError
from distilbert.predict.job import Job
from distilbert.predict.run import Distribute, Progress, work_shard
from distilbert.predict.shards import Shard, ShardReader
from distilbert.predict.working import Worker
from distilbert.predict.workplace import Workplace
from distilbert.ray_connection import connected, error_of, failure, fit, is_debug, require_ray, rooms
from distilbert.threads import VARIABLE, local_threads

_ANSWER_BYTES = 2**16  # Ray expects 128 MiB of a task, and lets an actor wait where objects have no room for so much
_TRIES = 4  # of a shard; Ray itself would let one that kills its actor kill any number of them


def work_on_ray(address: str | None = None) -> Distribute:
    """Work off shards on a Ray cluster; for `distribute` of `run`.

    Args:
        address: as `ray.init` takes it: `HOST:PORT`, `auto` for the cluster that this machine is part of, `local` for
            one of its own on this machine; None for RAY_ADDRESS, else what there is of the two. A connection that the
            process already has is used.

    Raises:
        BackendError: Ray is not installed; later, the cluster cannot be reached or is lost.
    """
    ray = require_ray("a run on Ray", "data", "exceptions")

    def distribute(job: Job, place: Workplace, shards: list[Shard], progress: Progress) -> None:
        with connected(ray, address):
            try:
                for rows in _answers(ray, job, place, shards):
                    for _ in range(rows):
                        progress.advance()
            except ray.exceptions.RayError as error:
                raise _lost(error) from None

    return distribute


class Actor:
    """A warm worker on a node: has the model loaded, and answers each description of a shard with what became of it.

    What goes wrong is an answer too: raised here, it would reach the user as Ray's report on an actor.
    """

    def __init__(self, job: Job, place: Workplace, folder: Path, threads: int, run: str) -> None:
        """Load the model.

        Args:
            job: what to do.
            place: where the parts go.
            folder: that relative paths are in.
            threads: of the CPU, for the framework.
            run: tells this run from an earlier one of the same job.
        """
        os.environ[VARIABLE] = str(threads)
        self.job, self.place, self.run = job, place, run
        self.failure: dict[str, str] | None = None
        try:
            os.chdir(folder)
            self.fingerprint = job.fingerprint()
            place.check(self.fingerprint)
            self.worker = Worker(job)
            self.reader = ShardReader(job)
        except Exception as error:
            self.failure = failure(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Work off the one shard of a batch."""
        number, file, start, stop = (batch[field.name][0] for field in dataclasses.fields(Shard))
        shard = Shard(int(number), Path(file), int(start), int(stop))
        if self.failure is None:
            try:
                self._work(shard)
            except Exception as error:
                self.failure = failure(error)  # for good: the reader may be left anywhere in the shard
        return {"rows": [len(shard)], **{name: [value] for name, value in (self.failure or _NO_FAILURE).items()}}

    def _work(self, shard: Shard) -> None:
        if self.place.done([shard]):
            return
        begun = self.place.folder / f"begun-{self.run}-{shard.number:06d}"
        with begun.open("ab") as stream:
            stream.write(b".")
            if stream.tell() > _TRIES:
                place = f"{shard.file}: rows {shard.start} to {shard.stop - 1}"
                raise BackendError(f"{place}: the process that works on them has died {_TRIES} times (memory?)")
        work_shard(self.worker, self.place, shard, self.reader.rows(shard), self._confirm)
        begun.unlink(missing_ok=True)  # a node that was thought dead may have finished the shard first

    def _confirm(self) -> None:
        """A node that was cut off must not write into a later run."""
        self.place.check(self.fingerprint)


_NO_FAILURE = {"kind": "", "message": "", "trace": ""}


def _answers(ray: Any, job: Job, place: Workplace, shards: list[Shard]) -> Iterator[int]:
    """The rows of each shard, as it gets done; in any order."""
    threads, actors = fit(local_threads(), rooms(ray))
    items = [{**dataclasses.asdict(shard), "file": str(shard.file)} for shard in shards]
    dataset = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        Actor,
        fn_constructor_args=(job, place, Path.cwd(), threads, secrets.token_hex(4)),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(actors, len(items)), max_tasks_in_flight_per_actor=1),
        num_cpus=threads,
    )
    dataset.context.enable_progress_bars = is_debug()
    dataset.context.target_max_block_size = _ANSWER_BYTES
    for answer in dataset.iter_rows():
        if answer["kind"]:
            raise error_of(answer)
        yield answer["rows"]


def _lost(error: Exception) -> BackendError:
    lines = str(error).strip().splitlines() or ["no reason given"]
    reason = " ... ".join(dict.fromkeys((lines[0], lines[-1])))
    return BackendError(
        f"Ray: {type(error).__name__}: {reason}\n"
        "  Shards that are finished are kept: the same command goes on from there, with Ray or without."
    )
