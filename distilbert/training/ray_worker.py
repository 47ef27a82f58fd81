# SPDX-License-Identifier: Apache-2.0
"""What a training on Ray runs on the nodes of a cluster: one of the processes that train together, as a launcher starts
them elsewhere, and the channel through which they find each other and tell the driver.

Ray Train starts and watches the processes. That they meet is left to the engines, as under `torchrun`, `TF_CONFIG` and
`jax.distributed`: Ray's own ways differ by framework (its TensorflowTrainer switches Keras to the old one for the whole
process; its JaxTrainer joins CPUs only where it is told so).
"""

from __future__ import annotations

import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilbert.errors import BackendError, FileError
from distilbert.ray_connection import failure, require_ray
from distilbert.threads import VARIABLE
from distilbert.training.reports import Plan, Report

WANTED_BY = "training on Ray"
_START = 300.0  # seconds that processes wait for each other at the start
_POLL = 0.1
_PAUSE = 0.5  # seconds between two words about what is said often


class Channel:
    """An actor beside the driver: holds what the workers say until the driver asks for it."""

    def __init__(self, size: int) -> None:
        """Wait for `size` workers."""
        self._places: list[str] = [""] * size
        self._said: list[tuple[str, tuple[Any, ...]]] = []

    def meet(self, rank: int, place: str) -> None:
        """Take the `HOST:PORT` of a worker."""
        self._places[rank] = place

    def places(self) -> list[str]:
        """Those of all workers by rank; empty as long as some have not come."""
        return self._places if all(self._places) else []

    def say(self, kind: str, *facts: Any) -> None:
        """Take a message to the driver."""
        self._said.append((kind, facts))

    def listen(self) -> list[tuple[str, tuple[Any, ...]]]:
        """The messages since the last time."""
        said, self._said = self._said, []
        return said


@dataclass(frozen=True)
class Place:
    """What a process on a node has in common with the driver.

    Attributes:
        folder: that relative paths are in.
        shared: a folder of this run that every node must see.
        environment: variables.
        threads: of the CPU, for the framework.
    """

    folder: Path
    shared: Path
    environment: Mapping[str, str]
    threads: int

    def enter(self) -> None:
        """Let this process be there; FileError unless the node has the driver's files."""
        os.environ.update(self.environment)
        os.environ[VARIABLE] = str(self.threads)
        try:
            os.chdir(self.folder)
            seen = self.shared.is_dir()
        except OSError:
            seen = False
        if not seen:
            raise FileError(f"{self.shared.parent}: all nodes must see the same files at the same paths")


@dataclass(frozen=True)
class Work:
    """What all workers are told.

    Attributes:
        train: called with the recipe and reports, as `finetune`; what it returns is the outcome.
        recipe: with the framework's name in it.
        place: where.
        channel: handle of the actor.
    """

    train: Callable[..., Any]
    recipe: Any
    place: Place
    channel: Any


def work(settings: Mapping[str, Any]) -> None:
    """Be one worker of Ray Train. What goes wrong is said to the driver before it is raised."""
    job: Work = settings["work"]
    ray = require_ray(WANTED_BY, "train")
    context = ray.train.get_context()
    rank, size = context.get_world_rank(), context.get_world_size()
    try:
        job.place.enter()
        if size > 1:
            os.environ.update(environment(job.recipe.backend, rank, _meet(ray, job.channel, rank)))
        with _warnings_told(job.channel, rank):
            outcome = job.train(job.recipe, [Told(job.channel)] if rank == 0 else [])
    except Exception as error:
        ray.get(job.channel.say.remote("failed", rank, failure(error)))
        raise
    if rank == 0:
        ray.get(job.channel.say.remote("done", outcome))


def environment(backend: str, rank: int, places: Sequence[str]) -> dict[str, str]:
    """The variables by which the processes of a framework find each other.

    Args:
        backend: short name of the framework.
        rank: of this process.
        places: `HOST:PORT` of all processes, by rank.
    """
    host, _, port = places[0].rpartition(":")
    size = str(len(places))
    if backend == "pt":  # Ray lets each process see only its own GPU, so that it is the first on its machine
        found = {"MASTER_ADDR": host.strip("[]"), "MASTER_PORT": port, "RANK": str(rank), "WORLD_SIZE": size}
        return {**found, "LOCAL_RANK": "0"}
    if backend == "tf":
        task = {"type": "worker", "index": rank}
        return {"TF_CONFIG": json.dumps({"cluster": {"worker": list(places)}, "task": task})}
    return {"JAX_COORDINATOR_ADDRESS": places[0], "JAX_NUM_PROCESSES": size, "JAX_PROCESS_ID": str(rank)}


class Told(Report):
    """Passes all it hears on to the driver."""

    def __init__(self, channel: Any) -> None:
        """Take the handle of the channel."""
        self._channel = channel
        self._last = 0.0

    def preparing(self, what: str) -> None:
        if self._is_time():
            self._say("preparing", what)

    def begin(self, plan: Plan) -> None:
        self._say("begin", plan)

    def stepped(self, step: int) -> None:
        if self._is_time():
            self._say("stepped", step)

    def log(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        self._say("log", step, epoch, values)

    def evaluated(self, step: int, epoch: float, metrics: Mapping[str, float]) -> None:
        self._say("evaluated", step, epoch, metrics)

    def saved(self, step: int, path: Path) -> None:
        self._say("saved", step, path)

    def end(self, metrics: Mapping[str, float]) -> None:
        self._say("end", metrics)

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now - self._last <= _PAUSE:
            return False
        self._last = now
        return True

    def _say(self, kind: str, *facts: Any) -> None:
        self._channel.say.remote(kind, *facts)


def _meet(ray: Any, channel: Any, rank: int) -> list[str]:
    """`HOST:PORT` of all workers, once they have all come."""
    host = ray.util.get_node_ip_address()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    ray.get(channel.meet.remote(rank, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
    until = time.monotonic() + _START
    while time.monotonic() < until:
        places: list[str] = ray.get(channel.places.remote())
        if places:
            return places
        time.sleep(_POLL)
    raise BackendError(f"{WANTED_BY}: the other processes have not come within {_START:.0f} s")


@contextmanager
def _warnings_told(channel: Any, rank: int) -> Iterator[None]:
    """While entered, warnings for the user go to the driver; those of one process, for all have the same."""

    def tell(message: Warning | str, category: type[Warning], *place: Any) -> None:
        if rank == 0:
            channel.say.remote("warned", str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = tell  # type: ignore[assignment]  # the rest of its arguments is a place in the code
        yield
