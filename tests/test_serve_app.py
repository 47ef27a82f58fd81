# SPDX-License-Identifier: Apache-2.0
"""Every route: the answers are those of the pipelines, and whatever is wrong is one JSON error that says what."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import re
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from distilbert.backend import installed
from distilbert.demo import MODEL
from distilbert.errors import InputError
from distilbert.pipelines import pipeline
from distilbert.serve.answers import NotFinite, encode
from distilbert.serve.app import create_app
from distilbert.serve.models import Models, Served, UnknownModel, load, parse
from distilbert.serve.settings import Settings

from .pipeline_samples import AWKWARD
from .serve_samples import OWN_TASK, VOCABULARY, ask, assert_error, get, post, write

pytestmark = pytest.mark.skipif(not installed(), reason="no framework is installed")

MODULES = [  # of a checkpoint of sentence-transformers
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]
TEXT = "a warm, funny and beautifully acted film."
OTHER = "two hours of boredom."
QUESTION = {"question": "what is funny?", "context": f"{TEXT} {OTHER}"}
CHOICE = {"prompt": TEXT, "choices": ["and it stays.", "boredom."]}
INPUTS: dict[str, Any] = {
    "fill-mask": "a warm and [MASK] film.",
    "text-classification": TEXT,
    "token-classification": TEXT,
    "question-answering": QUESTION,
    "multiple-choice": CHOICE,
    "feature-extraction": TEXT,
    "sentence-embedding": TEXT,
}
CALLS: list[tuple[str, Any, dict[str, Any]]] = [
    *((task, one, {}) for task, one in INPUTS.items()),
    *((task, [one, one], {}) for task, one in INPUTS.items()),
    *((task, [one], {}) for task, one in INPUTS.items()),
    ("fill-mask", "a [MASK] and [MASK] film.", {"top_k": 2}),
    ("fill-mask", "a warm [MASK].", {"targets": ["film", "plot"]}),
    ("text-classification", TEXT, {"top_k": None}),
    ("text-classification", TEXT, {"top_k": 1}),
    ("text-classification", {"text": TEXT, "text_pair": OTHER}, {"function_to_apply": "none"}),
    ("text-classification", f"{TEXT} " * 20, {"truncation": True}),
    ("token-classification", TEXT, {"aggregation_strategy": "simple"}),
    ("token-classification", ["a", "warm", "film"], {"is_split_into_words": True}),
    ("token-classification", [["a", "film"], ["a", "plot"]], {"is_split_into_words": True}),
    ("question-answering", QUESTION, {"top_k": 2, "handle_impossible_answer": True}),
    ("question-answering", {"question": "what?", "context": f"{TEXT} " * 30}, {"doc_stride": 8}),
    ("multiple-choice", TEXT, {"choices": ["a", "b", "c"], "top_k": 2}),
    ("feature-extraction", TEXT, {"tokenize_kwargs": {"add_special_tokens": False}}),
    ("sentence-embedding", [TEXT, OTHER], {"pooling": "cls", "normalize": True}),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("models")
    served = [Served(task, pipeline(model=write(folder / task, task)), folder / task) for task in OWN_TASK]
    scorer = write(folder / "scorer", "sequence-classification", num_labels=1)
    return Models([*served, Served("scorer", pipeline(model=scorer), scorer)])


@pytest.fixture(scope="module")
def app(models: Models) -> Iterator[Any]:
    made = create_app(models, Settings(max_client_batch_size=4, max_answer_values=20_000, predict_route="/vertex"))
    yield made
    made.state.batcher.stop()


@pytest.fixture(scope="module")
def demo() -> Iterator[Any]:
    made = create_app(load([]))
    yield made
    made.state.batcher.stop()


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value.tolist() if isinstance(value, np.ndarray) else value))


# Answers.


@pytest.mark.parametrize(("task", "inputs", "parameters"), CALLS, ids=[f"{n}-{c[0]}" for n, c in enumerate(CALLS)])
def test_a_task_answers_as_its_pipeline_does(app, models, task, inputs, parameters):
    response = post(app, f"/{task}", {"inputs": inputs, "parameters": parameters})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    assert close(response.json(), as_json(models.find(task)(inputs, **parameters)))


def close(found: Any, expected: Any) -> bool:
    """Equal, but for rounding: what is in the batch beside a text is not always the same."""
    if isinstance(expected, float):
        return isinstance(found, float) and math.isclose(found, expected, rel_tol=1e-4, abs_tol=1e-5)
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(close(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    return bool(found == expected)


def test_a_request_may_name_its_model(app, models):
    named = post(app, "/text-classification", {"inputs": TEXT, "model": "scorer"}).json()
    assert close(named, as_json(models.named("scorer").pipe(TEXT)))
    assert named != post(app, "/text-classification", {"inputs": TEXT}).json()


def test_openai_embeddings(app, models):
    vectors = models.find("sentence-embedding")([TEXT, OTHER])
    body = post(app, "/v1/embeddings", {"input": [TEXT, OTHER], "model": "encoder", "user": "me"}).json()
    assert (body["object"], body["model"]) == ("list", "encoder")
    assert [entry["index"] for entry in body["data"]] == [0, 1]
    assert close([entry["embedding"] for entry in body["data"]], vectors.tolist())
    tokens = sum(map(len, models.default.pipe.tokenizer([TEXT, OTHER])["input_ids"]))
    assert body["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    packed = post(app, "/v1/embeddings", {"input": TEXT, "encoding_format": "base64"}).json()["data"][0]["embedding"]
    assert np.allclose(np.frombuffer(base64.b64decode(packed), "<f4"), vectors[0], atol=1e-5)
    short = post(app, "/v1/embeddings", {"input": TEXT, "dimensions": 5}).json()["data"][0]["embedding"]
    assert np.allclose(short, vectors[0, :5] / np.linalg.norm(vectors[0, :5]), atol=1e-5)
    assert [entry["id"] for entry in get(app, "/v1/models").json()["data"]] == [*OWN_TASK, "scorer"]


def test_tei_embeddings(app, models):
    pipe = models.find("sentence-embedding")
    assert close(post(app, "/embed", {"inputs": TEXT}).json(), pipe([TEXT], normalize=True).tolist())
    vectors = pipe([TEXT, OTHER], normalize=False)[:, :10]
    found = post(app, "/embed", {"inputs": [TEXT, OTHER], "normalize": False, "dimensions": 10}).json()
    assert close(found, vectors.tolist())
    found = post(app, "/embed", {"inputs": [TEXT, OTHER], "dimensions": 10}).json()
    assert close(found, (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).tolist())
    assert close(post(app, "/embed", {"inputs": [OTHER], "normalize": False}).json(), pipe([OTHER]).tolist())
    long = f"{TEXT} " * 20
    assert close(post(app, "/embed", {"inputs": long, "truncate": True}).json(), pipe([long], normalize=True).tolist())
    found = post(app, "/embed_all", {"inputs": [TEXT, OTHER]}).json()
    assert close(found, [features[0] for features in models.find("feature-extraction")([TEXT, OTHER])])
    inputs = {"source_sentence": TEXT, "sentences": [OTHER, TEXT]}
    found = post(app, "/similarity", {"inputs": inputs, "parameters": {"truncate": True}}).json()
    assert close(found, pipe.similarity(TEXT, [OTHER, TEXT])[0].tolist())


def test_tei_predict(app, models):
    pipe = models.find("text-classification")

    def labels(item: Any, **options: Any) -> Any:
        return [{"score": one["score"], "label": one["label"]} for one in pipe(item, top_k=None, **options)]

    pair = {"text": TEXT, "text_pair": OTHER}
    assert close(post(app, "/predict", {"inputs": TEXT}).json(), labels(TEXT))
    assert close(post(app, "/predict", {"inputs": [TEXT, OTHER]}).json(), labels(pair))
    assert close(post(app, "/predict", {"inputs": [[TEXT], [TEXT, OTHER]]}).json(), [labels(TEXT), labels(pair)])
    raw = post(app, "/predict", {"inputs": TEXT, "raw_scores": True}).json()
    assert close(raw, labels(TEXT, function_to_apply="none"))
    assert_error(post(app, "/predict", {"inputs": ["a", "b", "c"]}), 422, "validation", "list of lists")
    assert_error(post(app, "/predict", {"inputs": ["a", ["b"]]}), 422, "validation", "mixture")


def test_tei_rerank(app, models):
    texts = [OTHER, TEXT, "smart."]
    body = {"query": "a funny film", "texts": texts, "return_text": True}
    found = post(app, "/rerank", body).json()
    assert [list(entry) for entry in found] == 3 * [["index", "text", "score"]]
    scores = [
        one["score"] for one in models.named("scorer").pipe([{"text": body["query"], "text_pair": t} for t in texts])
    ]
    assert [entry["index"] for entry in found] == sorted(range(3), key=lambda place: -scores[place])
    assert close([entry["score"] for entry in found], sorted(scores, reverse=True))
    assert all(entry["text"] == texts[entry["index"]] for entry in found)
    found = post(app, "/rerank", {**body, "model": "encoder", "return_text": False}).json()
    cosines = models.find("sentence-embedding").similarity(body["query"], texts)[0].tolist()
    assert close([entry["score"] for entry in found], sorted(cosines, reverse=True))
    assert list(found[0]) == ["index", "score"]
    assert_error(post(app, "/rerank", {**body, "model": "masked-lm"}), 404, "not_found", "masked-lm", "single label")


def test_tokens_and_back(app, models):
    (row,) = post(app, "/tokenize", {"inputs": "a FILM"}).json()
    assert [token["text"] for token in row] == ["[CLS]", "a", "FILM", "[SEP]"]
    assert row[2] == {"id": row[2]["id"], "text": "FILM", "special": False, "start": 2, "stop": 6}
    (bare,) = post(app, "/tokenize", {"inputs": ["a FILM"], "add_special_tokens": False}).json()
    assert bare == row[1:3]
    ids = [token["id"] for token in row]
    assert post(app, "/decode", {"ids": ids}).json() == ["a film"]
    found = post(app, "/decode", {"ids": [ids, ids[1:2]], "skip_special_tokens": False}).json()
    assert found == ["[CLS] a film [SEP]", "a"]
    for wrong in ([-1], [VOCABULARY], [[10**30]], [1, [2]], [["a"]], [True, None]):
        assert post(app, "/decode", {"ids": wrong}).status_code == 422


def test_sagemaker_and_vertex(app, models):
    assert get(app, "/ping").status_code == 200
    filled = post(app, "/invocations", {"inputs": INPUTS["fill-mask"], "parameters": {"top_k": 1}})
    assert close(filled.json(), as_json(models.default.pipe(INPUTS["fill-mask"], top_k=1)))
    body = {"instances": [INPUTS["fill-mask"], {"inputs": INPUTS["fill-mask"]}], "parameters": {"top_k": 1}}
    assert close(post(app, "/vertex", body).json(), {"predictions": 2 * [filled.json()]})
    one = post(app, "/vertex", {"instances": [TEXT], "model": "sequence-classification"}).json()
    assert close(one, {"predictions": [models.find("text-classification")(TEXT)[0]]})


def test_vertex_may_name_a_route_that_is_also_of_others(models):
    app = create_app(models, Settings(predict_route="/predict", health_route="/health"))
    body = {"instances": [INPUTS["fill-mask"], {"inputs": INPUTS["fill-mask"]}], "parameters": {"top_k": 1}}
    expected = as_json(models.default.pipe(INPUTS["fill-mask"], top_k=1))
    assert close(post(app, "/predict", body).json(), {"predictions": [expected, expected]})
    labels = [
        {"score": one["score"], "label": one["label"]} for one in models.find("text-classification")(TEXT, top_k=None)
    ]
    assert close(post(app, "/predict", {"inputs": TEXT}).json(), labels)
    response = post(app, "/predict", {"instances": 3, "unknown": 1})
    assert_error(response, 422, "validation", "- instances: ", "- unknown: ")
    assert_error(post(app, "/predict", {"inputs": 3}), 422, "validation", "body: inputs: ")
    assert_error(post(app, "/predict", {"inputs": TEXT, "instances": [TEXT]}), 422, "validation", "body: inputs: ")
    for wrong in ({}, [], b"null", b"3", b'"text"', [{"instances": [TEXT]}]):
        assert post(app, "/predict", wrong).status_code == 422
    assert "/predict" in get(app, "/openapi.json").json()["paths"]
    assert get(app, "/health").status_code == 200
    app.state.batcher.stop()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"predict_route": "/embed"}, "predict_route: expected a path of its own, or /predict; /embed is another"),
        ({"predict_route": "/invocations"}, "/invocations is another"),
        ({"predict_route": "/v1/embeddings"}, "/v1/embeddings is another"),
        ({"predict_route": "/page/compare"}, "/page/compare is another"),
        ({"health_route": "/info"}, "health_route: expected a path of its own, or /health or /ping; /info is another"),
        ({"health_route": "/"}, "health_route"),
        ({"health_route": "/docs"}, "health_route"),
    ],
)
def test_vertex_may_not_name_a_route_of_others(models, settings, words):
    threads = threading.active_count()
    with pytest.raises(InputError, match=re.escape(words)):
        create_app(models, Settings(**settings))
    assert threading.active_count() == threads


def test_vertex_names_its_health_route(models):
    app = create_app(models, Settings(health_route="/alive", api_key="secret"))
    assert get(app, "/alive").status_code == 200
    app.state.batcher.stop()
    assert_error(get(app, "/alive"), 503, "unhealthy")
    assert_error(get(app, "/ping"), 503, "unhealthy")


def test_info_and_description(app):
    info = get(app, "/info").json()
    assert info["max_client_batch_size"] == 4
    assert [model["model_id"] for model in info["models"]] == [*OWN_TASK, "scorer"]
    assert info["models"][5]["tasks"] == ["feature-extraction", "sentence-embedding"]
    api = get(app, "/openapi.json").json()
    assert {f"/{task}" for task in INPUTS} < set(api["paths"])
    content = api["paths"]["/fill-mask"]["post"]["requestBody"]["content"]["application/json"]
    assert "[MASK]" in content["examples"]["example"]["value"]["inputs"]
    error = api["paths"]["/fill-mask"]["post"]["responses"]["422"]["content"]["application/json"]["schema"]
    assert error == {"$ref": "#/components/schemas/ErrorBody"}
    assert "HTTPValidationError" not in api["components"]["schemas"]


def test_the_examples_of_the_description_work(app):
    api = get(app, "/openapi.json").json()
    for task in INPUTS:
        content = api["paths"][f"/{task}"]["post"]["requestBody"]["content"]["application/json"]
        assert post(app, f"/{task}", content["examples"]["example"]["value"]).status_code == 200


def test_only_tasks_that_a_model_does_are_described(demo):
    paths = get(demo, "/openapi.json").json()["paths"]
    assert "/text-classification" in paths
    assert "/fill-mask" not in paths
    assert_error(post(demo, "/fill-mask", {"inputs": TEXT}), 404, "not_found", "demo (text-classification)")


def test_the_demo_model_is_the_default(demo):
    (answer,) = post(demo, "/invocations", {"inputs": TEXT}).json()
    assert answer["label"] == "positive"


def test_metrics(demo):
    post(demo, "/text-classification", {"inputs": [TEXT, OTHER]})
    for path in ("/no/such/route", "/nor/this"):
        get(demo, path)
    lines = get(demo, "/metrics").text.splitlines()
    assert any(line.startswith('distilbert_requests_total{code="200",route="/text-classification"}') for line in lines)
    assert any(line.startswith('distilbert_requests_total{code="404",route="other"}') for line in lines)
    assert not any("such" in line for line in lines)
    assert "distilbert_queue_items 0.0" in lines
    names = ["request_seconds", "tokenize_seconds", "queue_seconds", "inference_seconds", "batch_tokens", "batch_items"]
    for name in names:
        counts = [float(line.split()[-1]) for line in lines if line.startswith(f"distilbert_{name}_count")]
        assert counts, name
        assert min(counts) > 0, name


# Errors.

WRONG_BODIES: list[tuple[Any, int]] = [
    (b"", 422),
    (b" ", 400),
    (b"{", 400),
    (b"inputs", 400),
    (b'{"inputs": "a"} more', 400),
    (b"\xff\xfe\x00\x01", 400),
    (b"[" * 100_000, 400),
    (b'{"inputs": ' + b"9" * 5000 + b"}", 400),
    (b"null", 422),
    (b"3", 422),
    (b'"text"', 422),
    (b"[]", 422),
    ({}, 422),
    ({"text": TEXT}, 422),
    ({"inputs": TEXT, "paramters": {}}, 422),
    ({"inputs": TEXT, "parameters": []}, 422),
    ({"inputs": TEXT, "parameters": {"unknown": 1}}, 422),
    ({"inputs": TEXT, "parameters": {"top_k": "many", "function_to_apply": 3}}, 422),
    ({"inputs": TEXT, "parameters": {"return_tensors": "pt"}}, 422),
    ({"inputs": TEXT, "parameters": {"self": 1, "inputs": 2, "": 3}}, 422),
    ({"inputs": TEXT, "model": 3}, 422),
    ({"inputs": TEXT, "model": "nobody"}, 404),
    ({"inputs": TEXT, "model": "x" * 10_000}, 404),
    ({"inputs": None}, 422),
    ({"inputs": 3}, 422),
    ({"inputs": True}, 422),
    (b'{"inputs": NaN}', 422),
    (b'{"inputs": [1e999]}', 422),
    ({"inputs": []}, 413),
    ({"inputs": 5 * [TEXT]}, 413),
    ({"inputs": [None]}, 422),
    ({"inputs": [[TEXT]]}, 422),
    ({"inputs": [[]]}, 422),
    ({"inputs": {}}, 422),
    ({"inputs": {"nothing": TEXT}}, 422),
    ({"inputs": [{}, TEXT]}, 422),
]


@pytest.mark.parametrize("number", range(len(WRONG_BODIES)))
@pytest.mark.parametrize("task", INPUTS)
def test_wrong_bodies_of_tasks(app, task, number):
    body, status = WRONG_BODIES[number]
    response = post(app, f"/{task}", body)
    if status == 413 and task in ("question-answering", "multiple-choice"):
        assert response.status_code in (413, 422)  # a text is no item there
        return
    assert response.status_code == status, response.text
    error = response.json()
    assert error.keys() == {"error", "error_type"}
    assert 5 < len(error["error"]) < 2100


OTHER_ROUTES = {
    "/invocations": {"inputs": INPUTS["fill-mask"]},
    "/vertex": {"instances": [INPUTS["fill-mask"]]},
    "/v1/embeddings": {"input": TEXT},
    "/embed": {"inputs": TEXT},
    "/embed_all": {"inputs": TEXT},
    "/predict": {"inputs": TEXT},
    "/rerank": {"query": TEXT, "texts": [TEXT]},
    "/similarity": {"inputs": {"source_sentence": TEXT, "sentences": [TEXT]}},
    "/tokenize": {"inputs": TEXT},
    "/decode": {"ids": [5]},
}
VALUES = [
    None,
    3,
    -1,
    True,
    1e400,
    "text",
    "",
    [],
    [[]],
    [None],
    [[[1]]],
    {},
    {"a": 1},
    9 * [TEXT],
    [TEXT, 3],
    "\ud800",
]


@pytest.mark.parametrize("path", OTHER_ROUTES)
def test_wrong_bodies_of_other_routes(app, path):
    good = OTHER_ROUTES[path]
    assert post(app, path, good).status_code == 200
    wrong = [{**good, name: value} for name in good for value in VALUES]
    wrong += [{}, {**good, "unknown": 1}, {**good, "model": "nobody"}, {**good, "model": 1}, [], None, b"{", b"\xff"]
    for body in wrong:
        response = post(app, path, b"null" if body is None else body)
        assert response.status_code in (200, 400, 404, 413, 422), (body, response.text)
        if response.status_code != 200:
            assert response.json().keys() == {"error", "error_type"}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/embeddings", {"input": [5, 6]}, 422),
        ("/v1/embeddings", {"input": [[5, 6]]}, 422),
        ("/v1/embeddings", {"input": TEXT, "dimensions": 33}, 422),
        ("/v1/embeddings", {"input": TEXT, "encoding_format": "int8"}, 422),
        ("/v1/embeddings", {"input": f"{TEXT} " * 20}, 422),
        ("/embed", {"inputs": TEXT, "prompt_name": "nothing"}, 422),
        ("/embed", {"inputs": f"{TEXT} " * 20}, 422),
        ("/rerank", {"query": TEXT, "texts": []}, 413),
        ("/rerank", {"query": TEXT, "texts": 5 * [TEXT]}, 413),
        ("/similarity", {"inputs": {"source_sentence": TEXT, "sentences": []}}, 413),
        ("/decode", {"ids": []}, 413),
        ("/tokenize", {"inputs": []}, 413),
        ("/page/attentions", {"text": 3}, 422),
        ("/page/attentions", {"text": TEXT, "model": "nobody"}, 404),
    ],
)
def test_what_routes_refuse(app, path, body, status):
    response = post(app, path, body)
    assert response.status_code == status, response.text
    assert response.json().keys() == {"error", "error_type"}


def test_the_page_is_there(app):
    assert get(app, "/").headers["content-type"].startswith("text/html")


def test_errors_name_the_input_and_list_all_problems(app):
    long = f"{TEXT} " * 20
    response = post(app, "/text-classification", {"inputs": [TEXT, long, "\ud800"]})
    assert_error(response, 422, "tokenizer", "2 problems", "input 1: text: has", "input 2:", "surrogate")
    response = post(app, "/text-classification", {"inputs": TEXT, "parameters": {"top_k": 0, "truncation": 7}})
    assert_error(response, 422, "validation", "top_k", "truncation")
    response = post(app, "/embed", {"inputs": 3, "normalize": "perhaps", "unknown": 1})
    assert_error(response, 422, "validation", "inputs: ", "normalize: ", "unknown: ")
    assert "list[" not in response.json()["error"]


def test_unknown_routes_and_methods(app):
    assert_error(get(app, "/nothing"), 404, "not_found", "GET /nothing", "no such route")
    assert_error(post(app, "/predict/", {}), 404, "not_found")
    assert_error(get(app, "/predict"), 405, "method_not_allowed", "another method")
    assert get(app, "/predict").headers["allow"] == "POST"
    assert_error(post(app, "/health", {}), 405, "method_not_allowed")
    assert_error(get(app, "/page/static/../../app.py"), 404, "not_found")


def test_answers_that_would_be_too_large(app, models):
    many = {"inputs": "[MASK] " * 60, "parameters": {"top_k": 3000}}
    assert_error(post(app, "/fill-mask", many), 413, "validation", "20000", "less at a time")
    small = create_app(models, Settings(max_answer_values=2000))
    assert_error(post(small, "/embed_all", {"inputs": "a " * 62}), 413, "validation", "2000", "2048")
    assert post(small, "/embed", {"inputs": "a " * 62}).status_code == 200
    small.state.batcher.stop()


def test_answers_to_questions_are_limited_before_the_model_works(app, models, monkeypatch):
    pipe = models.find("question-answering")
    monkeypatch.setattr(pipe, "answer", lambda jobs: pytest.fail("it got to the model"))
    question = {"question": "what?", "context": f"{TEXT} " * 30}
    for parameters in (
        {"top_k": 10**9, "max_answer_len": 512},
        {"top_k": 10**9, "max_answer_len": 10},
        {"top_k": 10**6},
        {"top_k": 50, "max_answer_len": 10**9},
    ):
        response = post(app, "/question-answering", {"inputs": question, "parameters": parameters})
        assert_error(response, 413, "validation", "the answer: expected at most 20000 values")
    long = {"question": "what?", "context": f"{TEXT} {'x' * 400_000} {TEXT}"}  # each answer may have the long word
    assert_error(post(app, "/question-answering", {"inputs": long}), 413, "validation", "the answer")


@pytest.mark.parametrize(
    ("task", "inputs", "parameters"),
    [
        ("multiple-choice", {"prompt": "a " * 1000, "choices": ["a"] * 2000}, {}),
        ("multiple-choice", "a " * 1000, {"choices": ["a"] * 2000}),
        ("sentence-embedding", 4 * ["a"], {"prompt": "a " * 10_000}),
        ("token-classification", "a " * 5000, {"aggregation_strategy": "simple", "stride": 61}),
        ("token-classification", 2000 * ["a"], {"is_split_into_words": True, "delimiter": "a" * 100}),
        ("token-classification", "x" * 5000, {"offset_mapping": [[0, 0], *(30 * [[0, 5000]]), [0, 0]]}),
    ],
)
def test_a_small_request_does_not_become_a_large_one(models, monkeypatch, task, inputs, parameters):
    app = create_app(models, Settings(max_body_bytes=50_000))
    monkeypatch.setattr(models.find(task), "prepare", lambda *arguments: pytest.fail("it got to the tokenizer"))
    response = post(app, f"/{task}", {"inputs": inputs, "parameters": parameters})
    assert_error(response, 413, "validation", "at most 50000 characters")
    app.state.batcher.stop()


def test_a_query_counts_for_each_of_its_texts(models):
    app = create_app(models, Settings(max_body_bytes=50_000))
    response = post(app, "/rerank", {"query": "a " * 10_000, "texts": ["a", "b", "c"], "truncate": True})
    assert_error(response, 413, "validation", "at most 50000 characters", "found 60003")
    app.state.batcher.stop()


def test_windows_within_the_limit_are_not_refused(models):
    app = create_app(models, Settings(max_body_bytes=50_000))
    parameters = {"aggregation_strategy": "simple", "stride": 30}
    assert post(app, "/token-classification", {"inputs": f"{TEXT} " * 500, "parameters": parameters}).status_code == 200
    app.state.batcher.stop()


def test_usual_questions_are_within_the_limit(models):
    app = create_app(models)
    text = {"question": "what?", "context": f"{TEXT} " * 500}
    for inputs, parameters in ((text, {"top_k": 3}), (QUESTION, {"top_k": 100}), (QUESTION, {"top_k": 10**9})):
        assert post(app, "/question-answering", {"inputs": inputs, "parameters": parameters}).status_code == 200
    app.state.batcher.stop()


def test_more_words_than_there_are_count_as_all_of_them(models):
    app = create_app(models)
    found = post(app, "/fill-mask", {"inputs": "a [MASK].", "parameters": {"top_k": 10**9}})
    assert len(found.json()) == VOCABULARY
    app.state.batcher.stop()


def test_lists_of_tokens_are_limited(app, models, monkeypatch):
    assert len(post(app, "/tokenize", {"inputs": "a " * 3000}).json()[0]) == 3002
    monkeypatch.setattr("distilbert.serve.routes.tokens._token", lambda *arguments: pytest.fail("it was made"))
    for inputs in ("a " * 4000, ["a " * 2000, "a " * 2000]):
        assert_error(post(app, "/tokenize", {"inputs": inputs}), 413, "validation", "at most 20000 values", "200")


def test_warnings_are_not_kept_for_every_word(models):
    app = create_app(models)
    body = {"inputs": "a [MASK].", "parameters": {"targets": ["zzyzxw"]}}

    async def check() -> Any:
        async with app.router.lifespan_context(app):
            with warnings.catch_warnings(record=True) as seen:
                assert (await ask(app, "POST", "/fill-mask", body)).status_code == 200
            return seen

    filters = list(warnings.filters)
    assert asyncio.run(check()) == []
    assert warnings.filters == filters
    assert not app.state.batcher._thread.is_alive()


def test_an_input_of_too_many_tokens(models):
    app = create_app(models, Settings(max_batch_tokens=60))
    question = {"question": "what?", "context": f"{TEXT} " * 100}
    response = post(app, "/question-answering", {"inputs": question})
    assert_error(response, 413, "validation", "input 0: expected at most 60 tokens")
    app.state.batcher.stop()


def test_a_model_that_fails(models):
    class Failing:
        def __init__(self, pipe: Any) -> None:
            self.pipe = pipe

        def __getattr__(self, name: str) -> Any:
            return getattr(self.pipe, name)

        def answer(self, jobs: Any) -> Any:
            raise RuntimeError("a secret of the inside")

    pipe: Any = Failing(models.find("text-classification"))
    app = create_app(Models([Served("bad", pipe, MODEL)]))
    response = post(app, "/text-classification", {"inputs": [TEXT, TEXT]})
    assert_error(response, 424, "backend", "input 0: the model failed (RuntimeError)")
    assert "secret" not in response.text
    app.state.batcher.stop()


def test_a_bug_is_an_error_without_its_inside(app, monkeypatch):
    monkeypatch.setattr("distilbert.serve.calls._as_called", lambda *arguments: 1 // 0)
    response = post(app, "/text-classification", {"inputs": TEXT}, headers={"x-request-id": "number-7"})
    assert_error(response, 500, "internal", "x-request-id")
    assert response.headers["x-request-id"] == "number-7"
    assert "ZeroDivision" not in response.text


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_no_answer_has_nan(number, tmp_path):
    for value in (number, [1.0, [number]], {"score": number}):
        with pytest.raises(NotFinite):
            encode(value)
    assert encode("NaN of Infinity") == b'"NaN of Infinity"'
    assert json.loads(encode(["\ud800", 1])) == ["\ud800", 1]


def test_what_is_beyond_the_checkpoints_own_limit_is_refused_unless_it_may_be_cut(tmp_path):
    folder = write(tmp_path / "short", "encoder", n_layers=1)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    (folder / "modules.json").write_text(json.dumps(MODULES))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"word_embedding_dimension": 32}')
    pipe = pipeline("sentence-embedding", folder)
    app = create_app(Models([Served("short", pipe, folder)]))
    long = f"{TEXT} " * 3  # the model would take it
    for path, body in (("/embed", {"inputs": [TEXT, long]}), ("/v1/embeddings", {"input": [TEXT, long]})):
        assert_error(post(app, path, body), 422, "validation", "input 1: text: has", "16")
    found = post(app, "/embed", {"inputs": long, "truncate": True}).json()
    assert close(found, pipe([long], normalize=True).tolist())
    assert get(app, "/info").json()["max_input_length"] == 16
    app.state.batcher.stop()


def test_a_model_of_nan_says_so(tmp_path):
    folder = write(tmp_path / "nan", "encoder", n_layers=1)
    pipe = pipeline("sentence-embedding", folder)
    run = pipe.fast.run

    def spoilt(*arguments: Any) -> Iterator[Any]:
        for answer in run(*arguments):
            yield type(answer)(last_hidden_state=answer.last_hidden_state * np.float32("nan"))

    pipe.fast.run = spoilt  # type: ignore[method-assign]
    app = create_app(Models([Served("nan", pipe, folder)]))
    for path, body in (
        ("/sentence-embedding", {"inputs": TEXT}),
        ("/embed", {"inputs": TEXT}),
        ("/v1/embeddings", {"input": TEXT}),
        ("/v1/embeddings", {"input": TEXT, "encoding_format": "base64"}),
        ("/similarity", {"inputs": {"source_sentence": TEXT, "sentences": [TEXT]}}),
    ):
        assert_error(post(app, path, body), 424, "backend", "not finite")
    app.state.batcher.stop()


# Awkward texts.

SURROGATES = {"high": "\ud800", "low-in-text": "good \udc00 film", "swapped": "\udc00\ud800"}


def awkward_bodies(text: str) -> Iterator[tuple[str, Any]]:
    yield "/fill-mask", {"inputs": f"{text} [MASK]"}
    yield "/fill-mask", {"inputs": text}
    yield "/fill-mask", {"inputs": "a [MASK].", "parameters": {"targets": [text]}}
    yield "/text-classification", {"inputs": [text, TEXT]}
    yield "/text-classification", {"inputs": {"text": TEXT, "text_pair": text}}
    yield "/token-classification", {"inputs": text, "parameters": {"aggregation_strategy": "first"}}
    yield "/token-classification", {"inputs": [[text, "a"]], "parameters": {"is_split_into_words": True}}
    yield "/question-answering", {"inputs": {"question": text, "context": TEXT}}
    yield "/question-answering", {"inputs": {"question": "what?", "context": text}}
    yield "/multiple-choice", {"inputs": {"prompt": text, "choices": [text, "a"]}}
    yield "/feature-extraction", {"inputs": text}
    yield "/sentence-embedding", {"inputs": text}
    yield "/sentence-embedding", {"inputs": "a", "parameters": {"prompt": text}}
    yield "/text-classification", {"inputs": "a", "model": text}
    yield "/text-classification", {"inputs": "a", "parameters": {text: text}}
    yield "/v1/embeddings", {"input": [text]}
    yield "/embed", {"inputs": text}
    yield "/embed_all", {"inputs": text}
    yield "/predict", {"inputs": [text, text]}
    yield "/rerank", {"query": text, "texts": [text, "a"], "return_text": True}
    yield "/similarity", {"inputs": {"source_sentence": text, "sentences": [text]}}
    yield "/tokenize", {"inputs": text}
    yield "/invocations", {"inputs": text}
    yield "/vertex", {"instances": [text]}
    yield "/page/attentions", {"text": text}


@pytest.mark.filterwarnings("ignore:targets")
@pytest.mark.parametrize("name", [*AWKWARD, *SURROGATES])
def test_awkward_texts_get_an_answer_or_a_clear_error(app, name):
    text = (AWKWARD | SURROGATES)[name]
    answered = 0
    for path, body in awkward_bodies(text):
        response = post(app, path, body)
        answered += response.status_code == 200
        assert response.status_code in (200, 404, 413, 422), (path, response.text)
        if response.status_code != 200:
            assert response.json().keys() == {"error", "error_type"}
            assert response.json()["error"]
    assert answered == 0 if name in SURROGATES else answered > 12


@pytest.mark.parametrize("path", ["/é", "/%00", "/a%0d%0ab", "/..%2f", "/" + "x" * 5000, "/predict?inputs=\U0001f9ff"])
def test_awkward_paths(app, path):
    assert get(app, path).status_code in (404, 405)


# Models.


def test_models_have_names(models):
    assert [served.name for served in models] == [*OWN_TASK, "scorer"]
    assert models.find("sentence-embedding").task == "sentence-embedding"
    assert models.named(None) is models.default
    with pytest.raises(UnknownModel, match="expected one of sequence-classification, scorer"):
        models.find("text-classification", "masked-lm")
    with pytest.raises(UnknownModel, match="found 'nobody'"):
        models.named("nobody")


def test_names_of_sources(tmp_path):
    assert parse("org/name") == ("org/name", "org/name")
    assert parse("mine=org/name@v1") == ("mine", "org/name@v1")
    assert parse(str(MODEL)) == ("model", str(MODEL))
    (tmp_path / "a=b").mkdir()
    assert parse(str(tmp_path / "a=b")) == ("a=b", str(tmp_path / "a=b"))
    with pytest.raises(InputError, match="model: several are called so"):
        load([str(MODEL), f"model={MODEL}"])
    with pytest.raises(InputError, match="at least one"):
        Models([])
