# SPDX-License-Identifier: Apache-2.0
"""From a name to the tensors of one model class: what `from_pretrained` does before any framework is involved."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass, replace
from typing import Any

from distilbert import hub, spec
from distilbert.config import DistilBertConfig
from distilbert.convert.checkpoint import Checkpoint, open_checkpoint
from distilbert.convert.fitting import Fit
from distilbert.convert.tensor import StoredTensor
from distilbert.errors import WeightsError
from distilbert.spec import TensorSpec

logger = logging.getLogger("distilbert")


@dataclass(frozen=True)
class Loaded:
    """A checkpoint seen as one model class: its config, the tensors to read, and those to draw anew."""

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
    """
    source = {name: options.pop(name) for name in hub.OPTIONS if name in options}
    path = hub.resolve(name_or_path, variant=variant, **source)
    checkpoint = open_checkpoint(path, variant, config)
    if options:
        checkpoint = _with_changes(checkpoint, options)
    if task == "masked-lm" or spec.PREFIX + spec.WORD_EMBEDDINGS not in checkpoint.tensors:
        checkpoint = checkpoint.with_settled_projector()
    found = checkpoint.fit(checkpoint.config, task)
    absent = _accept(checkpoint, found, task, strict, ignore_mismatched_sizes)
    return Loaded(checkpoint.config, found.tensors, absent, checkpoint.dtype, found)


def _with_changes(checkpoint: Checkpoint, changes: dict[str, Any]) -> Checkpoint:
    return replace(checkpoint, config=checkpoint.config.replace(**changes))


def _accept(
    checkpoint: Checkpoint, found: Fit, task: str, strict: bool, ignore_mismatched_sizes: bool
) -> list[TensorSpec]:
    """The tensors that will be drawn anew, each named in a warning; WeightsError if that is not wanted."""
    origin = str(checkpoint.weights)
    if checkpoint.obstacle and task in ("sequence-classification", "multiple-choice"):
        raise WeightsError(f"{origin}: cannot be read as {spec.TASKS[task].class_name}: {checkpoint.obstacle}")
    new_head = _is_new_head(checkpoint.config, found, task)
    wrong = found.not_float or (found.mismatched and not ignore_mismatched_sizes)
    incomplete = found.unexpected or (found.missing and not new_head)
    if wrong or (strict and incomplete):
        raise found.error(origin, task, checkpoint.config, _hint(checkpoint, found))
    absent = [*found.missing, *(tensor for tensor, _ in found.mismatched)]
    if absent:
        names = ", ".join(tensor.name for tensor in absent)
        warnings.warn(f"{origin}: not in the checkpoint, drawn anew, train before use: {names}", stacklevel=4)
    return absent


def _is_new_head(config: DistilBertConfig, found: Fit, task: str) -> bool:
    """Whether exactly a whole head is missing that the checkpoint never claimed to have: a pretrained encoder."""
    claimed = spec.TASKS[task].class_name in (config.architectures or ())
    present = any(spec.is_head_tensor(name) for name in found.tensors)
    return not claimed and not present and all(spec.is_head_tensor(tensor.name) for tensor in found.missing)


def _hint(checkpoint: Checkpoint, found: Fit) -> str:
    if found.mismatched and not (found.missing or found.unexpected):
        return "ignore_mismatched_sizes=True draws these tensors anew"
    return f"the checkpoint looks like {spec.TASKS[checkpoint.task].class_name}"
