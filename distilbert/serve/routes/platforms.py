# SPDX-License-Identifier: Apache-2.0
"""What Amazon SageMaker and Google's Vertex AI ask of a container. Both talk to the first model, or one they name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter

from distilbert.serve.answers import JSONAnswer
from distilbert.serve.bodies import InstancesBody, TaskBody
from distilbert.serve.calls import Calls
from distilbert.serve.routes.operations import health


def router(calls: Calls) -> APIRouter:
    """`/ping` and `/invocations`; and the two routes that Vertex AI names in the environment."""
    routes = APIRouter(tags=["platforms"])

    @routes.get("/ping")
    async def ping() -> JSONAnswer:
        """Health, for SageMaker."""
        return health(calls.batcher)

    @routes.post("/invocations")
    async def invocations(body: TaskBody) -> JSONAnswer:
        """The task of the model, for SageMaker."""
        pipe = calls.models.named(body.model).pipe
        return JSONAnswer(await calls.call(pipe, body.inputs, body.parameters or {}))

    async def predict(body: InstancesBody) -> JSONAnswer:
        """The task of the model, for Vertex AI: a prediction for each instance."""
        pipe = calls.models.named(body.model).pipe
        items = [_item(instance) for instance in body.instances]
        return JSONAnswer({"predictions": await calls.run(pipe, items, body.parameters or {})})

    if calls.settings.predict_route is not None:
        routes.add_api_route(calls.settings.predict_route, predict, methods=["POST"])
    if calls.settings.health_route not in (None, "/health", "/ping"):
        routes.add_api_route(str(calls.settings.health_route), ping, methods=["GET"], name="vertex_health")
    return routes


def _item(instance: Any) -> Any:
    is_wrapped = isinstance(instance, Mapping) and instance.keys() == {"inputs"}
    return instance["inputs"] if is_wrapped else instance
