# SPDX-License-Identifier: Apache-2.0
"""From texts to answers: `distilbert.pipeline(task, model, backend=...)`, on the fast inference path.

Nothing here imports a framework. Each task has a file of its own.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from distilbert import hub, loading, spec
from distilbert.convert import Checkpoint, open_checkpoint
from distilbert.demo import MODEL
from distilbert.errors import InputError, describe
from distilbert.export.running import export_folder, open_export
from distilbert.pipelines.base import Pipeline
from distilbert.pipelines.registry import find, for_checkpoint
from distilbert.tokenizer import DistilBertTokenizer

__all__ = ["Pipeline", "pipeline"]


def pipeline(
    task: str | None = None,
    model: str | os.PathLike[str] | Any = None,
    *,
    backend: str | None = None,
    dtype: str = "float32",
    tokenizer: str | os.PathLike[str] | DistilBertTokenizer | None = None,
    **options: Any,
) -> Pipeline:
    """A task from text to answer, with the same results in every framework.

    Args:
        task: `fill-mask`, `text-classification` (or `sentiment-analysis`), `token-classification` (or `ner`),
            `question-answering`, `multiple-choice`, `feature-extraction` or `sentence-embedding`; default what the
            checkpoint is for.
        model: a folder or hub repository in any format, a folder that `distilbert export` wrote, or a loaded model;
            default, for text classification only, the small sentiment model of this package.
        backend: `pt`, `tf` or `flax`; default DISTILBERT_BACKEND, else the first framework installed. An exported file
            has its own, as `onnx`.
        dtype: `float32`, `bfloat16`, `float16`, `int8` or `auto`, as in `model.for_inference`.
        tokenizer: default the model's own.
        options: `revision`, `subfolder`, `token`, `cache_dir`, `local_files_only`, `force_download` choose the source;
            the others become the defaults of the pipeline's calls, as in `top_k=3`.

    Raises:
        InputError: the task or an option is unknown, or the arguments do not go with each other.
        BackendError, WeightsError, ConfigError, TokenizerError, FileError, HubError: the model cannot be loaded.
    """
    source = {name: options.pop(name) for name in hub.OPTIONS if name in options}
    kind = None if task is None else find(task)
    folder = None
    if model is None:
        if kind not in (None, find("text-classification")):
            raise InputError(f"{task}: name a model; only text-classification has one of its own")
        model = MODEL
    if isinstance(model, str | os.PathLike):
        found = hub.resolve(model, **source)
        folder = found if found.is_dir() else found.parent
        kind, model = _load(found, folder, kind, backend, options)
        tokenizer = tokenizer or folder
    else:
        _check_loaded(model, backend, source, tokenizer)
        kind = kind or for_checkpoint(model.task, None)
    return kind(model.for_inference(dtype), _as_tokenizer(tokenizer), folder, **options)


def _load(
    found: Path, folder: Path, kind: type[Pipeline] | None, backend: str | None, options: dict[str, Any]
) -> tuple[type[Pipeline], Any]:
    """The pipeline for a checkpoint or exported file, and its model; what can be refused early is refused."""
    if export_folder(found):
        exported = open_export(folder, backend)
        kind = kind or for_checkpoint(exported.task, folder)
        _check_early(kind, options)
        return kind, exported
    checkpoint = open_checkpoint(found)
    kind = kind or for_checkpoint(checkpoint.task, folder)
    _check_head(checkpoint, kind)
    _check_early(kind, options)
    return kind, loading.load(found, kind.model_task, backend)


def _check_head(checkpoint: Checkpoint, kind: type[Pipeline]) -> None:
    """Refuse a checkpoint without the head that the task takes: answers of one drawn anew would mean nothing."""
    fit = checkpoint.fit(checkpoint.config, kind.model_task)
    if fit.missing and fit.lacks_head:
        raise InputError(
            f"{kind.task}: {checkpoint.weights} is a {spec.TASKS[checkpoint.task].class_name} and has no head for this "
            f"task; train one first, or load a {spec.TASKS[kind.model_task].class_name} and give that as the model"
        )


def _check_early(kind: type[Pipeline], options: dict[str, Any]) -> None:
    """Refuse wrong options before a model is loaded in vain; what is to be warned of is said later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind.parse(kind.options_class(), options)


def _check_loaded(model: Any, backend: str | None, source: dict[str, Any], tokenizer: Any) -> None:
    """Raise InputError for what is no model of this package, and for arguments that a loaded model does not go with."""
    if not hasattr(model, "for_inference"):
        found = f"{type(model).__module__}.{type(model).__name__}"
        raise InputError(f"model: expected a folder, a name on the hub or a model of this package; found {found}")
    problems = [f"{name}: a loaded model has been read already" for name in source]
    if backend not in (None, model.backend):
        problems.append(f"backend: expected {model.backend}, which the loaded model is of; found {backend!r}")
    if tokenizer is None:
        problems.append("tokenizer: name one; a loaded model does not know its own")
    if problems:
        raise InputError(describe("pipeline", problems))


def _as_tokenizer(value: Any) -> DistilBertTokenizer:
    if isinstance(value, DistilBertTokenizer):
        return value
    if not isinstance(value, str | os.PathLike):
        found = f"{type(value).__module__}.{type(value).__name__}"
        raise InputError(f"tokenizer: expected a folder, a name on the hub or a DistilBertTokenizer; found {found}")
    return DistilBertTokenizer.from_pretrained(value)
