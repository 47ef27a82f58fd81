# SPDX-License-Identifier: Apache-2.0
"""Training on a Ray cluster: the same numbers as here, one message for what goes wrong, and going on after a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from distilbert import ray_connection
from distilbert.backend import installed
from distilbert.errors import BackendError, FileError, InputError, TrainingError
from distilbert.training import on_ray, ray_worker
from distilbert.training.engine import lost_message
from distilbert.training.on_ray import shared_folder, threads_each, train_on_ray
from distilbert.training.ray_worker import Channel, Place, Told, environment
from distilbert.training.reports import Plan, Report

from .ray_cluster import ENVIRONMENT, Cluster
from .test_cli import invoke
from .training_samples import recipe

PLACES = ["10.0.0.1:4000", "10.0.0.2:5000"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray")
    recipe(folder)
    return folder


def start(folder: Path, output: str, rows: int, *options: str) -> subprocess.Popen[str]:
    """The command, in the folder of the files, which it is told relative names of."""
    command = [sys.executable, "-m", "distilbert", "finetune", "text-classification", "--model", "start"]
    command += ["--train", "train.csv", "--eval", "eval.csv", "--output", output, "--report_to", "none", "--no-certify"]
    command += ["--per_device_train_batch_size", str(rows), "--dropout", "0", "--max_seq_length", "32"]
    command += ["--learning_rate", "1e-3", "--logging_steps", "1"]
    command += ["--adam_epsilon", "1e-3", *options]  # or AdamW makes steps of the rounding of gradients that are 0
    pipe = subprocess.PIPE
    environment = {**ENVIRONMENT, "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "8"}
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=folder)


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    """What a command that ends with this code says; nothing of that is Ray's."""
    _, said = process.communicate(timeout=170)
    assert process.returncode == code, said
    for word in ("Traceback", "raylet", "RayTrainWorker", "controller"):
        assert word not in said
    return said


def weights(folder: Path) -> dict[str, Any]:
    return load_file(folder / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("backend", installed())
def test_two_workers_are_one_process_with_the_same_batch(nodes: Cluster, data: Path, backend: str) -> None:
    two, one = f"two-{backend}", f"one-{backend}"
    options = ("--num_train_epochs", "2", "--backend", backend)
    said = finish(start(data, two, 8, "--ray_address", nodes.address, "--num_workers", "2", *options))
    there = weights(data / two)
    size = sum(tensor.size for tensor in there.values())
    assert f"24 steps, 2 epochs of 192 examples, {size:,} parameters, {backend}, 2 processes" in said
    assert "step 24 of 24 (epoch 2.00), loss 0." in said
    assert f"step 24: saved {two}/checkpoint-24" in said
    assert f"{two}: trained in 24 steps" in said
    finish(start(data, one, 16, *options))
    here = weights(data / one)
    for name in here:
        np.testing.assert_allclose(there[name], here[name], rtol=0, atol=1e-6)
    for line, other in zip(history(data / two), history(data / one), strict=True):
        for name in {"loss", "grad_norm", "eval_loss"} & set(line):
            assert line[name] == pytest.approx(other[name], rel=1e-6, abs=1e-6)
    assert not list(data.glob(".*"))


def history(folder: Path) -> list[dict[str, float]]:
    found: list[dict[str, float]] = json.loads((folder / "checkpoint-24" / "trainer_state.json").read_text())["history"]
    return found


@pytest.mark.slow
def test_a_worker_is_killed_and_the_same_command_goes_on(nodes: Cluster, data: Path) -> None:
    options = ("--ray_address", nodes.address, "--num_workers", "2", "--num_train_epochs", "25", "--save_steps", "20")
    options += ("--save_strategy", "steps", "--eval_strategy", "no")
    finish(start(data, "whole", 8, *options))
    process = start(data, "killed", 8, *options)
    until = time.monotonic() + 100
    while not list((data / "killed").glob("checkpoint-*")):
        assert time.monotonic() < until, process.kill()
        time.sleep(0.02)
    found = workers(data, besides=process.pid)
    assert len(found) == 2
    os.kill(found[-1], signal.SIGKILL)
    said = finish(process, 1)
    message = (
        r"error: process [01] of 2 on Ray has ended \(killed, or short of memory\); start the same command again: "
    )
    assert re.search(message + r"it goes on from the newest checkpoint\n$", said)
    said = finish(start(data, "killed", 8, *options))
    assert re.search(r"goes on after step \d+0\n", said)
    whole, killed = weights(data / "whole"), weights(data / "killed")
    assert all(np.array_equal(whole[name], killed[name]) for name in whole)


def workers(folder: Path, besides: int) -> list[int]:
    """The processes that work in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if path.readlink() == folder and int(path.parent.name) != besides:
                found.append(int(path.parent.name))
        except OSError:  # it has ended meanwhile, or is another user's
            continue
    return sorted(found)


@pytest.mark.slow
def test_errors_are_one_message(nodes: Cluster, data: Path) -> None:
    there = ("--ray_address", nodes.address, "--num_workers", "2")
    said = finish(start(data, "bad", 8, *there, "--column", "label=nope"), 1)
    assert said.startswith("error: ")
    assert "train.csv: label: no column 'nope'; found 'text', 'label'" in said
    assert said.endswith("on the Ray node 127.0.0.1\n")
    said = finish(start(data, "bad", 8, *there[:2], "--num_workers", "3"), 1)
    assert said == "error: Ray has no room for the workers: 3 of 1 CPUs each; the nodes have [1, 1]\n"
    assert "error: Ray at 127.0.0.1:9: no connection" in finish(start(data, "x", 8, "--ray_address", "127.0.0.1:9"), 1)
    assert not list(data.glob(".*"))


# Without Ray.


def test_how_processes_of_each_framework_find_each_other() -> None:
    assert environment("pt", 1, PLACES) == {
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "4000",
        "RANK": "1",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "0",
    }
    assert json.loads(environment("tf", 1, PLACES)["TF_CONFIG"]) == {
        "cluster": {"worker": PLACES},
        "task": {"type": "worker", "index": 1},
    }
    assert environment("flax", 0, PLACES) == {
        "JAX_COORDINATOR_ADDRESS": "10.0.0.1:4000",
        "JAX_NUM_PROCESSES": "2",
        "JAX_PROCESS_ID": "0",
    }
    assert environment("pt", 0, ["[::1]:4000", "[::1]:5000"])["MASTER_ADDR"] == "::1"


def test_threads_leave_room_for_all_workers() -> None:
    assert threads_each(1, 4, [8]) == 4
    assert threads_each(2, 4, [4]) == 2
    assert threads_each(3, 4, [4, 2]) == 2
    assert threads_each(9, 4, [4]) == 1
    assert threads_each(2, 4, []) == 1


def test_the_channel_waits_for_all_and_gives_each_message_once() -> None:
    channel = Channel(2)
    channel.meet(1, PLACES[1])
    assert channel.places() == []
    channel.meet(0, PLACES[0])
    assert channel.places() == PLACES
    channel.say("failed", 1, {})
    assert channel.listen() == [("failed", (1, {}))]
    assert channel.listen() == []


def test_all_that_a_report_hears_is_passed_on(tmp_path: Path) -> None:
    said: list[tuple[Any, ...]] = []
    told = Told(SimpleNamespace(say=SimpleNamespace(remote=lambda *message: said.append(message))))
    plan = Plan(total_steps=3, epochs=1, examples=9, trainable_parameters=1, backend="pt")
    told.preparing("tokenising")
    told.begin(plan)
    told._last = 0.0  # as if some time had passed
    for step in (1, 2, 3):
        told.stepped(step)
    told.log(1, 0.5, {"loss": 1.0})
    told.evaluated(1, 0.5, {"eval_loss": 1.0})
    told.saved(1, tmp_path)
    told.end({"eval_loss": 1.0})
    names = [message[0] for message in said]
    assert names == ["preparing", "begin", "stepped", "log", "evaluated", "saved", "end"]  # of steps only some
    assert all(name in dir(Report) for name in names)
    assert said[1] == ("begin", plan)
    assert said[5] == ("saved", 1, tmp_path)


def test_a_node_with_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISTILBERT_THREADS", "1")
    monkeypatch.setenv("DISTILBERT_ANY", "0")
    with pytest.raises(FileError, match="all nodes must see the same files at the same paths"):
        Place(tmp_path, tmp_path / "absent", {}, 1).enter()
    with pytest.raises(FileError, match="all nodes must see"):
        Place(tmp_path / "absent", tmp_path, {}, 1).enter()
    (tmp_path / "in").mkdir()
    Place(tmp_path / "in", tmp_path, {"DISTILBERT_ANY": "1"}, 3).enter()
    assert Path.cwd() == tmp_path / "in"
    assert (os.environ["DISTILBERT_ANY"], os.environ["DISTILBERT_THREADS"]) == ("1", "3")


def test_a_worker_says_what_goes_wrong_before_it_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[tuple[Any, ...]] = []
    context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1)
    ray = SimpleNamespace(
        train=SimpleNamespace(get_context=lambda: context),
        get=lambda answer: answer,
        util=SimpleNamespace(get_node_ip_address=lambda: "10.0.0.1"),
    )
    for module in (ray_worker, ray_connection):
        monkeypatch.setattr(module, "require_ray", lambda wanted_by, *parts: ray)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISTILBERT_THREADS", "1")
    channel = SimpleNamespace(say=SimpleNamespace(remote=lambda *message: said.append(message)))
    place = Place(tmp_path, tmp_path, {}, 1)
    ray_worker.work({"work": ray_worker.Work(lambda recipe, reports: (recipe, len(reports)), "r", place, channel)})
    assert said.pop() == ("done", ("r", 1))

    def train(recipe: Any, reports: Any) -> None:
        raise InputError("no such column")

    with pytest.raises(InputError):
        ray_worker.work({"work": ray_worker.Work(train, "r", place, channel)})
    kind, rank, found = said.pop()
    assert (kind, rank, found["kind"]) == ("failed", 0, "InputError")
    assert found["message"] == "no such column\n  on the Ray node 10.0.0.1"
    assert "raise InputError" in found["trace"]


def failed(kind: str, message: str) -> dict[str, str]:
    return {"kind": kind, "message": message, "trace": ""}


def test_of_several_failures_the_cause_is_told() -> None:
    lost = failed("TrainingError", lost_message(0, 2, "Connection closed by peer"))
    run = on_ray._Run(2, [])
    run.error = RuntimeError("Ray Train")
    run.failures = {0: lost, 1: failed("FileError", "disk full")}
    with pytest.raises(FileError, match=r"^disk full$"):
        run.outcome("")
    run.failures = {0: lost}
    with pytest.raises(TrainingError, match="process 0 of 2: another process has ended or does not answer"):
        run.outcome("")
    run.error.worker_failures = {0: lost, 1: RuntimeError("died")}  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match="process 1 of 2 on Ray has ended"):
        run.outcome("")
    run.failures = {1: failed("ZeroDivisionError", "division by zero")}
    with pytest.raises(RuntimeError, match="ZeroDivisionError: division by zero"):
        run.outcome("")


def test_where_ray_itself_fails() -> None:
    run = on_ray._Run(2, [])
    run.error = RuntimeError("\n first line\nsecond line")
    with pytest.raises(BackendError, match=r"^Ray: RuntimeError: first line; start the same command again"):
        run.outcome("")
    run.error = type("StartTimeoutError", (RuntimeError,), {})("60 s")
    with pytest.raises(BackendError, match=r"^Ray has no room for the workers: 2 of 8 CPUs$"):
        run.outcome("2 of 8 CPUs")
    run.error = None
    run._take("done", ("the outcome",))
    assert run.outcome("") == "the outcome"
    with pytest.warns(UserWarning, match="odd data"):
        run._take("warned", ("odd data",))


def test_what_a_killed_run_has_left_is_removed(tmp_path: Path) -> None:
    left, others = tmp_path / ".out.abc.ray", tmp_path / ".outer.abc.ray"
    left.mkdir()
    others.mkdir()
    with shared_folder(tmp_path / "out") as found:
        assert found.is_dir()
        assert found.parent == tmp_path
    assert list(tmp_path.iterdir()) == [others]


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BackendError, match=r'training on Ray needs ray\n  install:  pip install "distilbert\[ray\]"'):
        train_on_ray(lambda told, reports: None, recipe(tmp_path))
    assert not (tmp_path / "out").exists()


def test_workers_are_rays(tmp_path: Path) -> None:
    needed = ("--model", "m", "--train", "a.csv", "--output", str(tmp_path / "out"), "--num_workers", "2")
    said = invoke("finetune", "ner", *needed, code=1).stderr
    assert said == "error: --num_workers: only with --ray or --ray_address\n"
