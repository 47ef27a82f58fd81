# SPDX-License-Identifier: Apache-2.0
"""What low precision costs on real texts with trained weights: no more than the gate's one point, in any framework."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

import distilbert
from distilbert import DistilBertTokenizer, backend
from distilbert.demo import MODEL
from distilbert.inference.quality import quality

pytestmark = pytest.mark.slow

backends = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(bool(row.missing), reason=f"{row.title} is not installed"))
        for name, row in backend.BACKENDS.items()
    ],
)
dtypes = pytest.mark.parametrize("dtype", ["bfloat16", "int8"])

Task = tuple[list[list[int]], list[Any]]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def token_ids(folder: Path, texts: list[str], longest: int) -> list[list[int]]:
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    return tokenizer(texts, truncation=True, max_length=longest)["input_ids"]


@pytest.fixture(scope="module")
def sentiment(data_folder: Path) -> Task:
    """SST-2's official dev set."""
    found = rows(data_folder / "sst2_glue" / "dev_official_872.tsv")
    return token_ids(MODEL, [row["sentence"] for row in found], 64), [int(row["label"]) for row in found]


@pytest.fixture(scope="module")
def similarity(data_folder: Path, minilm: Path) -> Task:
    """STS-B's dev set: each two texts that follow one another have a score."""
    found = rows(data_folder / "glue_stsb" / "dev.tsv")
    texts = [row[column] for row in found for column in ("sentence1", "sentence2")]
    return token_ids(minilm, texts, 128), [float(row["score"]) for row in found]


@backends
@dtypes
def test_sentiment_with_the_demo_model(name, dtype, sentiment):
    sequences, labels = sentiment
    model = distilbert.load(MODEL, backend=name)
    fast = model.for_inference(dtype, sequences, labels)
    assert quality(model.for_inference(), sequences, labels) > 70
    assert quality(fast, sequences, labels) > 70


@backends
@dtypes
def test_similarity_with_a_sentence_encoder(name, dtype, similarity, minilm):
    sequences, scores = similarity
    model = distilbert.load(minilm, "encoder", backend=name)
    fast = model.for_inference(dtype, sequences, scores)
    assert quality(model.for_inference(), sequences, scores) > 80
    assert quality(fast, sequences, scores) > 80
