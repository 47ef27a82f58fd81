# SPDX-License-Identifier: Apache-2.0
"""One input in two frameworks over HTTP: every task, what is said of the difference, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("fastapi")
pytest.importorskip("httpx")

import distilbert
from distilbert import backend as backends
from distilbert.demo import MODEL
from distilbert.serve.models import Served
from distilbert.serve.page.compare import compare
from distilbert.serve.settings import Settings

from .page_client import Client
from .pipeline_samples import write_checkpoint

TEXT = "A warm, funny film that never hurries."
INPUTS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "masked-lm": ("fill-mask", "The [MASK] was built in the [MASK].", {"top_k": 3}),
    "token-classification": ("token-classification", TEXT, {"aggregation_strategy": "first"}),
    "question-answering": ("question-answering", {"question": "What?", "context": TEXT * 9}, {"top_k": 2}),
    "multiple-choice": ("multiple-choice", {"prompt": "It", "choices": ["is warm.", "is long and cold."]}, {}),
    "encoder": ("sentence-embedding", TEXT, {}),
}
OTHERS = [name for name in backends.installed() if name != "pt"]
needs_two = pytest.mark.skipif(not OTHERS, reason="one framework is installed, nothing to compare with")


@pytest.fixture(scope="module")
def client() -> Client:
    return Client(Served("reviews", distilbert.pipeline(backend="pt"), MODEL))


def ask(client: Client, **body: Any) -> Any:
    answer = client.post("/page/compare", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@needs_two
@pytest.mark.parametrize("other", OTHERS)
def test_two_backends_agree(client: Client, other: str) -> None:
    found = ask(client, inputs=TEXT, parameters={"top_k": None}, backends=["pt", other])
    assert [entry["name"] for entry in found["backends"]] == ["pt", other]
    first, second = (entry["result"] for entry in found["backends"])
    assert [entry["label"] for entry in first] == [entry["label"] for entry in second] == ["positive", "negative"]
    assert found["same"] is True
    assert found["difference"]["fields"] == ["logits"]
    assert 0 <= found["difference"]["largest"] < 2e-6 * max(found["difference"]["scale"], 1)
    assert found["difference"]["scale"] > 0.1
    assert all(0 < entry["seconds"] < 10 for entry in found["backends"])
    assert (found["model"], found["task"], found["dtype"]) == ("reviews", "text-classification", "float32")


@needs_two
@pytest.mark.parametrize("model_task", INPUTS)
def test_every_task(tmp_path: Path, data_folder: Path, model_task: str) -> None:
    task, inputs, parameters = INPUTS[model_task]
    folder = write_checkpoint(tmp_path / "model", data_folder, model_task)
    pipe = distilbert.pipeline(task, folder, backend="pt")
    found = ask(Client(Served("tiny", pipe, folder)), inputs=inputs, parameters=parameters)
    assert found["same"] is True
    assert found["difference"]["largest"] < 2e-5 * found["difference"]["scale"]
    expected = pipe(inputs, **parameters)
    assert len(found["backends"][0]["result"]) == len(expected)


@needs_two
def test_models_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(Served("reviews", distilbert.pipeline(backend="pt"), MODEL))
    loaded = []
    make = distilbert.pipeline
    monkeypatch.setattr(
        distilbert, "pipeline", lambda *inputs, **named: loaded.append(named["backend"]) or make(*inputs, **named)
    )
    for _ in range(2):
        ask(client, inputs=TEXT, backends=["pt", OTHERS[0]])
    assert loaded == ["pt", OTHERS[0]]


def test_other_weights_are_seen(tmp_path: Path, data_folder: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", data_folder, "sequence-classification", num_labels=2)
    pipes = [distilbert.pipeline("text-classification", source, backend="pt") for source in (MODEL, folder)]
    found = compare(pipes, TEXT, {}, Settings())
    assert found["same"] is False
    assert found["difference"]["largest"] > 0.1


def test_a_backend_that_is_not_installed_is_said(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends.BACKENDS, "tf", replace(backends.BACKENDS["tf"], packages=("not_on_this_machine",)))
    answer = client.post("/page/compare", json={"inputs": TEXT, "backends": ["pt", "tf"]})
    assert answer.status_code == 424
    assert 'pip install "distilbert[tf]"' in answer.json()["error"]
    assert [entry["installed"] for entry in client.get("/page/backends").json() if entry["name"] == "tf"] == [False]


def test_a_single_backend_is_said(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "installed", lambda: ["pt"])
    answer = client.post("/page/compare", json={"inputs": TEXT})
    assert answer.status_code == 424
    assert "only PyTorch is installed" in answer.json()["error"]


@needs_two
def test_the_limits_of_all_routes_hold(tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_checkpoint(tmp_path / "model", data_folder, "masked-lm")
    pipe = distilbert.pipeline("fill-mask", folder, backend="pt")
    client = Client(Served("tiny", pipe, folder), settings=Settings(max_batch_tokens=62))
    monkeypatch.setattr("distilbert.serve.page.compare._run", lambda *arguments: pytest.fail("it got to a model"))
    answer = client.post("/page/compare", json={"inputs": "[MASK] " * 60, "parameters": {"top_k": 30522}})
    assert answer.status_code == 413
    assert f"at most 2000000 values, would have {60 * 30522 * 62}" in answer.json()["error"]
    answer = client.post("/page/compare", json={"inputs": "film " * 60 + "[MASK]"})
    assert answer.status_code == 413
    assert "at most 62 tokens, found 63" in answer.json()["error"]


@needs_two
@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "inputs"),
        ({"inputs": TEXT, "backends": ["pt"]}, 422, "backends"),
        ({"inputs": TEXT, "backends": ["pt", "pt"]}, 422, "two different ones"),
        ({"inputs": TEXT, "backends": ["pt", "mxnet"]}, 422, "found mxnet"),
        ({"inputs": TEXT, "model": "none"}, 404, "found 'none'"),
        ({"inputs": TEXT, "other": 1}, 422, "other"),
        ({"inputs": TEXT, "parameters": {"top_k": 0}}, 422, "top_k"),
        ({"inputs": TEXT, "parameters": {"tok_k": 1}}, 422, "tok_k"),
        ({"inputs": TEXT, "parameters": {"return_tensors": "pt"}}, 422, "tensors cannot be in it"),
        ({"inputs": [TEXT, TEXT]}, 422, "one input"),
        ({"inputs": []}, 422, "one input"),
        ({"inputs": 3}, 422, "expected"),
        ({"inputs": "film " * 600}, 422, "602 tokens"),
    ],
)
def test_wrong_requests(client: Client, body: dict[str, Any], status: int, said: str) -> None:
    answer = client.post("/page/compare", json=body)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]
