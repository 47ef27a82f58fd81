# SPDX-License-Identifier: Apache-2.0
"""Processes that train a TensorFlow model together: they equal one, and none waits for one that is gone."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from distilbert.errors import InputError
from distilbert.tf import processes
from distilbert.training.engine import World

from .conftest import REPOSITORY

WORKER = Path(__file__).with_name("tf_worker.py")
CLUSTER = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}


def start(result: Path, config: dict | None = None, *more: object) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment.pop(processes.VARIABLE, None)
    if config:
        environment[processes.VARIABLE] = json.dumps(config)
    command = [sys.executable, WORKER, result, *map(str, more)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def start_two(folder: Path, *more: object) -> list[subprocess.Popen]:
    """Two processes; the second one gets more arguments."""
    with socket.create_server(("localhost", 0)) as one, socket.create_server(("localhost", 0)) as other:
        addresses = [f"localhost:{server.getsockname()[1]}" for server in (one, other)]
    tasks = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}} for index in (0, 1)]
    return [start(folder / "0.npz", tasks[0]), start(folder / "1.npz", tasks[1], *more)]


def finish(process: subprocess.Popen) -> str:
    try:
        return process.communicate(timeout=120)[1]
    finally:
        process.kill()


@pytest.mark.slow
def test_two_processes_with_half_of_each_batch_equal_one(tmp_path):
    for process in (start(tmp_path / "alone.npz"), *start_two(tmp_path)):
        errors = finish(process)
        assert process.returncode == 0, errors
    alone, first, second = (dict(np.load(tmp_path / f"{name}.npz")) for name in ("alone", "0", "1"))
    assert alone.pop("gathered").tolist() == [[0, 7]]
    assert first["gathered"].tolist() == second["gathered"].tolist() == [[0, 7], [1, 7]]
    assert all(values.tobytes() == second[name].tobytes() for name, values in first.items())
    assert max(np.abs(values - first[name]).max() for name, values in alone.items()) < 1e-6


@pytest.mark.slow
def test_a_process_whose_other_is_killed_ends_with_one_clear_error(tmp_path):
    survivor, killed = start_two(tmp_path, 2)
    finish(killed)
    assert killed.returncode == -signal.SIGKILL
    started = time.monotonic()
    errors = finish(survivor)
    assert survivor.returncode == 1
    assert time.monotonic() - started < 60
    error = " ".join(errors.strip().splitlines()[-2:])
    assert "TrainingError: process 0 of 2: another process has ended or does not answer" in error
    assert "it goes on from the newest checkpoint" in error
    assert re.search(r"worker 1 at localhost:\d+ is gone$", error)


@pytest.fixture
def joined(monkeypatch):
    """`join` with a TF_CONFIG, that meets nobody."""
    met = []
    monkeypatch.setattr(processes, "_strategy", lambda: met.append("others"))

    def join(config: str) -> tuple[World, bool]:
        monkeypatch.setenv(processes.VARIABLE, config)
        processes._world.cache_clear()
        try:
            return processes.join(), bool(met)
        finally:
            processes._world.cache_clear()

    return join


@pytest.mark.parametrize(
    ("config", "world", "meets"),
    [
        ("", World(0, 1), False),
        (json.dumps({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}), World(0, 1), False),
        (json.dumps({"cluster": CLUSTER, "task": {"type": "chief", "index": 0}}), World(0, 3), True),
        (json.dumps({"cluster": CLUSTER, "task": {"type": "worker", "index": "1"}}), World(2, 3), True),
    ],
)
def test_who_is_who(joined, config, world, meets):
    assert joined(config) == (world, meets)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "expected JSON"),
        ("[]", "expected a JSON object, found list"),
        ("{}", "cluster: expected lists of addresses of chief and worker, found None"),
        (json.dumps({"cluster": {"ps": ["a:1"]}}), "found {'ps'"),
        (json.dumps({"cluster": {"worker": "a:1"}}), "found {'worker'"),
        (json.dumps({"cluster": CLUSTER}), "task: expected the type and index of one in the cluster, found None"),
        (json.dumps({"cluster": CLUSTER, "task": {"type": "worker", "index": 2}}), "'index': 2"),
    ],
)
def test_a_wrong_tf_config(joined, config, message):
    with pytest.raises(InputError, match=message):
        joined(config)
