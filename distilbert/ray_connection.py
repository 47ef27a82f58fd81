# SPDX-License-Identifier: Apache-2.0
"""The way to a Ray cluster: the package, the connection, the CPUs. What runs there is elsewhere."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import socket
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from distilbert import errors
from distilbert.errors import BackendError, DistilBertError

log = logging.getLogger(__name__)

_DEBUG = "DISTILBERT_DEBUG"
_KNOCK_SECONDS = 5.0
_MISSES = 3  # in a row, before it is said
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def require_ray(wanted_by: str, *parts: str) -> Any:
    """The module `ray` with these modules of it imported; BackendError names the extra."""
    try:
        ray = importlib.import_module("ray")
        for part in parts:
            importlib.import_module(f"ray.{part}")
    except ImportError as error:
        found = f'{wanted_by} needs {error.name or "ray"}\n  install:  pip install "distilbert[ray]"'
        raise BackendError(found) from None
    return ray


@contextmanager
def connected(ray: Any, address: str | None) -> Iterator[None]:
    """Inside, this process is the driver of a cluster; Ray keeps its log to itself unless DISTILBERT_DEBUG is 1.

    Args:
        ray: the module.
        address: as `ray.init` takes it; None for RAY_ADDRESS, else the cluster that this machine is part of, else one
            of its own. A connection that the process already has is used, and left.

    Raises:
        BackendError: there is no cluster.
    """
    with _quiet():
        if ray.is_initialized():
            yield
            return
        _connect(ray, address)
        ended = threading.Event()
        threading.Thread(target=_watch, args=(ray.get_runtime_context().gcs_address, ended), daemon=True).start()
        try:
            yield
        finally:
            ended.set()
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    address = address or os.environ.get("RAY_ADDRESS") or None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that is started here
    try:
        _knock(ray, address)
        ray.init(address, log_to_driver=is_debug(), logging_level=logging.getLogger("ray").level)
    except (ValueError, RuntimeError, OSError) as error:
        raise BackendError(f"Ray at {address or 'its default address'}: no connection ({error})") from None
    if is_main and handler is not None:
        signal.signal(signal.SIGTERM, handler)  # Ray has put its own there


@contextmanager
def _quiet() -> Iterator[None]:
    """Let Ray's Python part keep its log to itself."""
    loggers = (
        []
        if is_debug()
        else [logging.getLogger(name) for name in ("ray", "ray.data", "ray.serve", "ray.train", "ray.tune")]
    )
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _knock(ray: Any, address: str | None) -> None:
    """Raise OSError unless somebody listens there: Ray itself would try for minutes."""
    host, separator, port = (address or "").rpartition(":")
    if not separator or "/" in host or not port.isdecimal():
        return
    host = host.strip("[]")
    if host in _LOOPBACK:
        host = ray.util.get_node_ip_address()  # as Ray does
    try:
        socket.create_connection((host, int(port)), _KNOCK_SECONDS).close()
    except OSError as error:
        raise ConnectionError(f"nobody listens at {host}, port {port}: {error.strerror or error}") from None


def _watch(address: str, ended: threading.Event) -> None:
    """Say that the cluster is gone: Ray waits for a minute, then ends the process without a word."""
    host, _, port = address.rpartition(":")
    misses = 0
    while misses < _MISSES and not ended.wait(_KNOCK_SECONDS):
        try:
            socket.create_connection((host.strip("[]"), int(port)), _KNOCK_SECONDS).close()
            misses = 0
        except OSError:
            misses += 1
    if misses:
        log.error("Ray at %s answers no more; unless it comes back, this ends, and can be started again", address)


def rooms(ray: Any) -> list[int]:
    """The CPUs of each node that is alive."""
    return [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]


def fit(threads: int, rooms: Sequence[int]) -> tuple[int, int]:
    """Threads of a worker, and how many workers the nodes have room for.

    As many threads as a run on this machine has, because their number can move the last digits of a result (it does in
    JAX); fewer only if no node has so many CPUs.

    Args:
        threads: of a run on this machine.
        rooms: CPUs of each node.
    """
    threads = max(1, min(threads, max(rooms, default=threads)))
    return threads, max(1, sum(room // threads for room in rooms))


def failure(error: Exception) -> dict[str, str]:
    """An error met on a node as plain texts: raised there, it would reach the user as Ray's report on an actor."""
    ray = require_ray("a run on Ray")
    where = f"on the Ray node {ray.util.get_node_ip_address()}"
    return {"kind": type(error).__name__, "message": f"{error}\n  {where}", "trace": traceback.format_exc()}


def error_of(found: Mapping[str, Any]) -> Exception:
    """The error that `failure` was made of, as if it had been met here."""
    kind = getattr(errors, found["kind"], None)
    if isinstance(kind, type) and issubclass(kind, DistilBertError):
        error: Exception = kind(found["message"])
    else:
        error = RuntimeError(f"{found['kind']}: {found['message']}")
    error.add_note(found["trace"])
    return error


def is_debug() -> bool:
    """Whether Ray may say what it likes."""
    return os.environ.get(_DEBUG) == "1"
