# SPDX-License-Identifier: Apache-2.0
"""`distilbert.load`: a checkpoint as a model, in the framework that was asked for or is at hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from distilbert import backend as backends
from distilbert import hub, spec
from distilbert.backend import Backend
from distilbert.convert import open_checkpoint
from distilbert.export.formats import FORMATS
from distilbert.export.running import export_folder, format_of


def choose(model: Path, backend: str | None = None) -> str:
    """What is going to run a checkpoint or an exported file: the name of a framework, or the format of the file.

    Args:
        model: a local folder or weights file.
        backend: what is wanted; default what is at hand.

    Raises:
        BackendError: the framework is unknown, or not installed.
        InputError: the file is of another format.
    """
    if folder := export_folder(model):
        return format_of(folder, backend)
    return backends.choose(backend)


def runtime(name: str) -> Backend:
    """The framework or runtime behind such a name."""
    return FORMATS[name].runtime if name in FORMATS else backends.BACKENDS[name]


def prepare(name: str, wanted_by: str) -> None:
    """Import a framework, or make sure that a runtime can be imported; BackendError where it cannot."""
    found = runtime(name).name
    if found in backends.BACKENDS:
        backends.load(found, wanted_by)
    else:
        backends.require(found, wanted_by)


def load(
    name_or_path: str | os.PathLike[str], task: str | None = None, backend: str | None = None, **options: Any
) -> Any:
    """Load a model without naming its class.

    Args:
        name_or_path: a folder, weights file or hub repository, in any format.
        task: `encoder`, `masked-lm`, `sequence-classification`, `multiple-choice`, `token-classification`,
            `question-answering`, or a pipeline name such as `fill-mask`; default what the checkpoint is.
        backend: `pt`, `tf` or `flax`; default DISTILBERT_BACKEND, else the first framework installed.
        options: as in the classes' `from_pretrained`.

    Raises:
        BackendError: the framework is unknown or not installed.
        InputError: the task is unknown.
        WeightsError, ConfigError, FileError, HubError: the checkpoint cannot be loaded.
    """
    chosen = backends.choose(backend)
    module = backends.load(chosen, f"load(backend={chosen!r})")
    if task is None:
        source = {name: options[name] for name in (*hub.OPTIONS, "variant") if name in options}
        name_or_path = hub.resolve(name_or_path, **source)
        options = {name: value for name, value in options.items() if name not in hub.OPTIONS}
        name = open_checkpoint(name_or_path, options.get("variant")).task
    else:
        name = spec.find_task(task).name
    return getattr(module, spec.TASKS[name].class_name).from_pretrained(name_or_path, **options)
