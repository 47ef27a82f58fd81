# SPDX-License-Identifier: Apache-2.0
"""Small models to serve, and requests to an application without a network."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx

from distilbert import DistilBertConfig, DistilBertTokenizer
from distilbert.demo import MODEL

from .samples import task_config, write_model

LONGEST = 64  # tokens
VOCABULARY = DistilBertConfig.from_pretrained(MODEL).vocab_size
OWN_TASK = {  # of a model, and the route that answers it
    "masked-lm": "fill-mask",
    "sequence-classification": "text-classification",
    "token-classification": "token-classification",
    "question-answering": "question-answering",
    "multiple-choice": "multiple-choice",
    "encoder": "feature-extraction",
}


def write(folder: Path, task: str, **fields: Any) -> Path:
    """A small random model with the demo's vocabulary."""
    sizes: dict[str, Any] = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 37, "num_labels": 3}
    config = DistilBertConfig(**{"vocab_size": VOCABULARY, "max_position_embeddings": LONGEST, **sizes, **fields})
    write_model(folder, task_config(config, task), task)
    DistilBertTokenizer.from_pretrained(MODEL).save_pretrained(folder)
    return folder


async def ask(app: Any, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
    """One request; a body that is no bytes is sent as JSON."""
    if body is not None:
        headers = {"content-type": "application/json", **options.pop("headers", {})}
        options.update(content=body if isinstance(body, bytes) else json.dumps(body).encode(), headers=headers)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        return await client.request(method, path, **options)


def post(app: Any, path: str, body: Any, **options: Any) -> httpx.Response:
    """One POST."""
    return asyncio.run(ask(app, "POST", path, body, **options))


def get(app: Any, path: str, **options: Any) -> httpx.Response:
    """One GET."""
    return asyncio.run(ask(app, "GET", path, **options))


def assert_error(response: httpx.Response, status: int, kind: str, *words: str) -> None:
    """The answer is an error of this status and type, and its message has these words."""
    assert response.status_code == status, response.text
    body = response.json()
    assert body.keys() == {"error", "error_type"}
    assert body["error_type"] == kind
    for word in words:
        assert word in body["error"]
