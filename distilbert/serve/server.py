# SPDX-License-Identifier: Apache-2.0
"""The process: listens, says that it is ready, and ends without losing what it accepted."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from types import FrameType
from typing import Any

import uvicorn

from distilbert.errors import InputError
from distilbert.serve.answers import encode
from distilbert.serve.app import create_app
from distilbert.serve.batching import Batcher
from distilbert.serve.logs import log_to_stderr
from distilbert.serve.models import Models
from distilbert.serve.settings import Settings

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 75  # longer than load balancers do, or they would send requests to closed connections
# How long a thread may keep the others from running Python: the loop that answers must not wait for the model's thread.
SWITCH_SECONDS = 0.001


def listen(settings: Settings) -> socket.socket:
    """A socket at the address of the settings; nobody can connect yet.

    Raises:
        InputError: the address is unknown or taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
        except OSError:
            found.close()
            raise
    except OSError as error:
        raise InputError(f"{settings.host}, port {settings.port}: {error.strerror}") from None
    return found


def serve(models: Models, settings: Settings, listening: socket.socket) -> None:
    """Answer requests until a signal ends the process.

    SIGTERM and SIGINT: /health says 503, new requests get 503, accepted ones are answered, then this returns. A second
    signal ends the process at once.
    """
    log_to_stderr(settings.log_level)
    sys.setswitchinterval(SWITCH_SECONDS)
    app = create_app(models, settings)
    batcher: Batcher = app.state.batcher
    for served in models:
        batcher.submit(served.pipe.warm_up).result()  # on the thread that will work
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        backlog=max(settings.max_concurrent_requests, 128),
        timeout_graceful_shutdown=int(settings.request_seconds) + 5,
    )
    config.load()
    config.http_protocol_class = _with_errors_as_json(config.http_protocol_class)
    _Server(config, settings, batcher).run(sockets=[listening])


class _Server(uvicorn.Server):
    """uvicorn's server, which on a signal first lets the queue run empty."""

    def __init__(self, config: uvicorn.Config, settings: Settings, batcher: Batcher) -> None:
        super().__init__(config)
        self.settings, self.batcher = settings, batcher
        self.ending_since: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or ():
            host, port = listening.getsockname()[:2]
            url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            log.info("ready", extra={"fields": {"url": url, "pid": os.getpid()}})

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.ending_since is not None:
            os._exit(128 + sig)
        self.ending_since = time.monotonic()
        self.batcher.close()

    async def on_tick(self, counter: int) -> bool:
        if self.ending_since is not None and not self.should_exit:
            is_seen = time.monotonic() - self.ending_since >= self.settings.drain_seconds
            self.should_exit = is_seen and not self.batcher.requests
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("ending")
        await super().shutdown(sockets)
        log.info("ended")


def _with_errors_as_json(protocol: Any) -> Any:
    """uvicorn's protocol, but that what is no HTTP gets its error as JSON too."""

    def send_400_response(self: Any, message: str) -> None:
        body = encode({"error": message, "error_type": "bad_request"})
        lines = ["HTTP/1.1 400 Bad Request", "content-type: application/json", f"content-length: {len(body)}"]
        self.transport.write("\r\n".join([*lines, "connection: close", "", ""]).encode() + body)
        self.transport.close()

    return type(protocol.__name__, (protocol,), {"send_400_response": send_400_response})
