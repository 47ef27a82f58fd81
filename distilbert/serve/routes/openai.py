# SPDX-License-Identifier: Apache-2.0
"""Embeddings in the shape of OpenAI's API."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from fastapi import APIRouter

from distilbert.errors import InputError
from distilbert.serve.answers import JSONAnswer, NotFinite
from distilbert.serve.bodies import EmbeddingsBody
from distilbert.serve.calls import Calls
from distilbert.serve.vectors import shortened

TASK = "sentence-embedding"


def router(calls: Calls) -> APIRouter:
    """`POST /v1/embeddings` and `GET /v1/models`."""
    routes = APIRouter(prefix="/v1", tags=["openai"])

    @routes.post("/embeddings")
    async def embeddings(body: EmbeddingsBody) -> JSONAnswer:
        """A vector for each text. Texts that are too long for the model are refused."""
        pipe = calls.models.find(TASK, body.model)
        texts = [body.input] if isinstance(body.input, str) else body.input
        if not all(isinstance(text, str) for text in texts):
            raise InputError("input: expected a text or a list of texts; token ids are not taken, send the text")
        tokens, vectors = await calls.count_and_run(pipe, texts, {"truncation": False})
        if body.dimensions is not None:
            vectors = shortened(vectors, body.dimensions, normalize=True)
        data = [
            {"object": "embedding", "index": index, "embedding": _encoded(vector, body.encoding_format)}
            for index, vector in enumerate(vectors)
        ]
        name = body.model or calls.models.answering(TASK)[0]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONAnswer({"object": "list", "data": data, "model": name, "usage": usage})

    @routes.get("/models")
    async def models() -> JSONAnswer:
        """All models of this server."""
        entries = [{"id": served.name, "object": "model", "created": 0, "owned_by": "local"} for served in calls.models]
        return JSONAnswer({"object": "list", "data": entries})

    return routes


def _encoded(vector: list[float], form: str) -> Any:
    if form == "float":
        return vector
    numbers = np.asarray(vector, "<f4")
    if not np.isfinite(numbers).all():
        raise NotFinite("the model gave numbers that are not finite")
    return base64.b64encode(numbers.tobytes()).decode()
