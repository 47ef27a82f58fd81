# SPDX-License-Identifier: Apache-2.0
"""Trainings that are killed, and trainings on two processes of which one is killed: they go on to the same weights."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from distilbert.convert import open_checkpoint
from distilbert.training.checkpoints import saved_steps

from .test_distill import recipe as distillation
from .test_parity import backends
from .training_samples import recipe

pytestmark = pytest.mark.slow

ENVIRONMENT = {**os.environ, "DISTILBERT_THREADS": "1", "OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}


def command(folder: Path, output: str, **changes: object) -> list[str]:
    """A training of 120 steps with a checkpoint every few, as a user starts it."""
    usual = {"num_train_epochs": 10, "save_strategy": "steps", "save_steps": 5, "eval_strategy": "no", "eval": []}
    made = recipe(folder, **{**usual, "output": str(folder / output), **changes})
    path = folder / f"{output}.json"
    path.write_text(json.dumps(made.to_dict()))
    return ["distilbert", "finetune", str(path)]


def start(arguments: Sequence[str], environment: Mapping[str, str] = {}) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, **environment},
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 240) -> str:
    out, said = process.communicate(timeout=seconds)
    assert process.returncode == 0, out + said
    return said


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def weights(folder: Path) -> dict[str, np.ndarray]:
    return {name: tensor.load() for name, tensor in open_checkpoint(folder).tensors.items()}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@backends
def test_killed_ten_times_the_weights_are_the_same(name: str, tmp_path: Path) -> None:
    began = time.monotonic()
    finish(start(command(tmp_path, "whole", backend=name)))
    whole = time.monotonic() - began
    chance = random.Random(0)
    arguments = command(tmp_path, "killed", backend=name)
    reached = []
    for _ in range(10):
        process = start(arguments)
        before = saved_steps(tmp_path / "killed")[-1:]
        until = time.monotonic() + whole
        while saved_steps(tmp_path / "killed")[-1:] == before and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.3))
        kill(process)
        reached += saved_steps(tmp_path / "killed")[-1:]
    assert len({step for step in reached if step < 120}) >= 3, "kills must fall into the training"
    finish(start(arguments))
    expected, found = (tmp_path / output / "model.safetensors" for output in ("whole", "killed"))
    assert found.read_bytes() == expected.read_bytes()


def launched(name: str, arguments: list[str]) -> list[subprocess.Popen[str]]:
    """The same command twice, as each framework's launcher starts it."""
    if name == "pt":
        run = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", *arguments]
        return [start(run)]
    if name == "tf":
        workers = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        tasks = [{"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}} for rank in range(2)]
        return [start(arguments, {"TF_CONFIG": json.dumps(task)}) for task in tasks]
    meeting = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}", "JAX_NUM_PROCESSES": "2"}
    return [start(arguments, {**meeting, "JAX_PROCESS_ID": str(rank)}) for rank in range(2)]


TWO = {"dropout": 0.0, "num_train_epochs": 2, "per_device_train_batch_size": 8}


@pytest.mark.parametrize(("name", "fsdp"), [("pt", False), ("pt", True), ("tf", False), ("flax", False)])
def test_two_processes_are_one(name: str, fsdp: bool, tmp_path: Path) -> None:
    pytest.importorskip({"pt": "torch", "tf": "tensorflow", "flax": "jax"}[name])
    few = {**TWO, "max_steps": 6, "learning_rate": 1e-3, "weight_decay": 0.1, "adam_epsilon": 1e-4}
    few |= {"eval": [str(tmp_path / "eval.csv")], "per_device_eval_batch_size": 16, "max_eval_samples": 40}
    finish(start(command(tmp_path, "one", backend=name, **{**few, "per_device_train_batch_size": 16})))
    for process in launched(name, command(tmp_path, "two", backend=name, fsdp=fsdp, **few)):
        finish(process)
    check_two_are_one(tmp_path)


@backends
def test_two_processes_distil_as_one(name: str, tmp_path: Path) -> None:
    def arguments(output: str, rows: int) -> list[str]:
        made = distillation(
            tmp_path,
            output=str(tmp_path / output),
            backend=name,
            per_device_train_batch_size=rows,
            max_steps=6,
            learning_rate=1e-3,
            adam_epsilon=1e-4,
            dropout=0.0,
        )
        path = tmp_path / f"{output}.json"
        path.write_text(json.dumps(made.to_dict()))
        return ["distilbert", "distill", str(path)]

    finish(start(arguments("one", 16)))
    for process in launched(name, arguments("two", 8)):
        finish(process)
    check_two_are_one(tmp_path, "teacher")


def check_two_are_one(folder: Path, begun: str = "start") -> None:
    """Weights and metrics of the trainings `one` and `two`, and that they learned something."""
    one, two = (json.loads((folder / output / "all_results.json").read_text()) for output in ("one", "two"))
    assert two == pytest.approx(one, rel=1e-6, abs=1e-6)
    expected, found, start_weights = (weights(folder / output) for output in ("one", "two", begun))
    # Epsilon is larger than gradients that are 0 but for rounding (of a key's bias), of which AdamW would make steps.
    far = {key: np.abs(found[key] - expected[key]).max() for key in expected}
    assert {key: error for key, error in far.items() if not error < 1e-6} == {}
    assert max(np.abs(found[key] - start_weights[key]).max() for key in found.keys() & start_weights.keys()) > 2e-3


@backends
def test_one_of_two_is_killed_and_both_go_on_again(name: str, tmp_path: Path) -> None:
    arguments = command(tmp_path, "two", backend=name, **{**TWO, "num_train_epochs": 40})
    processes = launched(name, arguments)
    until = time.monotonic() + 120
    while not saved_steps(tmp_path / "two"):
        assert time.monotonic() < until, "no checkpoint came"
        time.sleep(0.05)
    if name == "pt":
        workers = subprocess.run(["pgrep", "-P", str(processes[0].pid)], capture_output=True, text=True, check=True)
        os.kill(int(workers.stdout.split()[-1]), signal.SIGKILL)
    else:
        kill(processes.pop())
    _, said = processes[0].communicate(timeout=150)
    assert processes[0].returncode not in (0, None)
    assert "start the same command again" in said or "SIGKILL" in said, said
    assert "Traceback" not in said or name == "pt", said  # torchrun's own, of its agent
    steps = saved_steps(tmp_path / "two")
    assert steps
    for process in launched(name, command(tmp_path, "two", backend=name, **{**TWO, "num_train_epochs": 40})):
        finish(process)
    assert saved_steps(tmp_path / "two")[-1] == 480
