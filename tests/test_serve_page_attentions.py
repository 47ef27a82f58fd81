# SPDX-License-Identifier: Apache-2.0
"""Attention weights over HTTP: those of the reference, bounded, the same from every framework."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from distilbert import DistilBertTokenizer, backend, load, pipeline, reference
from distilbert.convert import open_checkpoint
from distilbert.demo import MODEL
from distilbert.serve.models import Served
from distilbert.serve.page.attentions import LONGEST, attend

from .page_client import Client
from .pipeline_samples import AWKWARD

TEXT = "A warm, funny film that never hurries."


@pytest.fixture(scope="module")
def client() -> Client:
    return Client(Served("reviews", pipeline(backend="pt"), MODEL))


def ask(client: Client, **body: Any) -> Any:
    answer = client.post("/page/attentions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_weights_are_those_of_the_reference(client: Client) -> None:
    found = ask(client, text=TEXT)
    checkpoint = open_checkpoint(MODEL)
    tensors = {name: tensor.load().astype(np.float64) for name, tensor in checkpoint.tensors.items()}
    batch = DistilBertTokenizer.from_pretrained(MODEL)([TEXT], return_tensors="np")
    expected = reference.forward(checkpoint.task, checkpoint.config, tensors, **batch).attentions
    weights = np.array(found["attentions"])
    tokens = len(found["tokens"])
    assert weights.shape == (checkpoint.config.n_layers, checkpoint.config.n_heads, tokens, tokens)
    assert np.abs(weights - np.concatenate(expected)).max() < 1e-4
    assert (found["model"], found["backend"], found["cut"]) == ("reviews", "pt", False)
    assert found["tokens"][0] == "[CLS]"
    assert found["tokens"][-1] == "[SEP]"


def test_rows_sum_to_one_and_have_four_digits(client: Client) -> None:
    weights = np.array(ask(client, text=TEXT)["attentions"])
    assert np.abs(weights.sum(-1) - 1).max() < 5e-5 * weights.shape[-1]
    assert np.abs(weights * 10_000 - np.round(weights * 10_000)).max() < 1e-8


def test_a_long_text_is_cut(client: Client) -> None:
    found = ask(client, text="film " * 3000)
    assert found["cut"]
    assert len(found["tokens"]) == LONGEST
    exact = ask(client, text="film " * (LONGEST - 2))
    assert not exact["cut"]
    assert exact["tokens"] == found["tokens"]


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in AWKWARD.items() if len(text) < 20_000])
def test_awkward_texts(client: Client, text: str) -> None:
    found = ask(client, text=text)
    assert len(found["attentions"][0][0]) == len(found["tokens"]) >= 2


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "text"),
        ({"text": 7}, 422, "text"),
        ({"text": "x" * 20_001}, 422, "20000"),
        ({"text": "x", "modle": "reviews"}, 422, "modle"),
        ({"text": "x", "model": "none"}, 404, "expected reviews; found 'none'"),
    ],
)
def test_wrong_requests(client: Client, body: dict[str, Any], status: int, said: str) -> None:
    answer = client.post("/page/attentions", json=body)
    assert answer.status_code == status
    assert said in answer.json()["error"]


def test_half_of_a_pair_is_refused_clearly(client: Client) -> None:
    answer = client.post(
        "/page/attentions", content=b'{"text": "\\ud800"}', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]


def test_every_framework_gives_the_same() -> None:
    tokenizer = DistilBertTokenizer.from_pretrained(MODEL)
    found = {name: attend(load(MODEL, "encoder", name), tokenizer, TEXT) for name in backend.installed()}
    expected = np.array(found["pt"]["attentions"])
    for name, one in found.items():
        assert one["tokens"] == found["pt"]["tokens"]
        assert np.abs(np.array(one["attentions"]) - expected).max() <= 1.001e-4, name  # the last digit, by rounding
