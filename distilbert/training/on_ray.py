# SPDX-License-Identifier: Apache-2.0
"""A training past one machine: the same training on several processes of a Ray cluster, started by Ray Train.

This is the driver's side. Nothing is repeated by Ray: a process that is gone ends the training with one message, and
the same call goes on from the newest checkpoint, on Ray or without, as everywhere else.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from distilbert import backend as backends
from distilbert.errors import BackendError, DistilBertError, TrainingError
from distilbert.ray_connection import connected, error_of, require_ray, rooms
from distilbert.threads import VARIABLE, local_threads
from distilbert.training.arguments import TrainingArguments
from distilbert.training.engine import is_about_lost
from distilbert.training.ray_worker import WANTED_BY, Channel, Place, Work, work
from distilbert.training.reports import Report

_PARTS = ("train", "train.v2.api.data_parallel_trainer", "exceptions", "util.scheduling_strategies")
_POLL = 0.2  # seconds
_PREFIX = "DISTILBERT_"  # variables that the workers have as the driver does
_AGAIN = "start the same command again: it goes on from the newest checkpoint"
Recipe = TypeVar("Recipe", bound=TrainingArguments)
Outcome = TypeVar("Outcome")


def train_on_ray(
    train: Callable[[Recipe, Sequence[Report]], Outcome],
    recipe: Recipe,
    reports: Sequence[Report] = (),
    *,
    workers: int = 1,
    address: str | None = None,
) -> Outcome:
    """Train on a Ray cluster as `train(recipe, reports)` does here.

    All nodes must see the same files at the same paths.

    Args:
        train: a function of a module that is installed on all nodes, as `finetune`.
        recipe: what to train. Its batch size is that of each process.
        reports: who is told here how it goes.
        workers: how many processes train together.
        address: as `ray.init` takes it: `HOST:PORT`, `auto` for the cluster that this machine is part of, `local` for
            one of its own on this machine; None for RAY_ADDRESS, else what there is of the two.

    Raises:
        BackendError: Ray is not installed, the cluster cannot be reached, or has no room.
        TrainingError: a process is gone; besides all that `train` raises.
    """
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    ray = require_ray(WANTED_BY, *_PARTS)
    recipe = dataclasses.replace(recipe, backend=backends.choose(recipe.backend))
    with connected(ray, address), shared_folder(Path(recipe.output_dir)) as shared:
        threads = threads_each(workers, local_threads(), rooms(ray))
        try:
            channel = _beside_the_driver(ray, Channel, workers)
            job = Work(train, recipe, Place(Path.cwd(), shared, environment_of_all(), threads), channel)
            run = _Run(workers, reports)
            run.follow(ray, _trainer(ray, job, workers), channel)
        except ray.exceptions.RayError as error:
            raise BackendError(f"Ray: {type(error).__name__}: {_first_line(error)}; {_AGAIN}") from None
        finally:
            for report in reports:
                report.close()
        outcome: Outcome = run.outcome(f"{workers} of {threads} CPUs each; the nodes have {rooms(ray)}")
        return outcome


def threads_each(workers: int, threads: int, rooms: Sequence[int]) -> int:
    """CPU threads of each worker: as many as a run here has, or fewer where else there is no room for all.

    Args:
        workers: processes that train together.
        threads: of a run on this machine.
        rooms: CPUs of each node.
    """
    fitting = (count for count in range(threads, 1, -1) if sum(room // count for room in rooms) >= workers)
    return next(fitting, 1)


class _Run:
    """What the driver hears of a training."""

    def __init__(self, workers: int, reports: Sequence[Report]) -> None:
        self.workers = workers
        self.reports = reports
        self.failures: dict[int, dict[str, str]] = {}
        self.result: list[Any] = []
        self.error: BaseException | None = None

    def follow(self, ray: Any, trainer: Any, channel: Any) -> None:
        """Let it run, and pass on what the workers say, until it has ended.

        Ray Train runs on a thread of its own, for it would take Ctrl-C for itself on the main one.
        """
        ended = threading.Event()
        threading.Thread(target=self._fit, args=(trainer, ended), daemon=True).start()
        is_last = False
        while not is_last:
            is_last = ended.wait(_POLL)
            for kind, facts in ray.get(channel.listen.remote()):
                self._take(kind, facts)

    def outcome(self, wanted: str) -> Any:
        """What the first worker returned, or the one error that says why there is nothing."""
        if self.error is None and self.result:
            return self.result[0]
        dead = [rank for rank in sorted(getattr(self.error, "worker_failures", {})) if rank not in self.failures]
        failures = [found for _, found in sorted(self.failures.items())]
        causes = [found for found in failures if not is_about_lost(found["message"])]
        if dead and not causes:
            ended = f"process {dead[0]} of {self.workers} on Ray has ended (killed, or short of memory)"
            raise TrainingError(f"{ended}; {_AGAIN}")
        if failures:
            raise error_of([*causes, *failures][0])
        raise self._of_ray(wanted)

    def _of_ray(self, wanted: str) -> DistilBertError:
        cause = getattr(self.error, "controller_failure", self.error)
        if "Timeout" in type(cause).__name__:
            return BackendError(f"Ray has no room for the workers: {wanted}")
        return BackendError(f"Ray: {type(cause).__name__}: {_first_line(cause)}; {_AGAIN}")

    def _fit(self, trainer: Any, ended: threading.Event) -> None:
        try:
            trainer.fit()
        except BaseException as error:
            self.error = error
        finally:
            ended.set()

    def _take(self, kind: str, facts: tuple[Any, ...]) -> None:
        if kind == "failed":
            self.failures[facts[0]] = facts[1]
        elif kind == "done":
            self.result.append(facts[0])
        elif kind == "warned":
            warnings.warn(facts[0], UserWarning, stacklevel=2)
        else:
            for report in self.reports:
                getattr(report, kind)(*facts)


def _trainer(ray: Any, job: Work, workers: int) -> Any:
    kinds = ray.train
    names = {entry.name for entry in dataclasses.fields(kinds.FailureConfig)}
    retries = {"max_failures": 0, "controller_failure_limit": 0, "max_preemption_failures": 0}  # the last is newer
    return kinds.v2.api.data_parallel_trainer.DataParallelTrainer(
        work,
        train_loop_config={"work": job},
        scaling_config=kinds.ScalingConfig(
            num_workers=workers,
            use_gpu=ray.cluster_resources().get("GPU", 0) >= workers,
            resources_per_worker={"CPU": job.place.threads},
        ),
        run_config=kinds.RunConfig(
            name="run",
            storage_path=str(job.place.shared),
            failure_config=kinds.FailureConfig(**{name: limit for name, limit in retries.items() if name in names}),
        ),
    )


def _beside_the_driver(ray: Any, kind: type, *arguments: Any) -> Any:
    """An actor on this node, so that the driver does not outlive it."""
    node = ray.get_runtime_context().get_node_id()
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(kind).options(num_cpus=0, scheduling_strategy=strategy).remote(*arguments)


def environment_of_all() -> dict[str, str]:
    """Variables of this process that those on the nodes have too."""
    return {name: value for name, value in os.environ.items() if name.startswith(_PREFIX) and name != VARIABLE}


@contextmanager
def shared_folder(output: Path) -> Iterator[Path]:
    """A folder beside the output for what Ray writes, by which workers also see that files are shared; then removed."""
    output = output.absolute()
    output.parent.mkdir(parents=True, exist_ok=True)
    for left in output.parent.glob(f".{glob.escape(output.name)}.*.ray"):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=f".{output.name}.", suffix=".ray", dir=output.parent, ignore_cleanup_errors=True
    ) as name:
        os.chmod(name, 0o777)
        yield Path(name)


def _first_line(error: object) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")
