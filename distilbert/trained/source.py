# SPDX-License-Identifier: Apache-2.0
"""A trained model as NumPy tensors, of a checkpoint or of a model in memory, and built from them."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilbert import backend as backends
from distilbert import hub, spec, surgery
from distilbert.config import DistilBertConfig
from distilbert.convert import Checkpoint, open_checkpoint
from distilbert.convert.loading import load_for_task
from distilbert.convert.tensor import Array
from distilbert.convert.tokenizer_files import find_tokenizer
from distilbert.errors import TokenizerError, WeightsError
from distilbert.tokenizer import DistilBertTokenizer


@dataclass(frozen=True)
class Source:
    """A trained model.

    Attributes:
        config: of it.
        task: which of `spec.TASKS` it is for.
        tensors: of its task by canonical name, in the float type of the file.
        tokenizer: of it.
        checkpoint: what it was read from; None for a model in memory.
        path: where that is on this machine.
        dtype: float type to compute in.
    """

    config: DistilBertConfig
    task: str
    tensors: dict[str, Array]
    tokenizer: DistilBertTokenizer
    checkpoint: Checkpoint | None = None
    path: Path = Path()
    dtype: str = "float32"

    def model(self, backend: str, whole: bool = False) -> Any:
        """The model in a framework.

        Args:
            backend: short name of the framework.
            whole: with heads in the place of those that were pruned, which add nothing.
        """
        config, tensors = self.config, self.tensors
        if whole:
            config, tensors = surgery.restore_heads(config, self.task, tensors)
        model_class = getattr(backends.load(backend, "a trained model"), spec.TASKS[self.task].class_name)
        model = model_class.empty(config.replace(dtype=self.dtype), self.dtype)
        model.load_tensors(tensors)
        return model


def read_source(name: str | os.PathLike[str], task: str | None) -> Source:
    """The model of a checkpoint.

    Args:
        name: folder, weights file or hub repository.
        task: any name of a task; None for the one that the model is for.

    Raises:
        InputError: there is no such task.
        WeightsError: the checkpoint lacks the head of the task, or does not fit its config.
        ConfigError, TokenizerError, FileError, HubError: as their names say.
    """
    path = hub.resolve(name)
    found = open_checkpoint(path)
    task = spec.find_task(task).name if task else found.task
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*(drawn anew|no place for it)")
        loaded = load_for_task(path, task)
    if loaded.absent:
        names = ", ".join(tensor.name for tensor in loaded.absent)
        title = spec.TASKS[task].class_name
        raise WeightsError(
            f"{name}: lacks the head of {title} ({names}); train it first (distilbert finetune), or name the task that "
            "it is for"
        )
    tensors = {name: tensor.load() for name, tensor in loaded.tensors.items()}
    tokenizer = find_tokenizer(found)
    if tokenizer is None:
        raise TokenizerError(f"{name}: has no tokenizer; expected tokenizer.json or vocab.txt beside the weights")
    return Source(loaded.config, task, tensors, tokenizer, found, path)
