# SPDX-License-Identifier: Apache-2.0
"""From a name to the tensors of one model class: what `from_pretrained` does before any framework is involved."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, replace
from typing import Any

from distilbert import hub, spec
from distilbert.config import DistilBertConfig
from distilbert.convert.bert import POOLED_TASKS
from distilbert.convert.checkpoint import Checkpoint, open_checkpoint
from distilbert.convert.fitting import Fit
from distilbert.convert.tensor import StoredTensor
from distilbert.spec import TensorSpec


@dataclass(frozen=True)
class Loaded:
    """A checkpoint seen as one model class.

    Attributes:
        config: of the model.
        tensors: what to read, by the model's names.
        absent: what to draw anew, because the checkpoint does not have it.
        dtype: float type of the file.
        fit: the comparison that led to this.
    """

    config: DistilBertConfig
    tensors: dict[str, StoredTensor]
    absent: list[TensorSpec]
    dtype: str
    fit: Fit

    def info(self) -> dict[str, list[Any]]:
        """The lists that transformers calls loading info."""
        mismatched = [(tensor.name, found, tensor.shape) for tensor, found in self.fit.mismatched]
        return {
            "missing_keys": [tensor.name for tensor in self.fit.missing],
            "unexpected_keys": list(self.fit.unexpected),
            "mismatched_keys": mismatched,
            "error_msgs": [],
        }


def load_for_task(
    name_or_path: str | os.PathLike[str],
    task: str,
    config: DistilBertConfig | None = None,
    *,
    strict: bool = True,
    ignore_mismatched_sizes: bool = False,
    variant: str | None = None,
    **options: Any,
) -> Loaded:
    """The tensors of `task` in a checkpoint; arguments as in `from_pretrained`.

    Raises:
        WeightsError: lists every tensor that does not fit.
        ConfigError, FileError, HubError: as their names say.
    """
    source = {name: options.pop(name) for name in hub.OPTIONS if name in options}
    path = hub.resolve(name_or_path, variant=variant, **source)
    checkpoint = open_checkpoint(path, variant, config)
    if options:
        checkpoint = replace(checkpoint, config=checkpoint.config.replace(**options))
    if task in (*POOLED_TASKS, checkpoint.task) and strict:
        checkpoint.check_head("task 'encoder' reads the rest, strict=False draws a new head")
    if checkpoint.difference and task == checkpoint.task:
        warnings.warn(f"{checkpoint.weights}: {checkpoint.difference}", stacklevel=3)
    if task == "masked-lm" or spec.PREFIX + spec.WORD_EMBEDDINGS not in checkpoint.tensors:
        checkpoint = checkpoint.with_settled_projector()
    found = checkpoint.fit(checkpoint.config, task)
    absent = _accept(checkpoint, found, strict, ignore_mismatched_sizes)
    return Loaded(checkpoint.config, found.tensors, absent, checkpoint.dtype, found)


def _accept(checkpoint: Checkpoint, found: Fit, strict: bool, ignore_mismatched_sizes: bool) -> list[TensorSpec]:
    """The tensors that will be drawn anew, each named in a warning; WeightsError if that is not wanted."""
    origin = str(checkpoint.weights)
    wrong = found.not_float or (found.mismatched and not ignore_mismatched_sizes)
    incomplete = found.unexpected or (found.missing and not found.lacks_head)
    if wrong or (strict and incomplete):
        raise found.error(origin, _hints(checkpoint, found, ignore_mismatched_sizes))
    if found.unexpected:
        warnings.warn(f"{origin}: not used, no place for it: {', '.join(found.unexpected)}", stacklevel=4)
    absent = [*found.missing, *(tensor for tensor, _ in found.mismatched)]
    if absent:
        names = ", ".join(tensor.name for tensor in absent)
        warnings.warn(f"{origin}: not in the checkpoint, drawn anew, train before use: {names}", stacklevel=4)
    return absent


def _hints(checkpoint: Checkpoint, found: Fit, ignore_mismatched_sizes: bool) -> list[str]:
    hints = []
    if checkpoint.task != found.task:
        hints.append(f"the checkpoint is a {spec.TASKS[checkpoint.task].class_name}")
    if found.mismatched and not ignore_mismatched_sizes:
        hints.append("ignore_mismatched_sizes=True draws the tensors of another shape anew")
    if found.missing or found.unexpected:
        hints.append("strict=False loads what fits and draws the rest anew")
    return hints
