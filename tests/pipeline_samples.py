# SPDX-License-Identifier: Apache-2.0
"""Small checkpoints with a real vocabulary, the pipelines of transformers on them, and texts that are hard to take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distilbert import DistilBertConfig, DistilBertTokenizer

from . import oracle
from .samples import task_config, write_model

LONGEST = 64  # tokens
AWKWARD = {
    "empty": "",
    "blank": " \t\n",
    "nul": "a\0b",
    "emoji": "so 👩‍👩‍👧‍👦 good 🇩🇪 \U0001f9ff",
    "right-to-left": "שלום עולם \u202eabc\u202c مرحبا",
    "combining": "\u0301\u0301\u0301 e\u0301\u0327",
    "long-word": "x" * 100_000,
    "special-tokens": "[CLS] good [SEP] [PAD] [UNK] bad [SEP]",
    "controls": "\x01\x7f\ufeff\u200b",
}


def write_checkpoint(folder: Path, data_folder: Path, task: str, **fields: Any) -> Path:
    """A random model with the vocabulary of bert-base-uncased, and its tokenizer; returns the folder."""
    sizes: dict[str, Any] = {"vocab_size": 30522, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 37}
    labels = {} if "id2label" in fields else {"num_labels": 3}
    config = DistilBertConfig(**{**sizes, "max_position_embeddings": LONGEST, **labels, **fields})
    write_model(folder, task_config(config, task), task)
    vocabulary = data_folder / "vocab" / "bert-base-uncased" / "vocab.txt"
    DistilBertTokenizer(vocabulary, model_max_length=LONGEST).save_pretrained(folder)
    return folder


def theirs(task: str, folder: Path) -> Any:
    """The pipeline of transformers in PyTorch; what it warns of is its own affair."""
    with oracle.quiet():
        made = oracle.transformers().pipeline(task, model=str(folder), framework="pt", device="cpu")

    def call(*inputs: Any, **options: Any) -> Any:
        with oracle.quiet():
            return made(*inputs, **options)

    return call


def sentences(data_folder: Path, count: int) -> list[str]:
    """Sentences of film reviews."""
    lines = (data_folder / "sst2_glue" / "dev_official_872.tsv").read_text().splitlines()[1:]
    return [line.rpartition("\t")[0] for line in lines[:count]]


def assert_same(found: Any, expected: Any, bound: float = 1e-5) -> None:
    """The same lists, keys in the same order, labels and types; numbers within the bound."""
    assert type(found) is type(expected), f"{found!r:.200} for {expected!r:.200}"
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key], bound)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other, bound)
    elif isinstance(expected, float):
        size = abs(expected)  # small scores, as of one word among 30,000, must agree in their digits too
        assert abs(found - expected) <= min(bound * max(1, size), 10 * bound * size + bound / 10)
    else:
        assert found == expected
