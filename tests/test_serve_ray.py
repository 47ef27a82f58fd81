# SPDX-License-Identifier: Apache-2.0
"""serve --ray-serve on a Ray cluster of two nodes: the same answers, clear errors, an end that loses nothing."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import distilbert
from distilbert.demo import MODEL
from distilbert.errors import InputError
from distilbert.pipelines import Pipeline

from .ray_cluster import ENVIRONMENT, Cluster

pytest.importorskip("fastapi")
TEXTS = ["a good film", "a bad film"]


def start(nodes: Cluster, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "distilbert", "serve", *arguments, "--ray-serve", "--ray-address", nodes.address]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT)


def fail(nodes: Cluster, *arguments: str) -> str:
    """What a server says that cannot start."""
    process = start(nodes, *arguments)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, ""), said
    assert "Traceback" not in said
    return said


def ask(url: str, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        said = b""
        with error, contextlib.suppress(http.client.HTTPException):  # Ray's proxy may end in the middle of its own 404
            said = error.read()
        return error.code, said.decode()


@pytest.mark.slow
def test_the_same_application_on_two_nodes(nodes: Cluster) -> None:
    process = start(nodes, f"mood={MODEL}", "--port", "0", "--replicas", "2", "--max-body-bytes", "100000")
    with process:
        try:
            ready = json.loads(process.stderr.readline() if process.stderr else "")
            assert (ready["message"], ready["replicas"]) == ("ready", 2)
            url = ready["url"]
            expected = distilbert.pipeline("text-classification", MODEL, backend="pt")(TEXTS)
            status, found = ask(url, "/text-classification", {"inputs": TEXTS})
            assert (status, [entry["label"] for entry in found]) == (200, [entry["label"] for entry in expected])
            assert [entry["score"] for entry in found] == pytest.approx(
                [entry["score"] for entry in expected], abs=1e-6
            )
            assert ask(url, "/health")[0] == 200
            status, said = ask(url, "/text-classification", {"inputs": 5})
            assert (status, json.loads(said)["error_type"]) == (422, "validation")
            assert ask(url, "/text-classification", {"inputs": "long " * 50_000})[0] == 413

            asked: list[tuple[float, int]] = []  # when, and the answer's status; 0 for none
            clients = [threading.Thread(target=ask_on, args=(url, asked)) for _ in range(8)]
            for client in clients:
                client.start()
            time.sleep(1)
            signalled = time.monotonic()
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=60)[1]
            for client in clients:
                client.join()
        finally:
            process.kill()
    assert process.returncode == 0
    assert [json.loads(line)["message"] for line in said.splitlines()] == ["ending", "ended"]
    before = [status for moment, status in asked if moment < signalled]
    assert len(before) > 16
    assert set(before) == {200}
    # The route goes first, so that who is let in is answered; then the replicas, and last who listens.
    refused = min(moment for moment, status in asked if status in (404, 503))
    assert {status for _, status in asked} <= {200, 404, 503, 0}
    assert all(moment > refused for moment, status in asked if status == 0)


def ask_on(url: str, asked: list[tuple[float, int]]) -> None:
    """Ask until nobody answers."""
    status = 200
    while status:
        moment = time.monotonic()
        try:
            status = ask(url, "/text-classification", {"inputs": TEXTS * 16})[0]
        except (urllib.error.URLError, ConnectionError):
            status = 0
        asked.append((moment, status))


@pytest.mark.slow
def test_errors_are_one_message(nodes: Cluster, tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    assert fail(nodes, absent, "--port", "0") == f"error: {absent}: no such file or folder\n"
    assert "replicas: expected at most one for each CPU of the cluster, which has 2" in fail(nodes, "--replicas", "3")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "Address already in use" in fail(nodes, str(MODEL), "--port", str(taken.getsockname()[1]))


class FakeServe:
    """Ray Serve's own functions, noted down."""

    def __init__(self, others: int = 0, deletes: bool = True) -> None:
        self.said: list[str] = []
        self.applications = dict.fromkeys(range(others))
        self.deletes = deletes

    def delete(self, name: str) -> None:
        self.said.append(f"delete {name}")
        if not self.deletes:
            raise RuntimeError("the cluster is gone")

    def status(self) -> FakeServe:
        return self

    def shutdown(self) -> None:
        self.said.append("shutdown")


@pytest.mark.parametrize(("others", "said"), [(0, ["delete distilbert", "shutdown"]), (1, ["delete distilbert"])])
def test_an_application_that_does_not_start_is_taken_down(others: int, said: list[str]) -> None:
    from distilbert.serve.on_ray import _taken_down

    serve = FakeServe(others)
    with pytest.raises(RuntimeError, match="no room"), _taken_down(serve):
        raise RuntimeError("no room")
    assert serve.said == said
    serve = FakeServe(others)
    with _taken_down(serve):
        pass
    assert serve.said == said


def test_the_first_of_two_errors_is_told() -> None:
    from distilbert.serve.on_ray import _taken_down

    with pytest.raises(RuntimeError, match="no room"), _taken_down(FakeServe(deletes=False)):
        raise RuntimeError("no room")
    with pytest.raises(RuntimeError, match="the cluster is gone"), _taken_down(FakeServe(deletes=False)):
        pass


@pytest.fixture
def threads_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a replica does in its own process is done in this one, where a framework may have started already."""
    monkeypatch.setenv("DISTILBERT_THREADS", "1")
    monkeypatch.setattr("distilbert.backend.set_threads_from_environment", lambda: None)


def deployment(**settings: Any) -> Any:
    from distilbert.serve.on_ray import Deployment
    from distilbert.serve.settings import Settings

    return Deployment((str(MODEL),), None, "pt", "float32", Settings(**settings), Path.cwd())


@pytest.mark.usefixtures("threads_stay")
def test_a_replica_is_warm_as_its_pipelines_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distilbert.serve.on_ray.log_to_stderr", lambda level: None)
    monkeypatch.setattr("sys.setswitchinterval", lambda seconds: None)
    warmed: list[str] = []
    monkeypatch.setattr(Pipeline, "warm_up", lambda self: warmed.append(self.task))
    deployment().build(1).state.batcher.stop()
    assert warmed == ["text-classification"]


@pytest.mark.usefixtures("threads_stay")
def test_a_route_that_is_taken_is_said_before_anything_is_deployed() -> None:
    assert deployment(predict_route="/predict").problem(1) is None
    kind, message = deployment(predict_route="/embed").problem(1)
    assert (kind, "/embed is another route" in message) == ("InputError", True)


def test_replicas_fit_the_nodes() -> None:
    from distilbert.serve.on_ray import fit

    assert fit(4, [4, 4], 2) == 4
    assert fit(4, [4, 4], 3) == 2
    assert fit(4, [2, 0], 2) == 1
    with pytest.raises(InputError, match="at most one for each CPU of the cluster, which has 3"):
        fit(4, [2, 1], 4)
