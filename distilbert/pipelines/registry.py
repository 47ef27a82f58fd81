# SPDX-License-Identifier: Apache-2.0
"""Which pipelines there are, by all the names that people have for them. Each is imported when it is asked for."""

from __future__ import annotations

import importlib
from pathlib import Path

from distilbert.errors import InputError
from distilbert.pipelines.base import Pipeline

# Task -> (module here, class in it).
PIPELINES = {
    "fill-mask": ("fill_mask", "FillMask"),
    "text-classification": ("text_classification", "TextClassification"),
    "token-classification": ("token_classification", "TokenClassification"),
    "question-answering": ("question_answering", "QuestionAnswering"),
    "multiple-choice": ("multiple_choice", "MultipleChoice"),
    "feature-extraction": ("feature_extraction", "FeatureExtraction"),
    "sentence-embedding": ("sentence_embedding", "SentenceEmbedding"),
}
ALIASES = {
    "sentiment-analysis": "text-classification",
    "ner": "token-classification",
    "sentence-similarity": "sentence-embedding",
}
_USUAL = {"masked-lm": "fill-mask", "sequence-classification": "text-classification"}  # others are called the same


def find(task: str) -> type[Pipeline]:
    """The pipeline of this name; InputError lists those there are."""
    name = ALIASES.get(task, task)
    if name not in PIPELINES:
        raise InputError(f"task: expected one of {', '.join([*PIPELINES, *ALIASES])}; found {task!r}")
    module, kind = PIPELINES[name]
    found: type[Pipeline] = getattr(importlib.import_module(f"distilbert.pipelines.{module}"), kind)
    return found


def for_checkpoint(model_task: str, folder: Path | None) -> type[Pipeline]:
    """What a checkpoint is for: its class decides, and for a bare encoder whether it is a sentence encoder's."""
    if model_task != "encoder":
        return find(_USUAL.get(model_task, model_task))
    is_sentence_encoder = folder is not None and (folder / "modules.json").is_file()
    return find("sentence-embedding" if is_sentence_encoder else "feature-extraction")
