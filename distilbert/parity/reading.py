# SPDX-License-Identifier: Apache-2.0
"""A checkpoint read once, whole, for comparison, with the digests of its files."""

from __future__ import annotations

import os
from dataclasses import dataclass

from distilbert import hub, spec
from distilbert.convert import Checkpoint as Source
from distilbert.convert import open_checkpoint
from distilbert.convert.loading import load_for_task
from distilbert.convert.tensor import Array
from distilbert.files import file_digest
from distilbert.initialization import initial_tensors
from distilbert.parity.report import Subject


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint is, and its tensors by canonical name."""

    subject: Subject
    tensors: dict[str, Array]


def read_checkpoint(source: str | os.PathLike[str], task: str | None = None) -> Checkpoint:
    """Read a checkpoint in any format as the model of `task`, or as what it is.

    Raises:
        InputError: the task is unknown.
        WeightsError, ConfigError, FileError, HubError: it cannot be read, or does not fit the task.
    """
    path = hub.resolve(source)
    checkpoint = open_checkpoint(path)
    task = spec.find_task(task).name if task else checkpoint.task
    loaded = load_for_task(path, task)
    stored = {name: tensor.load() for name, tensor in loaded.tensors.items()}
    tensors = {**initial_tensors(loaded.config, loaded.absent, 0), **stored}
    subject = Subject(
        name=os.fspath(source),
        task=task,
        format=checkpoint.format.name,
        config=loaded.config,
        parameters=sum(values.size for values in tensors.values()),
        files=_digests(checkpoint),
    )
    return Checkpoint(subject, tensors)


def _digests(checkpoint: Source) -> dict[str, str]:
    """The digest of each file by its name; weights may be a folder (Orbax's)."""
    named = {checkpoint.config_file, checkpoint.weights, *checkpoint.files}
    below = {file for path in named for file in path.rglob("*") if file.is_file()}
    files = sorted(below | {path for path in named if not path.is_dir()})
    return {file.relative_to(checkpoint.weights.parent).as_posix(): file_digest(file) for file in files}
