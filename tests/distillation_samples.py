# SPDX-License-Identifier: Apache-2.0
"""A small vocabulary, a small teacher and small texts for the tests of distillation."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import numpy as np

from distilbert import DistilBertConfig, DistilBertTokenizer
from distilbert.training.distillation.recipe import DistillRecipe

from .samples import write_model

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [
    "the",
    "cat",
    "dog",
    "sat",
    "on",
    "mat",
    "and",
    "ran",
    "house",
    "tree",
    "##s",
    "##ing",
    "##ed",
    "water",
    "##house",
]
VOCABULARY = list(
    dict.fromkeys(
        [*SPECIALS, *string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase), ".", *WORDS]
    )
)
TEACHER = DistilBertConfig(
    vocab_size=len(VOCABULARY), dim=32, n_layers=4, n_heads=4, hidden_dim=48, max_position_embeddings=40, num_labels=3
)


def write_tokenizer(folder: Path) -> DistilBertTokenizer:
    """A tokenizer of letters and a few words."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in VOCABULARY))
    return DistilBertTokenizer.from_pretrained(folder)


def write_teacher(folder: Path, task: str = "masked-lm", config: DistilBertConfig = TEACHER) -> Path:
    """A teacher with random weights and its tokenizer."""
    write_model(folder, config, task)
    write_tokenizer(folder)
    return folder


def texts(count: int = 40, seed: int = 0) -> list[str]:
    """Sentences of known and unknown words, of different lengths."""
    random = np.random.default_rng(seed)
    words = ["the", "cat", "dogs", "sat", "on", "mats", "and", "running", "treehouse", "water", "zebra", "."]
    return [" ".join(random.choice(words, random.integers(1, 14))) for _ in range(count)]


def recipe(folder: Path, **values: Any) -> DistillRecipe:
    """A recipe for the teacher in a folder."""
    return DistillRecipe.from_dict(
        {
            "output": str(folder / "output"),
            "teacher": str(folder / "teacher"),
            "corpus": str(folder / "corpus.txt"),
            "max_seq_length": 16,
            **values,
        }
    )
