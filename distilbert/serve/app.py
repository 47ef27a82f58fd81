# SPDX-License-Identifier: Apache-2.0
"""The application: routes, queue and limits put together. It runs under any ASGI server."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from distilbert import __version__
from distilbert.errors import InputError
from distilbert.serve import errors
from distilbert.serve.batching import Batcher
from distilbert.serve.calls import Calls
from distilbert.serve.limits import Gate
from distilbert.serve.metrics import Metrics
from distilbert.serve.models import Models
from distilbert.serve.page.routes import router as page
from distilbert.serve.page.turns import Turns
from distilbert.serve.routes import openai, operations, platforms, tasks, tei, tokens
from distilbert.serve.settings import Settings


def create_app(models: Models, settings: Settings | None = None) -> FastAPI:
    """The application.

    Args:
        models: what it serves.
        settings: its limits; where it listens is for `server.serve`.

    Returns:
        It, with the queue as `app.state.batcher`. The threads end with the application's lifespan, in which Python's
        warnings are ignored: they are for who wrote the request, and each would be noted down for ever.

    Raises:
        InputError: a route of the settings is another one's.
    """
    settings = settings or Settings()
    metrics = Metrics()
    batcher = Batcher(
        settings.max_batch_tokens,
        settings.max_queue_items,
        settings.tokenizer_threads,
        settings.batch_wait_seconds,
        metrics,
    )
    metrics.watch(batcher)
    turns = Turns()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
            await asyncio.to_thread(batcher.stop)  # not here, where the answers to what it finishes are sent
            turns.stop()

    app = FastAPI(
        title="distilbert",
        version=__version__,
        description="DistilBERT's tasks from text to answer. Every error is `{error, error_type}`.",
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
        responses=errors.RESPONSES,
    )
    app.state.batcher = batcher
    calls = Calls(models, batcher, settings)
    for routes in (
        tasks.router(calls),
        tei.router(calls),
        tokens.router(calls),
        openai.router(calls),
        platforms.router(calls),
        operations.router(calls, metrics),
        page(models, settings, turns),
    ):
        app.include_router(routes)
    try:
        app.include_router(platforms.vertex(calls, app.routes))
    except InputError:
        batcher.stop()
        raise
    errors.install(app)
    app.add_middleware(Gate, settings=settings, batcher=batcher, metrics=metrics)
    return app
