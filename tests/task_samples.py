# SPDX-License-Identifier: Apache-2.0
"""A small tokenizer, recipes and files for tests of the tasks that models are trained for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from distilbert import DistilBertConfig, DistilBertTokenizer
from distilbert.training import tasks
from distilbert.training.recipes import FinetuneRecipe

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "good",
    "bad",
    "film",
    "the",
    "in",
    "lives",
    "where",
    "who",
    "answer",
    "##s",
    "##ing",
    "##ed",
    "##ly",
    "ber",
    "##lin",
    "par",
    "##is",
    ".",
    ",",
    "?",
]


def small_tokenizer(folder: Path, **settings: Any) -> DistilBertTokenizer:
    """Of 31 word pieces."""
    path = folder / "vocab.txt"
    path.write_text("\n".join(WORDS))
    return DistilBertTokenizer(path, model_max_length=512, **settings)


def real_tokenizer(data_folder: Path, **settings: Any) -> DistilBertTokenizer:
    """That of bert-base-uncased."""
    return DistilBertTokenizer(data_folder / "vocab" / "bert-base-uncased" / "vocab.txt", **settings)


def make_task(
    name: str, tokenizer: DistilBertTokenizer, config: DistilBertConfig | None = None, **settings: Any
) -> Any:
    """A task with a recipe that says no more than this."""
    given = {"task": name, "model": "m", "train": ["t"], "output": "o", **settings}
    return tasks.find(name)(FinetuneRecipe.from_dict(given), tokenizer, config)


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """JSON Lines."""
    return write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def write_text(path: Path, text: str) -> Path:
    """A file with this content."""
    path.write_text(text)
    return path
