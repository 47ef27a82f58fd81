# SPDX-License-Identifier: Apache-2.0
"""Sentences to labels, in a framework as its users would, and in the NumPy reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert import reference
from distilbert.config import DistilBertConfig
from distilbert.convert import open_checkpoint
from distilbert.loading import load
from distilbert.tokenizer import DistilBertTokenizer

_TENSORS = {"pt": "pt", "tf": "tf", "flax": "jax"}  # what the tokenizer calls them


@dataclass(frozen=True)
class Prediction:
    """The likeliest label of a sentence and its probability."""

    label: str
    probability: float


def predict(folder: Path, texts: Sequence[str], backend: str) -> list[Prediction]:
    """Load the checkpoint in a framework, in float32, and classify."""
    model = load(folder, backend=backend)
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    batch = tokenizer(list(texts), padding=True, truncation=True, return_tensors=_TENSORS[backend])
    logits = model(**batch).logits
    if backend == "pt":
        logits = logits.detach()
    return _likeliest(np.asarray(logits, np.float64), model.config)


def predict_with_reference(folder: Path, texts: Sequence[str]) -> list[Prediction]:
    """Classify with the NumPy reference in float64; no framework is needed."""
    checkpoint = open_checkpoint(folder)
    tensors = {name: tensor.load().astype(np.float64) for name, tensor in checkpoint.tensors.items()}
    batch = DistilBertTokenizer.from_pretrained(folder)(list(texts), padding=True, truncation=True, return_tensors="np")
    logits = reference.forward(checkpoint.task, checkpoint.config, tensors, **batch).logits
    return _likeliest(logits, checkpoint.config)


def _likeliest(logits: NDArray[Any], config: DistilBertConfig) -> list[Prediction]:
    probabilities = reference.softmax(logits)[0]
    labels = probabilities.argmax(-1)
    return [Prediction(config.id2label[int(i)], float(row[i])) for i, row in zip(labels, probabilities, strict=True)]
