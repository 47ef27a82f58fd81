# SPDX-License-Identifier: Apache-2.0
"""The same application on Ray Serve: replicas on the nodes of a cluster, each with its own models and queue.

This process deploys it, waits for a signal, and takes it down again; requests never pass through it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from distilbert import errors
from distilbert.errors import BackendError, DistilBertError, InputError
from distilbert.ray_connection import connected, require_ray, rooms
from distilbert.serve.app import create_app
from distilbert.serve.logs import log_to_stderr
from distilbert.serve.models import load
from distilbert.serve.server import SWITCH_SECONDS, listen
from distilbert.serve.settings import Settings
from distilbert.threads import VARIABLE, local_threads

log = logging.getLogger(__name__)

NAME = "distilbert"  # of the application on the cluster
_OTHERS = 64  # requests of a replica beside those that it counts itself, as for its health


@dataclass(frozen=True)
class Deployment:
    """What every replica needs to know.

    Attributes:
        sources: as in `models.load`.
        task: of all models; None for what each is for.
        backend: the framework.
        dtype: of the models.
        settings: of the application.
        folder: that relative paths are in.
    """

    sources: tuple[str, ...]
    task: str | None
    backend: str | None
    dtype: str
    settings: Settings
    folder: Path

    def build(self, threads: int) -> FastAPI:
        """The application, ready to answer; called on the node."""
        os.chdir(self.folder)
        os.environ[VARIABLE] = str(threads)
        sys.setswitchinterval(SWITCH_SECONDS)
        log_to_stderr(self.settings.log_level)
        models = load(self.sources, self.task, self.backend, self.dtype)
        app = create_app(models, self.settings)
        for served in models:
            app.state.batcher.submit(served.pipe.warm_up).result()
        return app

    def problem(self, threads: int) -> tuple[str, str] | None:
        """Class and message of what keeps a node from making the application."""
        os.environ[VARIABLE] = str(threads)
        try:
            os.chdir(self.folder)
            create_app(load(self.sources, self.task, self.backend, self.dtype), self.settings).state.batcher.stop()
        except (DistilBertError, OSError) as error:
            return type(error).__name__, str(error)
        return None


def serve_on_ray(deployment: Deployment, replicas: int = 1, address: str | None = None) -> None:
    """Deploy, and wait for SIGTERM or SIGINT; then new requests are turned away, accepted ones answered, and it ends.

    Args:
        deployment: what to deploy.
        replicas: how many; each has the threads that a server on this machine has, or fewer so that all find room.
        address: of the cluster, as `ray.init` takes it.

    Raises:
        BackendError: Ray is not installed, or the cluster cannot be reached or run it.
        InputError: the cluster is too small, or the address to listen on is taken.
        DistilBertError: a model cannot be loaded.
    """
    ray = require_ray("--ray-serve", "exceptions", "serve")
    settings = deployment.settings
    with listen(settings) as free:
        port = free.getsockname()[1]
    log_to_stderr(settings.log_level)
    with connected(ray, address), _signals() as ended:
        threads = fit(local_threads(), rooms(ray), replicas)
        try:
            _check(ray, deployment, threads)
            ray.serve.start(http_options={"host": settings.host, "port": port}, proxy_location="EveryNode")
            with _taken_down(ray.serve):
                ray.serve.run(_application(ray.serve, deployment, threads, replicas), name=NAME, route_prefix="/")
                fields = {"url": f"http://{settings.host}:{port}", "pid": os.getpid(), "replicas": replicas}
                log.info("ready", extra={"fields": fields})
                ended.wait()
                log.info("ending")
        except (ray.exceptions.RayError, RuntimeError, TimeoutError) as error:
            raise BackendError(f"Ray Serve: {error}") from None
        log.info("ended")


def fit(threads: int, rooms: Sequence[int], replicas: int) -> int:
    """The most threads, up to those of a server on this machine, with which all replicas find room.

    Args:
        threads: of a server on this machine.
        rooms: CPUs of each node.
        replicas: how many.

    Raises:
        InputError: there are fewer CPUs than replicas.
    """
    for count in range(threads, 0, -1):
        if sum(room // count for room in rooms) >= replicas:
            return count
    raise InputError(f"replicas: expected at most one for each CPU of the cluster, which has {sum(rooms)}")


def _check(ray: Any, deployment: Deployment, threads: int) -> None:
    """Load the models once on some node: Ray Serve would try again and again, and report at length."""
    task = ray.remote(num_cpus=threads, max_calls=1)(Deployment.problem)
    if found := ray.get(task.remote(deployment, threads)):
        name, message = found
        kind = getattr(errors, name, errors.FileError)
        raise kind(message)


def _application(serve: Any, deployment: Deployment, threads: int, replicas: int) -> Any:
    def build() -> FastAPI:  # by each replica: what the application holds (threads, models) cannot be sent there
        return deployment.build(threads)

    settings = deployment.settings
    return serve.deployment(
        serve.ingress(build)(),
        name=NAME,
        num_replicas=replicas,
        max_ongoing_requests=settings.max_concurrent_requests + _OTHERS,
        graceful_shutdown_timeout_s=settings.request_seconds + 5,
        graceful_shutdown_wait_loop_s=0.1,
        ray_actor_options={"num_cpus": threads},
    ).bind()


@contextmanager
def _taken_down(serve: Any) -> Iterator[None]:
    """Leave no application behind, also of one that did not start; of two errors the first is raised."""
    try:
        yield
    except BaseException:
        with suppress(Exception):
            _end(serve)
        raise
    _end(serve)


def _end(serve: Any) -> None:
    """Take it down; Ray Serve too unless others use it."""
    serve.delete(NAME)
    if not serve.status().applications:
        serve.shutdown()


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set, once; a second signal does what it does elsewhere."""
    ended = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def end(number: int, frame: object) -> None:
        ended.set()
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, end)
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
