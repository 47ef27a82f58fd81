# SPDX-License-Identifier: Apache-2.0
"""What every request passes before its route: id, key, size, number, time; and what is noted down after it.

Plain ASGI, so that it costs little and sees the client go away.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import secrets
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distilbert.serve.batching import Batcher
from distilbert.serve.errors import RETRY, ServeError, explain, too_large
from distilbert.serve.logs import REQUEST_ID
from distilbert.serve.metrics import Metrics
from distilbert.serve.settings import Settings
from distilbert.serve.work import Refused

log = logging.getLogger(__name__)

OPEN = {"/health", "/ping", "/metrics"}  # without a key
DISCARDED = 8  # times the largest body are read and thrown away, so that a client gets to hear why
_CLIENT_GONE = 499  # as nginx logs it; nobody gets this answer
_ID = re.compile(r"[\x21-\x7e]{1,128}")


class _ClientGone(Exception):
    """Nobody waits for the answer any more."""


class Gate:
    """The middleware."""

    def __init__(self, app: ASGIApp, settings: Settings, batcher: Batcher, metrics: Metrics) -> None:
        self.app, self.settings, self.batcher, self.metrics = app, settings, batcher, metrics
        self.open = {*OPEN, settings.health_route}
        self.key = None if settings.api_key is None else f"Bearer {settings.api_key}".encode()
        self.posts = 0  # that are being read or answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        answer = _Answer(send, _request_id(scope), self.batcher)
        token = REQUEST_ID.set(answer.request_id)
        try:
            await self._answer(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - started
            self.metrics.requested(_route(scope), answer.status, seconds)
            fields = {
                "method": scope["method"],
                "path": scope["path"][:200],
                "status": answer.status,
                "ms": round(seconds * 1000, 2),
            }
            log.info("request", extra={"fields": fields})
            REQUEST_ID.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            await self._timed(scope, receive, answer)
        except _ClientGone:
            pass
        except Exception as error:
            explained = explain(error)
            if explained.status == 500:
                log.exception("the request failed")
            if not answer.has_started:
                await explained.answer()(scope, receive, answer.send)

    async def _timed(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        limit = asyncio.timeout(self.settings.request_seconds)
        has_body = False
        try:
            async with limit:
                self._check_key(scope)
                if scope["method"] != "POST":
                    await self.app(scope, receive, answer.send)
                    return
                self._check_room()
                self.posts += 1
                try:
                    body = await self._read(scope, receive)
                    has_body = True
                    await self._watched(scope, receive, answer, body)
                finally:
                    self.posts -= 1
        except TimeoutError:
            if not limit.expired():
                raise
            seconds = self.settings.request_seconds
            if has_body:
                raise ServeError(504, "timeout", f"no answer within {seconds:g} seconds") from None
            headers = {"Connection": "close"}
            raise ServeError(408, "timeout", f"the body did not come within {seconds:g} seconds", headers) from None

    def _check_key(self, scope: Scope) -> None:
        if self.key is None or scope["path"] in self.open or _is_page(scope):
            return
        given = _header(scope, b"authorization")
        if given is None or not secrets.compare_digest(given, self.key):
            problem = "no API key; send it as Authorization: Bearer KEY" if given is None else "the API key is wrong"
            raise ServeError(401, "unauthorized", problem, {"WWW-Authenticate": "Bearer"})

    def _check_room(self) -> None:
        if self.batcher.is_closed:
            raise Refused("the server is ending")
        if self.posts >= self.settings.max_concurrent_requests:
            raise ServeError(429, "overloaded", f"{self.posts} requests are being answered; try again later", RETRY)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """The body, if it is JSON and not too large."""
        kind = _header(scope, b"content-type")
        if kind is None:
            scope["headers"] = [*scope["headers"], (b"content-type", b"application/json")]
        elif not kind.split(b";")[0].strip().lower().endswith(b"json"):
            raise ServeError(415, "bad_request", "content-type: expected application/json")
        most = self.settings.max_body_bytes
        error = too_large(f"body: expected at most {most} bytes")
        announced = _header(scope, b"content-length")
        if announced and announced.isdigit() and int(announced) > most and _header(scope, b"expect"):
            raise error
        parts: list[bytes] = []
        size, is_last = 0, False
        while not is_last and size <= DISCARDED * most:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientGone
            part = message.get("body", b"")
            size += len(part)
            parts.append(part if size <= most else b"")
            is_last = not message.get("more_body", False)
        if size > most:
            raise error
        return b"".join(parts)

    async def _watched(self, scope: Scope, receive: Receive, answer: _Answer, body: bytes) -> None:
        """Let the application answer, unless the client goes away before."""
        task: Any = asyncio.current_task()
        is_gone = False

        async def watch() -> None:
            nonlocal is_gone
            while (await receive())["type"] != "http.disconnect":
                pass
            if not answer.is_complete:
                is_gone = True
                task.cancel()

        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Message:
            return next(messages, None) or {"type": "http.disconnect"}

        watcher = asyncio.create_task(watch())
        try:
            await self.app(scope, replay, answer.send)
        except asyncio.CancelledError:
            if not is_gone:
                raise
            task.uncancel()
            raise _ClientGone from None
        finally:
            watcher.cancel()


class _Answer:
    """The response on its way out: gets the request's id, and what became of it is kept."""

    def __init__(self, send: Send, request_id: str, batcher: Batcher) -> None:
        self._send, self.request_id, self._batcher = send, request_id, batcher
        self.status = _CLIENT_GONE
        self.has_started = self.is_complete = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_started, self.status = True, message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self.request_id.encode())]
            if self._batcher.is_closed:
                message["headers"].append((b"connection", b"close"))
        elif not message.get("more_body", False):
            self.is_complete = True
        await self._send(message)


def _is_page(scope: Scope) -> bool:
    """The page itself is open to all: a browser sends no key for it, and it holds no secret."""
    is_read = scope["method"] in ("GET", "HEAD")
    return is_read and (scope["path"] == "/" or scope["path"].startswith("/page/static/"))


def _request_id(scope: Scope) -> str:
    """What the client calls the request, if that is a decent name, or a new one."""
    given = (_header(scope, b"x-request-id") or b"").decode("latin-1")
    if _ID.fullmatch(given):
        return given
    return f"{random.getrandbits(128):032x}"  # the system's own random numbers would make the loop wait for the GIL


def _header(scope: Scope, name: bytes) -> bytes | None:
    found: bytes | None = next((value for key, value in scope["headers"] if key == name), None)
    return found


def _route(scope: Scope) -> str:
    """The route's pattern; all unknown paths are one, or anybody could make any number of metrics."""
    return getattr(scope.get("route"), "path", "other")
