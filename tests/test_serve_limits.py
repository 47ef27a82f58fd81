# SPDX-License-Identifier: Apache-2.0
"""What every request passes: key, size, number, time; clients that go away; and what is noted down about it all."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from distilbert.backend import installed
from distilbert.demo import MODEL
from distilbert.pipelines import Pipeline, pipeline
from distilbert.serve.app import create_app
from distilbert.serve.logs import REQUEST_ID, JSONLines
from distilbert.serve.models import Models, Served
from distilbert.serve.settings import Settings

from .serve_samples import ask, assert_error, get, post

pytestmark = pytest.mark.skipif(not installed(), reason="no framework is installed")

PATH, BODY = "/text-classification", {"inputs": "smart, warm and funny."}


@pytest.fixture(scope="module")
def pipe() -> Pipeline:
    return pipeline("text-classification", MODEL)


@pytest.fixture
def door(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The model works only while it is set; so it is at first."""
    door = threading.Event()
    door.set()
    answer = pipe.answer
    monkeypatch.setattr(pipe, "answer", lambda jobs: (door.wait(10), answer(jobs))[1])
    return door


@pytest.fixture
def make(pipe: Pipeline) -> Iterator[Callable[..., Any]]:
    made = []

    def app(**settings: Any) -> Any:
        made.append(create_app(Models([Served("demo", pipe, MODEL)]), Settings(**settings)))
        return made[-1]

    yield app
    for one in made:
        one.state.batcher.stop()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to that")


def test_bodies_are_limited(make):
    app = make(max_body_bytes=100)
    assert post(app, PATH, BODY).status_code == 200
    exact = json.dumps(BODY).encode().ljust(100)
    assert post(app, PATH, exact).status_code == 200
    for size in (101, 1000, 100_000):
        assert_error(post(app, PATH, b" " * size), 413, "validation", "at most 100 bytes")

    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b" " * 50

    assert_error(asyncio.run(ask(app, "POST", PATH, content=chunks(1000))), 413, "validation")
    assert_error(post(app, PATH, b" " * 101, headers={"expect": "100-continue"}), 413, "validation")


def test_bodies_are_json(make):
    app = make()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", ""):
        assert_error(post(app, PATH, BODY, headers={"content-type": kind}), 415, "bad_request", "application/json")
    for kind in ("application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.api+json"):
        assert post(app, PATH, BODY, headers={"content-type": kind}).status_code == 200
    assert asyncio.run(ask(app, "POST", PATH, content=json.dumps(BODY))).status_code == 200


def test_a_key_opens_all_but_the_open_routes(make):
    app = make(api_key="a secret")
    for path in ("/health", "/ping", "/metrics", "/", "/page/static/page.css"):
        assert get(app, path).status_code == 200
    for path in ("/info", "/openapi.json", "/nothing", "/health/", "/page/backends", "/page/static"):
        assert_error(get(app, path), 401, "unauthorized", "Bearer")
    response = post(app, PATH, BODY)
    assert_error(response, 401, "unauthorized", "no API key")
    assert response.headers["www-authenticate"] == "Bearer"
    for wrong in ("Bearer a secre", "Bearer a secrets", "a secret", "bearer a secret", "Basic a secret", ""):
        assert post(app, PATH, BODY, headers={"authorization": wrong}).status_code == 401
    assert post(app, PATH, BODY, headers={"authorization": "Bearer a secret"}).status_code == 200
    assert post(app, "/page/attentions", BODY).status_code == 401
    assert "a secret" not in repr(Settings(api_key="a secret"))


def test_too_many_requests_at_a_time(make, door):
    app = make(max_concurrent_requests=2)

    async def check() -> None:
        door.clear()
        tasks = [asyncio.create_task(ask(app, "POST", PATH, BODY)) for _ in range(2)]
        await until(lambda: app.state.batcher.requests == 2)
        refused = await ask(app, "POST", PATH, BODY)
        assert_error(refused, 429, "overloaded", "2 requests")
        assert refused.headers["retry-after"] == "1"
        assert (await ask(app, "GET", "/health")).status_code == 200
        door.set()
        assert [(await task).status_code for task in tasks] == [200, 200]
        assert (await ask(app, "POST", PATH, BODY)).status_code == 200

    asyncio.run(check())


def test_a_full_queue(make, door):
    app = make(max_queue_items=3, max_client_batch_size=3)

    async def check() -> None:
        door.clear()
        task = asyncio.create_task(ask(app, "POST", PATH, {"inputs": ["a", "b"]}))
        await until(lambda: app.state.batcher.items == 2)
        refused = await ask(app, "POST", PATH, {"inputs": ["a", "b"]})
        assert_error(refused, 503, "unhealthy", "2 inputs are waiting")
        assert refused.headers["retry-after"] == "1"
        door.set()
        assert (await task).status_code == 200

    asyncio.run(check())


def test_time_outs(make, door):
    app = make(request_seconds=0.3)

    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)
        yield b"}"

    async def check() -> None:
        door.clear()
        assert_error(await ask(app, "POST", PATH, BODY), 504, "timeout", "0.3 seconds")
        assert app.state.batcher.items == 0
        door.set()
        assert (await ask(app, "POST", PATH, BODY)).status_code == 200
        assert_error(await ask(app, "POST", PATH, content=endless()), 408, "timeout", "body")

    asyncio.run(check())


def scope_of(body: bytes) -> dict[str, Any]:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    address = {"server": ("a", 1), "client": ("b", 2), "scheme": "http", "root_path": "", "http_version": "1.1"}
    path = {"method": "POST", "path": PATH, "raw_path": PATH.encode(), "query_string": b"", "headers": headers}
    return {"type": "http", "asgi": {"version": "3.0"}, **address, **path}


@pytest.mark.parametrize("is_in_model", [False, True])
def test_a_client_that_goes_away_frees_its_place(make, door, is_in_model):
    app = make()
    body = json.dumps(BODY).encode()
    sent: list[Any] = []

    async def check() -> None:
        door.clear()
        first = None if is_in_model else asyncio.create_task(ask(app, "POST", PATH, BODY))
        await until(lambda: is_in_model or app.state.batcher.requests == 1)
        messages: asyncio.Queue[Any] = asyncio.Queue()
        messages.put_nowait({"type": "http.request", "body": body, "more_body": False})

        async def send(message: Any) -> None:
            sent.append(message)

        task = asyncio.create_task(app(scope_of(body), messages.get, send))
        others = 0 if is_in_model else 1
        await until(lambda: app.state.batcher.requests == others + 1)
        messages.put_nowait({"type": "http.disconnect"})
        await asyncio.wait_for(task, 5)
        assert app.state.batcher.requests == others
        door.set()
        if first is not None:
            assert (await first).status_code == 200
        assert 'code="499"' in (await ask(app, "GET", "/metrics")).text

    asyncio.run(check())
    assert sent == []


def test_a_client_that_goes_away_in_its_body(make):
    app = make()
    sent: list[Any] = []

    async def check() -> None:
        messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope_of(b"{}"), receive, send)

    asyncio.run(check())
    assert sent == []


def test_an_ending_server_refuses_and_finishes(make, door):
    app = make()

    async def check() -> None:
        door.clear()
        task = asyncio.create_task(ask(app, "POST", PATH, BODY))
        await until(lambda: app.state.batcher.requests == 1)
        app.state.batcher.close()
        for response in (await ask(app, "GET", "/health"), await ask(app, "POST", PATH, BODY)):
            assert_error(response, 503, "unhealthy", "ending")
            assert response.headers["retry-after"] == "1"
            assert response.headers["connection"] == "close"
        assert (await ask(app, "GET", "/metrics")).status_code == 200
        door.set()
        assert (await task).status_code == 200

    asyncio.run(check())


def test_request_ids(make):
    app = make()
    assert post(app, PATH, BODY, headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    found = {post(app, PATH, body).headers["x-request-id"] for body in (BODY, b"{", BODY)}
    assert len(found) == 3
    for given in ("", "two words", "x" * 129, "\u00e9"):
        answer = get(app, "/health", headers={"x-request-id": given.encode("latin-1")})
        assert answer.headers["x-request-id"] not in (given, "")


def test_each_request_is_a_line_of_json(make):
    lines: list[str] = []
    handler = logging.Handler()
    handler.setFormatter(JSONLines())
    handler.emit = lambda record: lines.append(handler.format(record))  # type: ignore[method-assign]
    logger = logging.getLogger("distilbert.serve")
    logger.addHandler(handler)
    logger.setLevel("INFO")
    try:
        post(make(), PATH, BODY, headers={"x-request-id": "mine"})
        REQUEST_ID.set("outer")
        try:
            _ = 1 // 0
        except ZeroDivisionError:
            logger.exception("failed\nin two lines")
    finally:
        REQUEST_ID.set(None)
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    request, failure = map(json.loads, lines)
    assert {"level": "info", "message": "request", "request_id": "mine", "status": 200}.items() <= request.items()
    assert (request["method"], request["path"]) == ("POST", PATH)
    assert request["ms"] > 0
    assert failure["request_id"] == "outer"
    assert "ZeroDivisionError" in failure["exception"]
    assert not any("\n" in line for line in lines)


def test_many_requests_at_a_time_go_together(make, door, pipe, monkeypatch):
    app = make()
    sizes: list[int] = []
    answer = pipe.answer
    monkeypatch.setattr(pipe, "answer", lambda jobs: (sizes.append(len(jobs)), answer(jobs))[1])

    async def check() -> None:
        door.clear()
        tasks = [
            asyncio.create_task(ask(app, "POST", PATH, {"inputs": f"film {n}", "parameters": {"top_k": 1 + n % 2}}))
            for n in range(20)
        ]
        await until(lambda: app.state.batcher.requests == 20)
        await asyncio.sleep(0.1)
        door.set()
        for number, task in enumerate(tasks):
            assert len((await task).json()) == 1 + number % 2

    asyncio.run(check())
    assert sum(sizes) == 20
    assert len(sizes) < 5
