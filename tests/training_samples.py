# SPDX-License-Identifier: Apache-2.0
"""A small model and texts that it can learn within seconds, for the tests of training."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from distilbert import DistilBertConfig, spec
from distilbert.demo import MODEL
from distilbert.initialization import initial_tensors
from distilbert.training.recipes import FinetuneRecipe

from .samples import write_model

GOOD, BAD = ("good", "wonderful", "moving", "funny", "best"), ("bad", "dull", "boring", "worst", "mess")
FILLERS = ("the", "film", "is", "a", "story", "with", "actors", "and", "of", "in")
TOKENIZER = ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
VOCABULARY = DistilBertConfig.from_pretrained(MODEL).vocab_size
SIZES = {
    "vocab_size": VOCABULARY,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 64,
    "max_position_embeddings": 64,
}


def write_start(folder: Path, task: str = "encoder", **fields: Any) -> Path:
    """A random small model with the tokenizer of the demo; returns the folder."""
    config = DistilBertConfig(**{**SIZES, "initializer_range": 0.1, **fields})
    write_model(folder, config, task, initial_tensors(config, spec.tensors(config, task).values(), seed=0))
    for name in TOKENIZER:
        if (MODEL / name).exists():
            shutil.copy(MODEL / name, folder / name)
    return folder


def write_reviews(path: Path, count: int, seed: int = 0) -> Path:
    """Sentences whose label is whether a good or a bad word is in them, as CSV; returns the path."""
    random = np.random.default_rng(seed)
    lines = ["text,label"]
    for _ in range(count):
        label = int(random.integers(2))
        words = [str(word) for word in random.choice(FILLERS, random.integers(2, 14))]
        words.insert(int(random.integers(len(words))), str(random.choice(GOOD if label else BAD)))
        lines.append(f"{' '.join(words)},{'positive' if label else 'negative'}")
    path.write_text("\n".join(lines) + "\n")
    return path


def recipe(folder: Path, **changes: Any) -> FinetuneRecipe:
    """To train the model in `folder`/start on `folder`/train.csv, made where they are not there."""
    if not (folder / "start").exists():
        write_start(folder / "start")
        write_reviews(folder / "train.csv", 192)
        write_reviews(folder / "eval.csv", 64, seed=1)
    usual = {
        "task": "text-classification",
        "model": str(folder / "start"),
        "train": str(folder / "train.csv"),
        "eval": str(folder / "eval.csv"),
        "output": str(folder / "out"),
        "per_device_train_batch_size": 16,
        "learning_rate": 1e-2,
        "max_seq_length": 32,
        "pad_to_multiple_of": 16,
        "report_to": ["none"],
        "certify": False,
        "num_train_epochs": 1,
        "logging_steps": 1,
    }
    return FinetuneRecipe.from_dict({**usual, **changes})
