# SPDX-License-Identifier: Apache-2.0
"""The routes of text-embeddings-inference, with its bodies and answers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from distilbert.errors import InputError
from distilbert.pipelines import Pipeline
from distilbert.serve.answers import JSONAnswer
from distilbert.serve.bodies import EmbedAllBody, EmbedBody, PredictBody, RerankBody, SimilarityBody
from distilbert.serve.calls import Calls
from distilbert.serve.models import UnknownModel
from distilbert.serve.vectors import cosines, shortened

CLASSIFICATION, EMBEDDING = "text-classification", "sentence-embedding"
PREDICT = "/predict"


def router(calls: Calls) -> APIRouter:
    """`/embed`, `/embed_all`, `/predict`, `/rerank` and `/similarity`."""
    routes = APIRouter(tags=["text-embeddings-inference"])

    @routes.post("/embed")
    async def embed(body: EmbedBody) -> JSONAnswer:
        """A vector for each text."""
        pipe = calls.models.find(EMBEDDING, body.model)
        options = {"normalize": body.normalize, "truncation": body.truncate, "prompt_name": body.prompt_name}
        vectors = await calls.run(pipe, _as_list(body.inputs), options)
        if body.dimensions is not None:
            vectors = shortened(vectors, body.dimensions, body.normalize)
        return JSONAnswer(vectors)

    @routes.post("/embed_all")
    async def embed_all(body: EmbedAllBody) -> JSONAnswer:
        """A vector for each token of each text."""
        pipe = calls.models.find("feature-extraction", body.model)
        found = await calls.run(pipe, _as_list(body.inputs), {"truncation": body.truncate})
        return JSONAnswer([features[0] for features in found])

    if calls.settings.predict_route != PREDICT:  # else Vertex AI's route is this one too

        @routes.post(PREDICT)
        async def predict(body: PredictBody) -> JSONAnswer:
            """All labels with their scores, best first."""
            return await classify(calls, body)

    @routes.post("/rerank")
    async def rerank(body: RerankBody) -> JSONAnswer:
        """Texts by how well they go with a query: by a classifier of one label, or by the cosine of their vectors."""
        pipe = _reranker(calls, body.model)
        if pipe.task == CLASSIFICATION:
            items = [{"text": body.query, "text_pair": text} for text in body.texts]
            function = "none" if body.raw_scores else "sigmoid"
            options = {"top_k": None, "function_to_apply": function, "truncation": body.truncate}
            scores = [row[0]["score"] for row in await calls.run(pipe, items, options)]
        else:
            scores = await _cosines(calls, pipe, body.query, body.texts, {"truncation": body.truncate})
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        texts = [{"text": text} if body.return_text else {} for text in body.texts]
        return JSONAnswer([{"index": index, **texts[index], "score": scores[index]} for index in order])

    @routes.post("/similarity")
    async def similarity(body: SimilarityBody) -> JSONAnswer:
        """The cosine of a text with each of others."""
        pipe = calls.models.find(EMBEDDING, body.model)
        given = body.parameters
        options = {"truncation": given is not None and given.truncate, "prompt_name": given and given.prompt_name}
        return JSONAnswer(await _cosines(calls, pipe, body.inputs.source_sentence, body.inputs.sentences, options))

    return routes


async def classify(calls: Calls, body: PredictBody) -> JSONAnswer:
    """The answer of `/predict`."""
    pipe = calls.models.find(CLASSIFICATION, body.model)
    items, is_single = _sequences(body.inputs)
    function = "none" if body.raw_scores else None
    options = {"top_k": None, "function_to_apply": function, "truncation": body.truncate}
    results = [[_score_first(entry) for entry in row] for row in await calls.run(pipe, items, options)]
    return JSONAnswer(results[0] if is_single else results)


async def _cosines(calls: Calls, pipe: Pipeline, text: str, others: list[str], options: dict[str, Any]) -> list[float]:
    calls.check_count(len(others))
    return cosines(await calls.run(pipe, [text, *others], options, extra=1))


def _reranker(calls: Calls, name: str | None) -> Pipeline:
    """A classifier of one label, or else what embeds texts."""
    for served in calls.models:
        pipe = served.pipelines.get(CLASSIFICATION)
        if name in (None, served.name) and pipe is not None and pipe.config.num_labels == 1:
            return pipe
    try:
        return calls.models.find(EMBEDDING, name)
    except UnknownModel as error:
        raise UnknownModel(f"{error}; or, to rerank, one of text-classification with a single label") from None


def _sequences(inputs: Any) -> tuple[list[Any], bool]:
    """The items of /predict's inputs, and whether it is a single one."""
    if isinstance(inputs, str):
        return [inputs], True
    if all(isinstance(value, str) for value in inputs) and inputs:
        return [_sequence(inputs)], True
    if any(isinstance(value, str) for value in inputs):
        raise InputError(
            "inputs: expected a text, one or two texts in a list, or a list of such lists; found a mixture"
        )
    return [_sequence(value) for value in inputs], False


def _sequence(texts: list[str]) -> Any:
    if len(texts) not in (1, 2):
        raise InputError(
            f"inputs: a list of texts is one or a pair, found {len(texts)}; several are a list of lists: [[text], ...]"
        )
    return texts[0] if len(texts) == 1 else {"text": texts[0], "text_pair": texts[1]}


def _as_list(inputs: str | list[str]) -> list[str]:
    return [inputs] if isinstance(inputs, str) else inputs


def _score_first(entry: dict[str, Any]) -> dict[str, Any]:
    return {"score": entry["score"], "label": entry["label"]}
