# SPDX-License-Identifier: Apache-2.0
"""The routes of the page: itself and its files, attention weights, and one input in two frameworks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from distilbert import backend as backends
from distilbert import loading
from distilbert.errors import BackendError, InputError
from distilbert.serve.answers import encode
from distilbert.serve.models import Models, Served
from distilbert.serve.page.attentions import attend
from distilbert.serve.page.compare import compare
from distilbert.serve.page.copies import Copies
from distilbert.serve.page.files import INDEX, File, read_files
from distilbert.serve.page.turns import Turns
from distilbert.serve.settings import Settings

MOST_CHARACTERS = 20_000  # of a text whose attention is asked for; 64 tokens are shown


class AttentionsBody(BaseModel):
    """A text, and the model to read it; by default the first."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=MOST_CHARACTERS)
    model: str | None = None


class CompareBody(BaseModel):
    """One input as the model's task takes it, and two frameworks; by default the model's own and another installed."""

    model_config = ConfigDict(extra="forbid")

    inputs: Any
    parameters: dict[str, Any] = {}
    model: str | None = None
    backends: list[str] | None = Field(default=None, min_length=2, max_length=2)


def router(models: Models, settings: Settings, turns: Turns) -> APIRouter:
    """The page's routes.

    Args:
        models: that the server has.
        settings: its limits.
        turns: the thread that works for the page.
    """
    routes = APIRouter(tags=["page"])
    files = read_files()
    copies = Copies()

    async def work(function: Callable[[], dict[str, Any]]) -> Response:
        """The answer of a function as JSON, made outside the event loop; others wait for their turn."""
        return Response(await turns.run(lambda: encode(function())), media_type="application/json")

    @routes.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page(request: Request) -> Response:
        return _send(files[INDEX], request)

    @routes.api_route("/page/static/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def static(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(404, f"page: there is no file {name!r:.80}")
        return _send(files[name], request)

    @routes.get("/page/backends")
    async def installed_backends() -> list[dict[str, Any]]:
        """The frameworks there are, and which of them are installed."""
        return [
            {"name": entry.name, "title": entry.title, "installed": not entry.missing, "versions": entry.versions}
            for entry in backends.BACKENDS.values()
        ]

    @routes.post("/page/attentions")
    async def attentions(body: AttentionsBody) -> Response:
        """What each token of a text attends to, for every layer and head; the first 64 tokens."""
        served = models.named(body.model)

        def answer() -> dict[str, Any]:
            found = attend(copies.encoder(served), served.pipe.tokenizer, body.text)
            return {"model": served.name, "backend": served.pipe.fast.backend, **found}

        return await work(answer)

    @routes.post("/page/compare")
    async def comparison(body: CompareBody) -> Response:
        """One input through the same checkpoint in two frameworks."""
        served = models.named(body.model)
        names = _two_backends(served, body.backends)

        def answer() -> dict[str, Any]:
            pipes = [copies.pipeline(served, name) for name in names]
            found = compare(pipes, body.inputs, body.parameters, settings)
            return {"model": served.name, "task": served.pipe.task, "dtype": served.pipe.fast.dtype, **found}

        return await work(answer)

    return routes


def _two_backends(served: Served, wanted: list[str] | None) -> list[str]:
    """Two different frameworks that are installed."""
    own = served.pipe.fast.backend
    if wanted is None:
        other = next((name for name in backends.installed() if name != own), None)
        if other is None:
            installable = " or ".join(f'pip install "distilbert[{name}]"' for name in backends.BACKENDS if name != own)
            title = loading.runtime(own).title
            raise BackendError(f"only {title} is installed; for a second framework: {installable}")
        return [own, other]
    if unknown := [name for name in wanted if name not in backends.BACKENDS]:
        raise InputError(f"backends: expected two of {', '.join(backends.BACKENDS)}; found {', '.join(unknown)}")
    if wanted[0] == wanted[1]:
        raise InputError(f"backends: expected two different ones, found {wanted[0]} twice")
    for name in wanted:
        backends.require(name, "the comparison")
    return wanted


def _send(file: File, request: Request) -> Response:
    """The file, or that the browser's copy is the current one."""
    is_current = file.tag in request.headers.get("if-none-match", "")
    return Response(b"" if is_current else file.content, 304 if is_current else 200, file.headers)
