# SPDX-License-Identifier: Apache-2.0
"""What Amazon SageMaker and Google's Vertex AI ask of a container. Both talk to the first model, or one they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter
from starlette.routing import BaseRoute, Match

from distilbert.errors import InputError
from distilbert.serve.answers import JSONAnswer
from distilbert.serve.bodies import EitherBody, InstancesBody, TaskBody
from distilbert.serve.calls import Calls
from distilbert.serve.routes.operations import health
from distilbert.serve.routes.tei import PREDICT, classify

HEALTH = ("/health", "/ping")


def router(calls: Calls) -> APIRouter:
    """`/ping` and `/invocations`, for SageMaker."""
    routes = APIRouter(tags=["platforms"])

    @routes.get("/ping")
    async def ping() -> JSONAnswer:
        """200 while requests are taken, 503 when the server is ending."""
        return health(calls.batcher)

    @routes.post("/invocations")
    async def invocations(body: TaskBody) -> JSONAnswer:
        """The task of the model."""
        pipe = calls.models.named(body.model).pipe
        return JSONAnswer(await calls.call(pipe, body.inputs, body.parameters or {}))

    return routes


def vertex(calls: Calls, others: Sequence[BaseRoute]) -> APIRouter:
    """The two routes that Vertex AI names in the environment.

    Args:
        calls: the models.
        others: all other routes, of which `/predict`, `/health` and `/ping` may be named.

    Raises:
        InputError: another one is.
    """
    routes = APIRouter(tags=["platforms"])
    route, health_route = calls.settings.predict_route, calls.settings.health_route

    async def predict(body: InstancesBody) -> JSONAnswer:
        """The task of the model, for Vertex AI: a prediction for each instance."""
        return await _predict(calls, body)

    async def predict_either(body: EitherBody) -> JSONAnswer:
        """The task of the model, for Vertex AI; or labels with their scores, for text-embeddings-inference."""
        return await (_predict(calls, body) if isinstance(body, InstancesBody) else classify(calls, body))

    async def is_healthy() -> JSONAnswer:
        """Health, for Vertex AI."""
        return health(calls.batcher)

    if route is not None:
        _check_free("predict_route", route, "POST", others, PREDICT)
        routes.add_api_route(route, predict_either if route == PREDICT else predict, methods=["POST"])
    if health_route is not None and health_route not in HEALTH:
        _check_free("health_route", health_route, "GET", others, " or ".join(HEALTH))
        routes.add_api_route(health_route, is_healthy, methods=["GET"])
    return routes


async def _predict(calls: Calls, body: InstancesBody) -> JSONAnswer:
    pipe = calls.models.named(body.model).pipe
    items = [_item(instance) for instance in body.instances]
    return JSONAnswer({"predictions": await calls.run(pipe, items, body.parameters or {})})


def _check_free(name: str, path: str, method: str, others: Sequence[BaseRoute], shared: str) -> None:
    """Raise InputError for a path that another route answers, which would get the requests."""
    scope = {"type": "http", "path": path, "root_path": "", "method": method, "headers": []}
    if any(other.matches(scope)[0] is Match.FULL for other in others):
        raise InputError(f"{name}: expected a path of its own, or {shared}; {path} is another route of this server")


def _item(instance: Any) -> Any:
    is_wrapped = isinstance(instance, Mapping) and instance.keys() == {"inputs"}
    return instance["inputs"] if is_wrapped else instance
