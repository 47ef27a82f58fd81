# SPDX-License-Identifier: Apache-2.0
"""`convert`: any checkpoint into any format, without a framework, verified against its source bit by bit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distilbert import hub
from distilbert.checkpoint_files import TOKENIZER_FILES
from distilbert.convert.checkpoint import Checkpoint, open_checkpoint, same_bits
from distilbert.convert.fitting import Fit
from distilbert.convert.tensor import StoredTensor
from distilbert.convert.writing import find_format, write_checkpoint
from distilbert.errors import WeightsError, describe
from distilbert.files import check_new_folder, check_regular_file, staged_folder

Progress = Callable[[str, int], None]  # what is done ("write" or "verify"), and how many bytes of it


@dataclass(frozen=True)
class Conversion:
    """What a conversion read and wrote.

    Attributes:
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
        to: `safetensors`, `pytorch`, `tensorflow` or `flax`.
        task: which of the six models to write; default what the source is.
        variant, revision: which files of the source, as in `from_pretrained`.
        max_shard_size: bytes in one weights file, or text such as "5GB".
        progress: called with ("write" or "verify", bytes done since the last call).

    Raises:
        WeightsError, ConfigError, FileError, HubError: nothing has been written.
    """
    row = find_format(to)
    target = Path(target)
    check_new_folder(target)
    checkpoint = open_checkpoint(hub.resolve(source, variant=variant, revision=revision), variant)
    checkpoint = checkpoint.with_settled_projector()
    task = task or checkpoint.task
    found = _fit(checkpoint, task)
    with staged_folder(target) as staging:
        counted = {name: _counted(tensor, progress) for name, tensor in found.tensors.items()}
        files = write_checkpoint(
            staging, checkpoint.config, task, counted, format=row.name, max_shard_size=max_shard_size
        )
        _copy_tokenizer(checkpoint.weights.parent, staging)
        not_finite = _verify(found, files[0], task, progress)
        names = tuple(sorted(path.name for path in staging.iterdir()))
    nbytes = sum(tensor.nbytes for tensor in found.tensors.values())
    return Conversion(checkpoint, task, names, len(found.tensors), nbytes, tuple(not_finite))


def _fit(checkpoint: Checkpoint, task: str) -> Fit:
    found = checkpoint.fit(checkpoint.config, task)
    if checkpoint.obstacle and any(not name.startswith("distilbert.") for name in checkpoint.tensors):
        raise WeightsError(
            f"{checkpoint.weights}: cannot be converted with its head: {checkpoint.obstacle}; "
            "task encoder converts the rest"
        )
    if not found.is_exact:
        raise found.error(str(checkpoint.weights), task, checkpoint.config)
    return found


def _counted(tensor: StoredTensor, progress: Progress) -> StoredTensor:
    def load() -> np.ndarray:  # type: ignore[type-arg]
        progress("write", tensor.nbytes)
        return tensor.load()

    return StoredTensor(tensor.name, tensor.shape, tensor.dtype, load)


def _verify(found: Fit, written: Path, task: str, progress: Progress) -> list[str]:
    """Read the result back as any user would; WeightsError unless it equals the source bit by bit."""
    result = open_checkpoint(written)
    again = result.fit(result.config, task).tensors
    different, not_finite = [], []
    for name, tensor in found.tensors.items():
        values = tensor.load()
        if name not in again or not same_bits(again[name].load(), values):
            different.append(name)
        if not np.isfinite(values.min()) or not np.isfinite(values.max()):
            not_finite.append(name)
        progress("verify", tensor.nbytes)
    if different:
        raise WeightsError(describe(f"{written}: written values differ from the source", different))
    return not_finite


def _copy_tokenizer(source: Path, target: Path) -> None:
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            check_regular_file(source / name)
            shutil.copyfile(source / name, target / name)
