# SPDX-License-Identifier: Apache-2.0
"""`distilbert.load`: a checkpoint as a model, in the framework that was asked for or is at hand."""

from __future__ import annotations

import os
from typing import Any

from distilbert import backend as backends
from distilbert import hub, spec
from distilbert.convert import open_checkpoint


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
