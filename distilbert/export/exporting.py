# SPDX-License-Identifier: Apache-2.0
"""Any checkpoint as a file that another program runs, compared at once with what it was made from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from distilbert import __version__, hub, spec
from distilbert import backend as backends
from distilbert.checkpoint_files import EXPORT_FILE
from distilbert.config import DistilBertConfig
from distilbert.convert import Checkpoint, open_checkpoint
from distilbert.convert.conversion import check_difference, exact_fit
from distilbert.convert.finite import check_finite
from distilbert.convert.tensor import Array
from distilbert.convert.tokenizer_files import check_tokenizer, copy_sentence_files, copy_tokenizer
from distilbert.convert.writing import find_format
from distilbert.defaults import MAX_DROP
from distilbert.errors import InputError, ParityError
from distilbert.export.formats import QUANTIZED, STATIC_INT8, Format, find
from distilbert.export.running import ExportedModel, files_of, open_session
from distilbert.files import check_new_folder, staged_folder, write_json
from distilbert.inference.quality import check_quality
from distilbert.inference.streaming import check_item
from distilbert.parity import exports
from distilbert.parity.measuring import Measurement


@dataclass(frozen=True)
class Export:
    """What an export wrote, and how far it is from its source.

    Attributes:
        format: the row of `FORMATS`.
        task: of `spec.TASKS`.
        dtype: number format of the file.
        files: names of what was written.
        nbytes: size of the model's own file or files.
        measurements: the worst error of each output, relative to its largest value; none for 8 bits.
        drop: of 8 bits: the points of correlation with the source's answers that are lost, on random texts.
    """

    format: Format
    task: str
    dtype: str
    files: tuple[str, ...]
    nbytes: int
    measurements: tuple[Measurement, ...] = ()
    drop: float | None = None


@dataclass(frozen=True)
class _Source:
    """A checkpoint that has been read, to be exported."""

    checkpoint: Checkpoint
    task: str
    config: DistilBertConfig
    tensors: Mapping[str, Array]


def export_checkpoint(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    format: str,
    *,
    task: str | None = None,
    dtype: str = "float32",
    calibration: Sequence[Any] = (),
    max_drop: float = MAX_DROP,
    variant: str | None = None,
    revision: str | None = None,
) -> Export:
    """Export a checkpoint, and check that the file gives its numbers.

    Args:
        source: a folder, weights file or hub repository, in any format.
        target: a new or empty folder; it appears whole, or not at all.
        format: a name in `FORMATS`.
        task: which of the six models; default what the source is.
        dtype: number format of the file, of those that the format has.
        calibration: for `int8-static`, token ids of texts as the model will meet them; some hundred are enough.
        max_drop: for 8 bits, the points (percent) of correlation with the source's answers that may be lost.
        variant, revision: which files of the source, as in `from_pretrained`.

    Raises:
        InputError: the format, number format or task is unknown, or the source lacks the head of the task.
        BackendError: what writes or runs the format is not installed.
        ParityError, QualityError: the file gives other numbers; nothing has been written.
        WeightsError, ConfigError, TokenizerError, FileError, HubError: nothing has been written.
    """
    row, target = find(format), Path(target)
    check_options(row, dtype, calibration)
    check_new_folder(target)
    require(row)
    read = _read(hub.resolve(source, variant=variant, revision=revision), task, variant)
    with staged_folder(target) as staging:
        return _write(read, row, dtype, staging, calibration, max_drop)


def check_options(row: Format, dtype: str, calibration: Sequence[Any]) -> None:
    """Raise InputError for a number format that a format does not have, or that needs texts to measure ranges on."""
    if dtype not in row.dtypes:
        raise InputError(f"dtype: {row.name} takes {', '.join(row.dtypes)}; found {dtype!r}")
    if (dtype == STATIC_INT8) != bool(len(calibration)):
        found = f"{len(calibration)} texts with dtype {dtype!r}"
        raise InputError(f"calibration: expected texts for {STATIC_INT8}, and for nothing else; found {found}")


def require(row: Format) -> None:
    """Raise BackendError unless what writes and what runs a format is installed."""
    for name in dict.fromkeys((row.writer, row.runner)):
        backends.require(name, f"export to {row.name}")
    backends.require_packages(row.tools, row.runner, f"export to {row.name}")


def _read(found: Path, task: str | None, variant: str | None) -> _Source:
    checkpoint = open_checkpoint(found, variant).with_settled_projector()
    fit = exact_fit(checkpoint, spec.find_task(task).name if task else None)
    check_difference(checkpoint, fit.task, named=task is not None)
    check_tokenizer(checkpoint)
    tensors = {key: tensor.load().astype(np.float32) for key, tensor in fit.tensors.items()}
    check_finite(tensors, str(checkpoint.weights))  # outputs that are NaN or infinite cannot be compared
    return _Source(checkpoint, fit.task, checkpoint.config.replace(dtype="float32"), tensors)


def _write(
    source: _Source, row: Format, dtype: str, staging: Path, calibration: Sequence[Any], max_drop: float
) -> Export:
    model = _model(source, row)
    module, path = row.module(), staging / row.file
    takes: Any = SimpleNamespace(config=source.config, task=source.task)
    for number, sequence in enumerate(calibration):
        check_item(sequence, number, takes)
    module.write(model, path, dtype, **({"calibration": calibration} if dtype == STATIC_INT8 else {}))
    session = open_session(row, path, source.task)
    measured: tuple[Measurement, ...] = ()
    drop = None
    if dtype in QUANTIZED:
        exported = ExportedModel(session, source.config, source.task, row.name, dtype)
        drop = check_quality(_model(source, row).for_inference(), exported, max_drop=max_drop)
    else:
        measured = tuple(exports.check(session, row.name, source.task, source.config, source.tensors, dtype))
    record = _record(source, row, dtype, measured, drop)
    module.annotate(path, json.dumps(record))
    if not exports.same_answers(session, open_session(row, path, source.task), source.config, source.task):
        raise ParityError(f"{row.name} answers otherwise once the record is in its metadata")
    nbytes = sum(found.stat().st_size for found in files_of(staging))
    source.config.replace(architectures=(spec.TASKS[source.task].class_name,)).save_pretrained(staging)
    copy_tokenizer(source.checkpoint, staging, find_format("safetensors"))
    if source.task == "encoder":
        copy_sentence_files(source.checkpoint.weights.parent, staging)
    write_json(staging / EXPORT_FILE, record)
    names = tuple(found.relative_to(staging).as_posix() for found in files_of(staging))
    return Export(row, source.task, dtype, names, nbytes, measured, drop)


def _model(source: _Source, row: Format) -> Any:
    """The model in the framework that writes the format."""
    framework = backends.load(row.writer, f"export to {row.name}")
    model = getattr(framework, spec.TASKS[source.task].class_name).empty(source.config, "float32")
    # Copies: a model may keep the arrays it is given, and what is done to it must not reach what it is compared with.
    model.load_tensors({name: values.copy() for name, values in source.tensors.items()})
    return model


def _record(
    source: _Source, row: Format, dtype: str, measured: Sequence[Measurement], drop: float | None
) -> dict[str, Any]:
    return {
        "kind": "distilbert export",
        "format": row.name,
        "file": row.file,
        "task": source.task,
        "dtype": dtype,
        "parity": {found.layer: exports.as_json(found) for found in measured},
        "drop": drop,
        "versions": {"distilbert": __version__, **backends.BACKENDS[row.writer].versions, **row.runtime.versions},
    }
