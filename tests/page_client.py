# SPDX-License-Identifier: Apache-2.0
"""Requests to an application that has the page's routes and no others, without a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from fastapi import FastAPI

from distilbert.serve import errors
from distilbert.serve.models import Models, Served
from distilbert.serve.page import router
from distilbert.serve.page.turns import Turns
from distilbert.serve.settings import Settings


class Client:
    """Asks one thing at a time."""

    def __init__(self, *models: Served, settings: Settings | None = None) -> None:
        self._app = FastAPI()
        errors.install(self._app)
        self._app.include_router(router(Models(models), settings or Settings(), Turns()))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._ask("GET", path, options))

    def head(self, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._ask("HEAD", path, options))

    def post(self, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._ask("POST", path, options))

    async def _ask(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://server") as client:
            return await client.request(method, path, **options)
