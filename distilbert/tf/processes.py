# SPDX-License-Identifier: Apache-2.0
"""The processes that train a TensorFlow model together: who they are by TF_CONFIG, and what they tell each other.

`tf.distribute` connects the processes, adds up their tensors, and notices within seconds when one is gone. The
variables are each process's own: all begin with the same values and take the same steps, so they stay equal.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from distilbert.errors import BackendError, InputError, TrainingError
from distilbert.training.engine import World, lost_message

VARIABLE = "TF_CONFIG"
JOBS = ("chief", "worker")  # in the order of ranks

_GONE = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.FailedPreconditionError,
)


def join() -> World:
    """Meet the other processes of TF_CONFIG, where there are any; waits until all have come.

    Raises:
        InputError: TF_CONFIG says something that cannot be.
        BackendError: TensorFlow has computed something already.
        TrainingError: another process has ended meanwhile.
    """
    world = _world()
    if world.size > 1:
        _strategy()
    return world


def add_up(tensors: Sequence[tf.Tensor], world: World) -> list[tf.Tensor]:
    """The sums of tensors over all processes.

    Raises:
        TrainingError: another process is gone.
    """
    if world.size == 1:
        return list(tensors)
    with _together():
        return list(_add_up(list(tensors)))


@functools.cache
def _world() -> World:
    if not os.environ.get(VARIABLE):
        return World()
    addresses = _addresses()
    return World(list(addresses).index(_own_task()), len(addresses))


@functools.cache
def _strategy() -> tf.distribute.MultiWorkerMirroredStrategy:
    devices = tf.config.list_physical_devices("GPU")
    try:
        tf.config.set_visible_devices(devices[:1], "GPU")  # each more would add once more what the process has
        with _same_reaction_to_sigterm(), _together():
            return tf.distribute.MultiWorkerMirroredStrategy()
    except TrainingError:
        raise
    except RuntimeError as error:
        raise BackendError(f"{VARIABLE}: processes must meet before TensorFlow computes anything; {error}") from error


@tf.function(reduce_retracing=True)
def _add_up(tensors: list[tf.Tensor]) -> Any:
    return _strategy().run(_all_reduce, args=(tensors,))


def _all_reduce(tensors: list[tf.Tensor]) -> Any:
    placed = [tf.identity(tensor) for tensor in tensors]  # without a device the strategy finds no way to send it
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, placed)


@contextlib.contextmanager
def _same_reaction_to_sigterm() -> Iterator[None]:
    """While entered, no new one can stay: TensorFlow would note the signal, and go on until it is killed."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _together() -> Iterator[None]:
    """While entered, the loss of another process is one clear error."""
    try:
        yield
    except _GONE as error:
        raise TrainingError(lost_message(_world().rank, _world().size, _who(error.message))) from None


def _who(reason: str) -> str:
    """Which process an error is about, if it says so."""
    found = re.search(r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)", reason)
    if not found:
        return reason.strip().splitlines()[-1]
    job, place = found[1], int(found[2])
    return f"{job} {place} at {_addresses().get((job, place))} is gone"


def _addresses() -> dict[tuple[str, int], str]:
    """Where each process is, by job and place in it, in the order of ranks."""
    cluster = _config().get("cluster")
    if not isinstance(cluster, dict) or set(cluster) - set(JOBS) or not all(map(_is_list_of_text, cluster.values())):
        raise InputError(f"{VARIABLE}: cluster: expected lists of addresses of {' and '.join(JOBS)}, found {cluster!r}")
    return {(job, place): address for job in JOBS for place, address in enumerate(cluster.get(job, []))}


def _own_task() -> tuple[str, int]:
    task = _config().get("task")
    if isinstance(task, dict) and str(task.get("index")).isdigit():
        found = (str(task.get("type")), int(task["index"]))
        if found in _addresses():
            return found
    raise InputError(f"{VARIABLE}: task: expected the type and index of one in the cluster, found {task!r}")


def _config() -> dict[str, Any]:
    try:
        found = json.loads(os.environ[VARIABLE])
    except ValueError as error:
        raise InputError(f"{VARIABLE}: expected JSON; {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{VARIABLE}: expected a JSON object, found {type(found).__name__}")
    return found


def _is_list_of_text(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
