# SPDX-License-Identifier: Apache-2.0
"""Exported files as models that answer as what `for_inference` gives, so that pipelines and the server take them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from distilbert import backend as backends
from distilbert import spec
from distilbert.checkpoint_files import EXPORT_FILE
from distilbert.config import CONFIG_NAME, DTYPES, DistilBertConfig
from distilbert.errors import FileError, InputError, describe
from distilbert.export.formats import FORMATS, QUANTIZED, Format, find
from distilbert.export.signature import Array, Session, output_shape
from distilbert.files import read_json
from distilbert.inference import fast_model
from distilbert.inference.packing import Batch, Pack, powers_of_two, row_length


def export_folder(path: Path) -> Path | None:
    """The folder that `export_checkpoint` wrote, given it or the file in it; None for anything else."""
    folder = path if path.is_dir() else path.parent
    return folder if path.exists() and (folder / EXPORT_FILE).is_file() else None


def files_of(folder: Path) -> list[Path]:
    """All files of an export, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def format_of(folder: Path, wanted: str | None = None) -> str:
    """The format of a folder that `export` wrote.

    Raises:
        InputError: another one is wanted.
        FileError: its record is broken.
    """
    name = _record(folder)["format"]
    if wanted not in (None, name):
        raise InputError(f"{folder}: is an export to {name}, found backend {wanted!r}; leave it out, or say {name!r}")
    return name


def open_export(folder: Path, wanted: str | None = None) -> ExportedModel:
    """The model in a folder that `export` wrote.

    Args:
        folder: which one.
        wanted: the format that it must have; default any.

    Raises:
        InputError: it has another format.
        FileError: something in it is missing or broken.
        BackendError: what runs it is not installed.
    """
    row, record = find(format_of(folder, wanted)), _record(folder)
    if not (folder / row.file).exists():
        raise FileError(f"{folder / row.file}: is missing; export the model again")
    backends.require(row.runner, f"running {row.name}")
    model = ExportedModel(
        open_session(row, folder / row.file, record["task"]),
        DistilBertConfig.from_pretrained(folder),
        record["task"],
        row.name,
        record["dtype"],
    )
    _check_fit(model, folder / row.file)
    return model


def open_session(row: Format, path: Path, task: str) -> Session:
    """A file opened by its runtime; FileError where that cannot read it."""
    try:
        session: Session = row.module().Session(path, task)
    except Exception as error:  # each runtime has classes of its own for broken files, and for other versions'
        reason = f"{row.runtime.title} cannot open it ({_said(error)})"
        raise FileError(f"{path}: {reason}; export the model again") from error
    return session


def _check_fit(model: ExportedModel, path: Path) -> None:
    """Raise FileError where the file is not of the model that config.json and the record say, by one short text."""
    config = model.config
    # The shape of short texts in `run`: what compiles for each shape has this one to do anyway. The last id needs all
    # rows of the embeddings.
    ids = np.full((1, min(row_length(1), config.max_position_embeddings)), config.vocab_size - 1)
    expected = output_shape(model.task, config, ids.shape[1])
    try:
        wrong = [str(field.shape) for field in model.dense(ids, None, None) if field.shape != expected]
    except Exception as error:  # each runtime has classes of its own for names and ids that a file does not know
        wrong = [_said(error)]
    if wrong:
        said = f"the {spec.TASKS[model.task].class_name} of {CONFIG_NAME} and {EXPORT_FILE} beside it"
        raise FileError(f"{path}: is not {said}: expected outputs {expected}, found {wrong[0]}; export the model again")


def _said(error: Exception) -> str:
    """The first line of what a runtime says."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]


def _record(folder: Path) -> dict[str, str]:
    record = read_json(folder / EXPORT_FILE)
    expected = {"format": list(FORMATS), "task": list(spec.TASKS), "dtype": [*DTYPES, *QUANTIZED]}
    problems = [
        f"{name}: expected one of {', '.join(known)}; found {record.get(name)!r}"
        for name, known in expected.items()
        if record.get(name) not in known
    ]
    if problems:
        raise FileError(describe(f"{folder / EXPORT_FILE}", problems))
    return {name: record[name] for name in expected}


class ExportedModel(fast_model.FastModel):
    """A file that is open to be run.

    It takes ids and a mask. In `run` each text has a row to itself, of 16, 32, 64, ... tokens.
    """

    tokens_per_pack = 2048

    def __init__(self, session: Session, config: DistilBertConfig, task: str, format: str, dtype: str) -> None:
        super().__init__(SimpleNamespace(config=config, task=task), "float32", on_gpu=False)
        self.session, self.backend, self.dtype = session, format, dtype

    def for_inference(self, dtype: str = "float32") -> ExportedModel:
        """Itself; InputError where another float type is asked for, which is decided by the export."""
        if dtype not in ("auto", "float32", self.dtype):  # float32 is what nobody asked for
            raise InputError(f"dtype: the file is in {self.dtype}, found {dtype!r}; export the model again for another")
        return self

    @staticmethod
    def bounds(values: Array) -> tuple[int, int] | None:
        return (int(values.min()), int(values.max())) if values.size else None

    def tensor(self, value: Any) -> Array:
        try:
            return np.asarray(value)
        except ValueError:
            raise InputError("inputs: expected rows of one length; pad them") from None

    def dense(self, input_ids: Array, attention_mask: Array | None, position_ids: Array | None) -> tuple[Array, ...]:
        if position_ids is not None:
            raise InputError("position_ids: an exported file counts them itself; leave them out")
        mask = np.ones_like(input_ids) if attention_mask is None else attention_mask
        return self._answer(input_ids, mask)

    def packed(self, batch: Batch) -> tuple[Array, ...]:
        fields = self._answer(batch.input_ids, (batch.segments > 0).astype(np.int64))
        if self.first_only:
            return fields
        flat = tuple(field.reshape(-1, *field.shape[2:]) for field in fields)
        return flat if batch.places is None else tuple(field[batch.places] for field in flat)

    def packs(self, lengths: Sequence[int]) -> Iterator[Pack]:
        """One text in a row; 1, 2, 4, ... rows of 16, 32, 64, ... tokens, as some formats compile for each shape."""
        rows: dict[int, list[int]] = {}
        for number, length in enumerate(lengths):
            longest = min(row_length(length), self.config.max_position_embeddings)
            rows.setdefault(longest, []).append(number)
        for length, numbers in sorted(rows.items()):
            start = 0
            for count in powers_of_two(len(numbers), max(self.tokens_per_pack // length, 1)):
                yield Pack(tuple((number,) for number in numbers[start : start + count]), length)
                start += count

    def _answer(self, ids: Array, mask: Array) -> tuple[Array, ...]:
        inputs = {"input_ids": ids.astype(np.int64), "attention_mask": mask.astype(np.int64)}
        if self.task == "multiple-choice":  # every text as a question with one choice
            inputs = {name: values[:, None] for name, values in inputs.items()}
        found = self.session.run(inputs)
        return tuple(found[name] for name in self.fields)
