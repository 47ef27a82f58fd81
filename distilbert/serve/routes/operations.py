# SPDX-License-Identifier: Apache-2.0
"""For those who run the server: is it well, what is it, what has it done."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from distilbert import __version__
from distilbert.pipelines import Pipeline
from distilbert.pipelines.sentence_embedding import SentenceEmbedding
from distilbert.serve.answers import JSONAnswer
from distilbert.serve.batching import Batcher
from distilbert.serve.calls import Calls
from distilbert.serve.metrics import CONTENT_TYPE, Metrics
from distilbert.serve.models import Served
from distilbert.serve.settings import Settings
from distilbert.serve.work import Refused


def router(calls: Calls, metrics: Metrics) -> APIRouter:
    """`/health`, `/info` and `/metrics`."""
    routes = APIRouter(tags=["operations"])

    @routes.get("/health")
    async def is_healthy() -> JSONAnswer:
        """200 while requests are taken, 503 when the server is ending."""
        return health(calls.batcher)

    @routes.get("/info")
    async def info() -> JSONAnswer:
        """The models and the limits; in the words of text-embeddings-inference, the first model's are at the top."""
        return JSONAnswer(
            {
                **_model(calls.models.default),
                **_limits(calls.settings),
                "version": __version__,
                "models": [_model(served) for served in calls.models],
            }
        )

    @routes.get("/metrics")
    async def measurements() -> Response:
        """Measurements for Prometheus."""
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    return routes


def health(batcher: Batcher) -> JSONAnswer:
    """200, or Refused while the server is ending."""
    if batcher.is_closed:
        raise Refused("the server is ending")
    return JSONAnswer({"status": "ok"})


def _model(served: Served) -> dict[str, Any]:
    pipe: Pipeline = served.pipe
    return {
        "model_id": served.name,
        "model_dtype": pipe.fast.dtype,
        "model_type": {_TYPES.get(pipe.model_task, pipe.task): _type(pipe)},
        "task": pipe.task,
        "tasks": list(served.pipelines),
        "backend": pipe.fast.backend,
        "max_input_length": _longest(pipe),
    }


def _longest(pipe: Pipeline) -> int:
    """Tokens of the longest text that is not refused or cut."""
    most = pipe.modules.max_length if isinstance(pipe, SentenceEmbedding) else None
    longest: int = min(most or pipe.max_length, pipe.max_length)
    return longest


_TYPES = {"encoder": "embedding", "sequence-classification": "classifier"}


def _type(pipe: Pipeline) -> dict[str, Any]:
    if pipe.model_task == "encoder":
        return {"pooling": list(pipe.modules.pooling) if isinstance(pipe, SentenceEmbedding) else None}
    labels = {str(number): label for number, label in pipe.config.id2label.items()}
    return {"id2label": labels} if pipe.model_task.endswith("classification") else {}


def _limits(settings: Settings) -> dict[str, Any]:
    return {
        "max_concurrent_requests": settings.max_concurrent_requests,
        "max_batch_tokens": settings.max_batch_tokens,
        "max_client_batch_size": settings.max_client_batch_size,
        "max_body_bytes": settings.max_body_bytes,
        "max_queue_items": settings.max_queue_items,
        "tokenization_workers": settings.tokenizer_threads,
        "auto_truncate": False,
    }
