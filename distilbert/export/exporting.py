# SPDX-License-Identifier: Apache-2.0
"""`export`: any checkpoint as a file that another program runs, compared at once with what it was made from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distilbert import __version__, hub, spec
from distilbert import backend as backends
from distilbert.convert import open_checkpoint
from distilbert.convert.tokenizer_files import check_tokenizer, copy_tokenizer
from distilbert.errors import InputError, ParityError, describe
from distilbert.export import checking
from distilbert.export.formats import Format, find
from distilbert.files import check_new_folder, staged_folder, write_json
from distilbert.parity.measuring import Measurement

RECORD = "export.json"


@dataclass(frozen=True)
class Export:
    """What an export wrote, and how far it is from its source.

    Attributes:
        format: the row of `FORMATS`.
        task: of `spec.TASKS`.
        dtype: float type of the file.
        files: names of what was written.
        nbytes: size of all of it.
        measurements: the worst error of each output, relative to its largest value.
    """

    format: Format
    task: str
    dtype: str
    files: tuple[str, ...]
    nbytes: int
    measurements: tuple[Measurement, ...]


def export(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    format: str,
    *,
    task: str | None = None,
    dtype: str = "float32",
    variant: str | None = None,
    revision: str | None = None,
) -> Export:
    """Export a checkpoint, and check that the file gives its numbers.

    Args:
        source: a folder, weights file or hub repository, in any format.
        target: a new or empty folder; it appears whole, or not at all.
        format: a name in `FORMATS`.
        task: which of the six models; default what the source is.
        dtype: float type of the file.
        variant, revision: which files of the source, as in `from_pretrained`.

    Raises:
        InputError: the format, float type or task is unknown, or the source lacks the head of the task.
        BackendError: what writes or runs the format is not installed.
        ParityError: the file gives other numbers; nothing has been written.
        WeightsError, ConfigError, TokenizerError, FileError, HubError: nothing has been written.
    """
    row, target = find(format), Path(target)
    if dtype not in row.dtypes:
        raise InputError(f"dtype: {row.name} takes {', '.join(row.dtypes)}; found {dtype!r}")
    check_new_folder(target)
    framework = backends.load(row.framework, f"export to {row.name}")
    row.require(f"export to {row.name}")
    checkpoint = open_checkpoint(hub.resolve(source, variant=variant, revision=revision), variant)
    name = spec.find_task(task).name if task else checkpoint.task
    found = checkpoint.fit(checkpoint.config, name)
    if not found.is_exact:
        raise found.error(str(checkpoint.weights))
    check_tokenizer(checkpoint.weights.parent, checkpoint.config)
    config = checkpoint.config.replace(dtype="float32")
    tensors = {key: tensor.load().astype(np.float32) for key, tensor in found.tensors.items()}
    model = getattr(framework, spec.TASKS[name].class_name).empty(config, "float32")
    model.load_tensors(tensors)
    with staged_folder(target) as staging:
        module = row.module()
        module.write(model, staging / row.file, dtype)
        session = module.Session(staging / row.file, name)
        measured = checking.check(session, row.name, name, config, tensors, dtype)
        _check(row, dtype, measured)
        config.replace(architectures=(spec.TASKS[name].class_name,), dtype=dtype).save_pretrained(staging)
        copy_tokenizer(checkpoint.weights.parent, staging)
        write_json(staging / RECORD, _record(row, name, dtype, measured))
        paths = [path for path in sorted(staging.rglob("*")) if path.is_file()]
        names, nbytes = tuple(str(path.relative_to(staging)) for path in paths), sum(p.stat().st_size for p in paths)
    return Export(row, name, dtype, names, nbytes, tuple(measured))


def _check(row: Format, dtype: str, measured: list[Measurement]) -> None:
    bad = [
        f"{found.layer}: off by {found.text} of its largest value in '{found.call}', expected {found.bound:.0e} at most"
        for found in measured
        if not found.ok
    ]
    if bad:
        raise ParityError(describe(f"{row.name} in {dtype} gives other numbers than its source", bad))


def _record(row: Format, task: str, dtype: str, measured: list[Measurement]) -> dict[str, Any]:
    return {
        "kind": "distilbert export",
        "format": row.name,
        "file": row.file,
        "task": task,
        "dtype": dtype,
        "parity": {found.layer: checking.as_json(found) for found in measured},
        "versions": {"distilbert": __version__, **backends.BACKENDS[row.framework].versions},
    }
