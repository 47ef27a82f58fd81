# SPDX-License-Identifier: Apache-2.0
"""`distilbert serve` as a process: its settings, how it starts and says so, and how it ends in the middle of work."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("httpx")
pytest.importorskip("fastapi")

import httpx
import typer
from typer.testing import CliRunner

from distilbert import cli
from distilbert.backend import installed
from distilbert.errors import InputError
from distilbert.serve.settings import FIELDS, Settings, variables

from .conftest import REPOSITORY
from .test_cli_process import FRAMEWORKS, HEED_SIGNALS, finish, start

pytestmark = pytest.mark.skipif(not installed(), reason="no framework is installed")

PATH, BODY = "/text-classification", {"inputs": "smart, warm and funny."}
SERVER = {"fastapi", "uvicorn", "starlette", "prometheus_client"}


class Server:
    """A server of the demo model on a free port of the loopback interface."""

    def __init__(self, *options: str, **environment: str) -> None:
        program = f"{HEED_SIGNALS}\nfrom distilbert.cli import main; main()"
        command = [sys.executable, "-c", program, "serve", "--port", "0", *options]
        variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables, cwd=REPOSITORY)
        self.lines: list[str] = []
        self.url = ""
        for line in self.process.stderr or ():  # which ends with the process
            self.lines.append(line)
            if '"ready"' in line:
                self.url = json.loads(line)["url"]
                break
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr or ()), daemon=True)
        self.reader.start()

    def post(self, body: Any = BODY) -> Any:
        return httpx.post(self.url + PATH, json=body, timeout=30)

    def end(self) -> int:
        """The exit code, once it has ended."""
        code = self.process.wait(30)
        self.reader.join(10)
        return code


@pytest.fixture
def serve() -> Iterator[Any]:
    servers = []

    def run(*options: str, **environment: str) -> Server:
        servers.append(Server(*options, **environment))
        assert servers[-1].url, servers[-1].lines
        return servers[-1]

    yield run
    for server in servers:
        with contextlib.suppress(ProcessLookupError):
            server.process.kill()
        server.end()
        if server.process.stderr:
            server.process.stderr.close()


def test_no_accepted_request_is_lost_when_it_ends(serve):
    server = serve("--batch-wait-seconds", "1.5", "--drain-seconds", "0.3")
    with ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(server.post, {"inputs": [f"film {n}", "good"]}) for n in range(12)]
        for _ in range(200):
            if "\ndistilbert_queue_requests 12.0" in httpx.get(f"{server.url}/metrics").text:
                break
        server.process.terminate()
        for _ in range(200):
            health = httpx.get(f"{server.url}/health")
            if health.status_code != 200:
                break
        assert health.status_code == 503
        refused = server.post()
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["error_type"] == "unhealthy"
        assert [answer.result().status_code for answer in answers] == 12 * [200]
        assert all(len(answer.result().json()) == 2 for answer in answers)
    assert server.end() == 0
    lines = [json.loads(line) for line in server.lines]
    assert [line["message"] for line in lines if line["message"] != "request"] == ["ready", "ending", "ended"]
    done = [line for line in lines if line["message"] == "request" and line["status"] == 200 and line["path"] == PATH]
    assert len({line["request_id"] for line in done}) == 12
    with pytest.raises(httpx.ConnectError):
        server.post()


def test_a_second_signal_ends_it_at_once(serve):
    server = serve("--batch-wait-seconds", "20")
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(server.post)
        for _ in range(200):
            if "\ndistilbert_queue_requests 1.0" in httpx.get(f"{server.url}/metrics").text:
                break
        server.process.send_signal(signal.SIGTERM)
        for _ in range(200):
            if httpx.get(f"{server.url}/health").status_code == 503:
                break
        server.process.send_signal(signal.SIGTERM)
        assert server.end() == 128 + signal.SIGTERM
        assert isinstance(lost.exception(), httpx.HTTPError)


def test_what_is_no_http_and_what_the_environment_says(serve):
    server = serve(
        DISTILBERT_SERVE_MAX_CLIENT_BATCH_SIZE="2",
        DISTILBERT_SERVE_API_KEY="secret",
        AIP_PREDICT_ROUTE="/vertex",
        AIP_HEALTH_ROUTE="/alive",
        DISTILBERT_SERVE_LOG_LEVEL="warning",
    )
    host, port = re.fullmatch(r"http://(.*):(\d+)", server.url).groups()
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(b"NO HTTP AT ALL\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error_type"] == "bad_request"
    assert httpx.get(f"{server.url}/alive").status_code == 200
    headers = {"authorization": "Bearer secret"}
    answers = [
        httpx.post(f"{server.url}/vertex", json={"instances": count * ["good"]}, headers=headers) for count in (2, 3)
    ]
    assert [answer.status_code for answer in answers] == [200, 413]
    assert server.post().status_code == 401
    server.process.send_signal(signal.SIGINT)
    assert server.end() == 0
    assert not any('"request"' in line for line in server.lines)


def test_help_is_light():
    code, stdout, stderr, modules = finish(start("serve", "--help"))
    assert (code, stderr) == (0, "")
    assert "--max-batch-tokens" in stdout
    assert not modules & (FRAMEWORKS | SERVER)


def test_a_missing_package_names_the_extra():
    code, _, stderr, modules = finish(start("serve", change="sys.modules['fastapi'] = None"))
    assert code == 1
    assert "serve needs fastapi" in stderr
    assert 'pip install "distilbert[serve]"' in stderr
    assert not modules & FRAMEWORKS


def test_an_address_that_is_taken_is_said_before_a_model_is_loaded():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, stderr, modules = finish(start("serve", "--port", taken.getsockname()[1]))
    assert code == 1
    assert "127.0.0.1, port" in stderr
    assert "in use" in stderr
    assert not modules & FRAMEWORKS


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--port", "-1"], 2),
        (["--max-batch-tokens", "0"], 2),
        (["--request-seconds", "soon"], 2),
        (["--log-level", "loud"], 1),
        (["--host", "nowhere.invalid"], 1),
    ],
)
def test_wrong_options_are_said_at_once(arguments, code):
    result = CliRunner().invoke(cli.app, ["serve", *arguments])
    assert result.exit_code == code
    assert arguments[0].strip("-").replace("-", "_") in result.output.replace("-", "_") or arguments[1] in result.output


# Settings.


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"port": 70_000}, "at most 65535"),
        ({"port": 1.5}, "port: expected a number"),
        ({"max_body_bytes": 0}, "at least 1, found 0"),
        ({"max_body_bytes": True}, "found True"),
        ({"request_seconds": float("nan")}, "found nan"),
        ({"request_seconds": float("inf")}, "found inf"),
        ({"request_seconds": 0}, "at least 0.001"),
        ({"api_key": ""}, "api_key: expected a text, found an empty one"),
        ({"host": None}, "host: expected a text, found None"),
        ({"predict_route": "vertex"}, "expected a path from /"),
        ({"max_queue_items": 4, "max_client_batch_size": 5}, "at least max_client_batch_size 5"),
        ({"port": "a", "max_batch_tokens": -1, "log_level": "x"}, "3 problems"),
    ],
)
def test_wrong_settings(changes, words):
    with pytest.raises(InputError, match=re.escape(words)):
        Settings(**changes)


def test_every_setting_has_an_option_a_variable_and_a_line_of_help():
    command: Any = typer.main.get_command(cli.app).commands["serve"]  # type: ignore[attr-defined]
    options = {parameter.name: parameter for parameter in command.params}
    for name, field in FIELDS.items():
        assert options[name].envvar == variables(name)
        assert options[name].default == field.default
        assert options[name].opts == [f"--{name.replace('_', '-')}"]
        assert options[name].help == field.metadata["help"]
    assert variables("port") == ["AIP_HTTP_PORT", "DISTILBERT_SERVE_PORT"]
    for name in options.keys() - FIELDS.keys() - {"help"}:
        found = options[name].envvar
        assert f"DISTILBERT_SERVE_{name.upper()}" in ([found] if isinstance(found, str) else found)


@pytest.mark.parametrize(
    ("environment", "arguments", "expected"),
    [
        ({}, [], (None, False, None, 1)),
        ({"DISTILBERT_BACKEND": "tf"}, [], (None, False, None, 1)),  # a default, which `backend.choose` reads
        ({"DISTILBERT_SERVE_BACKEND": "flax", "DISTILBERT_BACKEND": "tf"}, [], ("flax", False, None, 1)),
        ({"DISTILBERT_SERVE_BACKEND": "flax"}, ["--backend", "pt"], ("pt", False, None, 1)),
        (
            {
                "DISTILBERT_SERVE_RAY_SERVE": "true",
                "DISTILBERT_SERVE_RAY_ADDRESS": "head:6379",
                "DISTILBERT_SERVE_REPLICAS": "3",
            },
            [],
            (None, True, "head:6379", 3),
        ),
    ],
)
def test_where_and_in_which_framework_the_environment_says(monkeypatch, environment, arguments, expected):
    for name in ("DISTILBERT_BACKEND", "DISTILBERT_SERVE_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    command: Any = typer.main.get_command(cli.app).commands["serve"]  # type: ignore[attr-defined]
    found = command.make_context("serve", arguments).params
    assert tuple(found[name] for name in ("backend", "ray_serve", "ray_address", "replicas")) == expected


def test_secrets_are_not_shown():
    assert "hidden" not in repr(Settings(api_key="hidden"))
    shown = Settings(predict_route="/shown", health_route="/also")
    assert all(f"{name}=" in repr(shown) for name in FIELDS if name != "api_key")
    assert not FIELDS["api_key"].repr


def test_the_container_names_what_there_is():
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    known = {variable for name in FIELDS for variable in variables(name)}
    assert set(re.findall(r"(?:DISTILBERT_SERVE|AIP)_[A-Z_]+[A-Z]", text)) <= known
    copied = [name for line in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.M) for name in line.split()]
    kept = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert copied
    assert all((REPOSITORY / name).exists() and f"!{name}" in kept for name in copied)
    assert "USER server" in text
    assert "HEALTHCHECK" in text


# Load.


@pytest.fixture(scope="module")
def load_server() -> Any:
    spec = importlib.util.spec_from_file_location("load_server", REPOSITORY / "scripts" / "load_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["load_server"] = module
    spec.loader.exec_module(module)
    return module


def test_load_is_for_this_machine_only(load_server):
    assert load_server.address("http://127.0.0.1:8000") == ("127.0.0.1", 8000)
    for url in ("http://192.0.2.1", "https://127.0.0.1", "http://0.0.0.0:8000"):
        with pytest.raises(SystemExit, match="loopback"):
            load_server.address(url)


@pytest.mark.slow
def test_load(serve):
    server = serve("--log-level", "warning")
    script = [sys.executable, "scripts/load_server.py", server.url, "--seconds", "4", "--clients", "32"]
    run = subprocess.run(script, capture_output=True, text=True, cwd=REPOSITORY, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    rates = [float(row.split("|")[3]) for row in re.findall(r"^\| \d+ \| \d+ \|.*$", run.stdout, re.M)]
    assert len(rates) == 2
    assert rates[1] > 1.5 * rates[0], run.stdout  # more on a machine that has nothing else to do
    sizes = [float(row.split("|")[2]) for row in re.findall(r"^\| \d+\.\d \| \d+ \|$", run.stdout, re.M)]
    assert sizes[-1] < 1.1 * sizes[len(sizes) // 2]
    server.process.terminate()
    assert server.end() == 0
