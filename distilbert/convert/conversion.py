# SPDX-License-Identifier: Apache-2.0
"""`convert`: any checkpoint into any format, without a framework, verified against its source bit by bit."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from distilbert import hub, spec
from distilbert.checkpoint_files import files_below
from distilbert.convert.arrays import same_bits
from distilbert.convert.bert import POOLED_TASKS
from distilbert.convert.checkpoint import Checkpoint, open_checkpoint
from distilbert.convert.finite import all_finite
from distilbert.convert.fitting import Fit
from distilbert.convert.formats import KERAS_HUB, Format
from distilbert.convert.keras_hub import EPSILON
from distilbert.convert.tensor import Array, StoredTensor
from distilbert.convert.tokenizer_files import check_tokenizer, copy_sentence_files, copy_tokenizer
from distilbert.convert.writing import find_format, parse_size, write_checkpoint
from distilbert.errors import WeightsError, describe
from distilbert.files import check_new_folder, staged_folder

Progress = Callable[[str, int], None]  # what is done ("write" or "verify"), and how many bytes of it


@dataclass(frozen=True)
class Conversion:
    """What a conversion read and wrote.

    Attributes:
        source: what was read.
        task: which of the six models was written.
        files: names of what was written.
        tensors: how many there are.
        nbytes: size of all their values.
        not_finite: names of tensors that hold NaN or infinity, in the source and so in the result.
    """

    source: Checkpoint
    task: str
    files: tuple[str, ...]
    tensors: int
    nbytes: int
    not_finite: tuple[str, ...]


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    to: str = "safetensors",
    *,
    task: str | None = None,
    variant: str | None = None,
    revision: str | None = None,
    max_shard_size: int | str = "5GB",
    progress: Progress = lambda step, nbytes: None,
) -> Conversion:
    """Convert a checkpoint, and check that what was written is what was read.

    Args:
        source: a folder, weights file or hub repository, in any format and dialect.
        target: a new or empty folder; it appears whole, or not at all.
        to: `safetensors`, `pytorch`, `tensorflow`, `flax`, `keras-hub` or `orbax`.
        task: which of the six models to write; default what the source is.
        variant, revision: which files of the source, as in `from_pretrained`.
        max_shard_size: bytes in one weights file, or text such as "5GB"; without effect for keras-hub and Orbax.
        progress: called with ("write" or "verify", bytes done since the last call).

    Raises:
        InputError: `to`, `task` or `max_shard_size` is none of these.
        WeightsError, ConfigError, TokenizerError, FileError, HubError: nothing has been written.
    """
    row, limit, target = find_format(to), parse_size(max_shard_size), Path(target)
    check_new_folder(target)
    checkpoint = open_checkpoint(hub.resolve(source, variant=variant, revision=revision), variant)
    checkpoint = checkpoint.with_settled_projector()
    found = exact_fit(checkpoint, spec.find_task(task).name if task else None)
    check_difference(checkpoint, found.task, row, named=task is not None)
    check_tokenizer(checkpoint)
    with staged_folder(target) as staging:
        counted = {name: _counted(tensor, progress) for name, tensor in found.tensors.items()}
        files = write_checkpoint(staging, checkpoint.config, found.task, counted, format=row.name, max_shard_size=limit)
        copy_tokenizer(checkpoint, staging, row)
        if found.task == "encoder":
            copy_sentence_files(checkpoint.weights.parent, staging)
        not_finite = _verify(found, files[0], progress)
        names = tuple(files_below(staging))
    nbytes = sum(tensor.nbytes for tensor in found.tensors.values())
    return Conversion(checkpoint, found.task, names, len(found.tensors), nbytes, tuple(not_finite))


def exact_fit(checkpoint: Checkpoint, task: str | None) -> Fit:
    """What will be written; WeightsError if something is wrong, or would be lost without being asked for."""
    if task in (None, *POOLED_TASKS, checkpoint.task):
        checkpoint.check_head("task 'encoder' converts the rest")
    found = checkpoint.fit(checkpoint.config, task or checkpoint.task)
    if not found.is_exact:
        raise found.error(str(checkpoint.weights))
    if task is None and found.aside:
        raise WeightsError(
            f"{checkpoint.weights}: has more than the head of {spec.TASKS[found.task].class_name}: "
            f"{', '.join(found.aside)}; name the task to convert to leave the rest behind"
        )
    return found


def check_difference(checkpoint: Checkpoint, task: str, row: Format | None = None, *, named: bool) -> None:
    """Raise WeightsError, or warn where the task was named, if a head computes otherwise in the other library."""
    difference = checkpoint.difference if task == checkpoint.task else None
    if row == KERAS_HUB and task == "masked-lm":
        difference = EPSILON
    if difference is None or (difference == EPSILON and checkpoint.format == row):
        return
    if not named:
        raise WeightsError(
            f"{checkpoint.weights}: {difference}; task {task!r} converts the weights all the same, bit by bit, "
            "task 'encoder' leaves the head behind"
        )
    if row != KERAS_HUB or difference != EPSILON:  # of the epsilon who writes a preset tells
        warnings.warn(f"{checkpoint.weights}: {difference}", stacklevel=3)


def _counted(tensor: StoredTensor, progress: Progress) -> StoredTensor:
    def load() -> Array:
        progress("write", tensor.nbytes)
        return tensor.load()

    return replace(tensor, load=load)


def _verify(found: Fit, written: Path, progress: Progress) -> list[str]:
    """Read the result back as any user would; WeightsError unless it equals the source bit by bit.

    Returns:
        Names of tensors that hold NaN or infinity.
    """
    result = open_checkpoint(written)
    again = result.fit(result.config, found.task).tensors
    different, not_finite = [], []
    for name, tensor in found.tensors.items():
        values = tensor.load()
        if name not in again or not same_bits(again[name].load(), values):
            different.append(name)
        if not all_finite(values):
            not_finite.append(name)
        progress("verify", tensor.nbytes)
    if different:
        raise WeightsError(describe(f"{written}: written values differ from the source", different))
    return not_finite
