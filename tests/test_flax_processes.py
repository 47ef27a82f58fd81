# SPDX-License-Identifier: Apache-2.0
"""Training in JAX on several processes and devices comes to what one comes to, and ends when one of them does."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from .conftest import REPOSITORY

pytest.importorskip("jax")
pytestmark = pytest.mark.slow

STEPS = 4


def start(folder: Path, count: int = 1, steps: int = STEPS, seconds: float = 0, **extra: str) -> list[subprocess.Popen]:
    """Processes of one training, which write into a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    started = []
    for rank in range(count):
        met = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(count), "JAX_PROCESS_ID": str(rank)}
        variables = os.environ | (met if count > 1 else {}) | {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"} | extra
        arguments = [sys.executable, "-m", "tests.flax_worker", str(folder / "found"), str(steps), str(seconds)]
        with open(folder / f"log{rank}", "w") as log:
            started.append(
                subprocess.Popen(arguments, cwd=REPOSITORY, env=variables, stdout=log, stderr=subprocess.STDOUT)
            )
    return started


@contextlib.contextmanager
def ended(processes: list[subprocess.Popen]) -> Iterator[list[subprocess.Popen]]:
    """Processes that are gone afterwards, whatever happens."""
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def log(folder: Path, rank: int) -> str:
    return (folder / f"log{rank}").read_text()


def trained(folder: Path, count: int = 1, **extra: str) -> tuple[list[dict], dict[str, np.ndarray]]:
    """What each process of a training says, and the weights."""
    with ended(start(folder, count, **extra)) as processes:
        for rank, process in enumerate(processes):
            assert process.wait(240) == 0, log(folder, rank)
    facts = [json.loads((folder / f"found.{rank}.json").read_text()) for rank in range(count)]
    return facts, dict(np.load(folder / "found.npz"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    (facts,), weights = trained(tmp_path_factory.mktemp("alone"))
    assert facts["ranks"] == [0]
    return facts, weights


@pytest.mark.parametrize(
    ("processes", "extra", "share"),
    [
        (2, {}, [32, 64]),
        (2, {"DISTILBERT_TENSOR_PARALLEL": "2"}, [32, 32]),
        (1, {"JAX_NUM_CPU_DEVICES": "2"}, [32, 64]),
        (2, {"JAX_NUM_CPU_DEVICES": "2", "DISTILBERT_TENSOR_PARALLEL": "2"}, [32, 32]),
    ],
    ids=["processes", "tensor", "devices", "both"],
)
def test_many_come_to_what_one_comes_to(alone, tmp_path, processes, extra, share):
    expected, weights = alone
    facts, found = trained(tmp_path, processes, **extra)
    for rank, said in enumerate(facts):
        assert np.allclose(said["steps"], expected["steps"], rtol=1e-6, atol=0), rank
        assert np.isclose(said["evaluated"], expected["evaluated"], rtol=1e-6, atol=0), rank
        assert said["ranks"] == list(range(processes))
        assert said["share"] == share
    for name, values in weights.items():
        assert np.abs(found[name] - values).max() < 1e-9, name


@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_is_killed_the_other_ends(tmp_path, victim):
    with ended(start(tmp_path, 2, steps=10_000, seconds=0.05)) as processes:
        deadline = time.monotonic() + 240
        while "step 3\n" not in log(tmp_path, 1 - victim):
            assert time.monotonic() < deadline, log(tmp_path, 1 - victim)
            assert all(process.poll() is None for process in processes), log(tmp_path, 0) + log(tmp_path, 1)
            time.sleep(0.2)
        processes[victim].send_signal(signal.SIGKILL)
        assert processes[1 - victim].wait(60) != 0
    said = log(tmp_path, 1 - victim)
    ours = f"TrainingError: process {1 - victim} of 2: another process has ended or does not answer; start the same"
    assert ours in said or "This most likely indicates that another task died" in said
