# SPDX-License-Identifier: Apache-2.0
"""A route for each task, with bodies and answers as in Hugging Face's inference API: what the pipeline's call gives."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi import Body as FromBody

from distilbert.pipelines.registry import PIPELINES
from distilbert.serve.answers import JSONAnswer
from distilbert.serve.bodies import TaskBody
from distilbert.serve.calls import Calls

EXAMPLES: dict[str, dict[str, Any]] = {
    "fill-mask": {"inputs": "A warm and [MASK] film.", "parameters": {"top_k": 3}},
    "text-classification": {"inputs": ["smart, warm and funny.", "a mess."], "parameters": {"top_k": 1}},
    "token-classification": {"inputs": "Ada was in London.", "parameters": {"aggregation_strategy": "simple"}},
    "question-answering": {"inputs": {"question": "Where was Ada?", "context": "Ada was in London."}},
    "multiple-choice": {"inputs": {"prompt": "He opened the door and", "choices": ["went in.", "was a door."]}},
    "feature-extraction": {"inputs": "smart, warm and funny."},
    "sentence-embedding": {"inputs": ["smart, warm and funny.", "a mess."], "parameters": {"normalize": True}},
}


def router(calls: Calls) -> APIRouter:
    """`POST /TASK` for each; the API's description has those that a model here answers."""
    routes = APIRouter(tags=["tasks"])
    for task in PIPELINES:
        _add(routes, calls, task)
    return routes


def _add(routes: APIRouter, calls: Calls, task: str) -> None:
    examples = FromBody(openapi_examples={"example": {"value": EXAMPLES[task]}})

    async def answer(body: TaskBody = examples) -> JSONAnswer:
        pipe = calls.models.find(task, body.model)
        return JSONAnswer(await calls.call(pipe, body.inputs, body.parameters or {}))

    routes.add_api_route(
        f"/{task}",
        answer,
        methods=["POST"],
        name=task,
        description=f"What `distilbert.pipeline({task!r})` gives for these inputs and parameters.",
        include_in_schema=bool(calls.models.answering(task)),
    )
