# SPDX-License-Identifier: Apache-2.0
"""What a run is asked to do, checked and settled before a model is loaded."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from distilbert import __version__, hub, loading
from distilbert.checkpoint_files import SMALL_FILES, files_in, sentence_files
from distilbert.convert import open_checkpoint
from distilbert.errors import InputError, describe
from distilbert.export.running import export_folder, files_of
from distilbert.files import file_digest
from distilbert.pipelines import Pipeline, pipeline
from distilbert.pipelines.registry import find
from distilbert.predict.fields import FIELDS, Results, results_of
from distilbert.tables import find_inputs, format_of, read_columns, read_kinds
from distilbert.tables.fields import Columns, choose_columns
from distilbert.tables.formats import STANDARD, TEXT_FORMATS


@dataclass(frozen=True)
class Job:
    """A run, the same on every machine that works on it.

    Attributes:
        task: of the pipeline.
        model: a folder or weights file.
        inputs: the files, in order.
        input_format: of all of them.
        output: the file to write.
        output_format: its format.
        reads: which columns the task reads.
        keep: columns of the input that the output has too; None for all.
        schema: the columns of the output and their kinds; None where each row has its own (JSON Lines).
        prefix: goes before the names of the result columns.
        options: of the pipeline.
        backend: the framework, or format of the exported file.
        dtype: of the model.
        shard_rows: rows that are worked on, and written, together.
    """

    task: str
    model: Path
    inputs: tuple[Path, ...]
    input_format: str
    output: Path
    output_format: str
    reads: Columns
    keep: tuple[str, ...] | None
    schema: dict[str, str] | None
    prefix: str
    options: Mapping[str, Any] = field(default_factory=dict)
    backend: str = "pt"
    dtype: str = "float32"
    shard_rows: int = 5000

    @property
    def results(self) -> Results:
        """The columns that the task adds, before the prefix."""
        kind = find(self.task)
        return results_of(self.task, kind.parse(kind.options_class(), dict(self.options)))

    @property
    def wanted_columns(self) -> list[str] | None:
        """What has to be read of the input; None for all of it, as of JSON Lines, whose rows need not all have them."""
        if self.keep is None or self.input_format == "jsonl":
            return None
        return list(dict.fromkeys([*self.keep, *(column for columns in self.reads.values() for column in columns)]))

    def open_pipeline(self) -> Pipeline:
        """Load the model."""
        return pipeline(self.task, self.model, backend=self.backend, dtype=self.dtype, **self.options)

    def _versions(self) -> dict[str, str]:
        columnar = {self.input_format, self.output_format} - set(TEXT_FORMATS)
        names = ["tokenizers", "numpy", *(["pyarrow"] if columnar else [])]
        framework = loading.runtime(self.backend).versions
        return {"distilbert": __version__, **framework, **{name: version(name) for name in names}}

    def fingerprint(self) -> dict[str, Any]:
        """All that the bytes of the output depend on; two runs with the same one write the same."""
        return {
            "versions": self._versions(),
            "task": self.task,
            "model": _digest(self.model),
            "backend": self.backend,
            "dtype": self.dtype,
            "options": dict(self.options),
            "inputs": [
                {"file": str(path), "bytes": path.stat().st_size, "changed": path.stat().st_mtime_ns}
                for path in self.inputs
            ],
            "input_format": self.input_format,
            "output_format": self.output_format,
            "columns": {name: list(columns) for name, columns in self.reads.items()},
            "keep": None if self.keep is None else list(self.keep),
            "schema": self.schema,
            "prefix": self.prefix,
            "shard_rows": self.shard_rows,
        }


def rejects_of(output: Path) -> Path:
    """The file for rows that are set aside."""
    return output.with_name(output.name + ".rejects.jsonl")


def make_job(
    task: str,
    model: str | os.PathLike[str],
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    columns: Sequence[str] = (),
    keep: Sequence[str] | None = None,
    prefix: str = "",
    options: Mapping[str, Any] | None = None,
    backend: str | None = None,
    dtype: str = "float32",
    input_format: str | None = None,
    output_format: str | None = None,
    shard_rows: int = 5000,
) -> Job:
    """Look at inputs, columns, options and checkpoint; arguments as in `predict_files`.

    Raises:
        InputError, FileError, HubError, BackendError: what is asked for cannot be done.
    """
    kind, options, output = find(task), dict(options or {}), Path(output)
    if shard_rows < 1:
        raise InputError(f"shard_rows: expected at least 1, found {shard_rows}")
    parsed = kind.parse(kind.options_class(), options)
    _check_options(options)
    files = find_inputs([Path(name) for name in inputs], input_format)
    found = {format_of(path, input_format) for path in files}
    if len(found) > 1:
        raise InputError(f"inputs: expected files of one format, found {', '.join(sorted(found))}")
    source = found.pop()
    _check_apart(files, output)
    target = format_of(output, output_format or (source if output == STANDARD else None))
    present = read_columns(files[0], source)
    reads = choose_columns(kind.task, FIELDS[kind.task], columns, present)
    resolved = hub.resolve(model)
    results = {prefix + name: kind_ for name, kind_ in results_of(kind.task, parsed).columns.items()}
    return Job(
        task=kind.task,
        model=resolved,
        inputs=tuple(files),
        input_format=source,
        output=output,
        output_format=target,
        reads=reads,
        keep=None if keep is None else tuple(keep),
        schema=_schema(files, source, target, keep, results),
        prefix=prefix,
        options=options,
        backend=loading.choose(resolved, backend),
        dtype=dtype,
        shard_rows=shard_rows,
    )


def _check_options(options: Mapping[str, Any]) -> None:
    """Raise InputError for options that make no sense in a table, or cannot be written down."""
    problems = ["return_tensors: a table holds no tensors"] if options.get("return_tensors") else []
    try:
        json.dumps(options)
    except (TypeError, ValueError) as error:
        problems.append(f"expected what JSON has too, as lists for sets ({error})")
    if problems:
        raise InputError(describe("options", problems))


def _check_apart(files: Sequence[Path], output: Path) -> None:
    """Raise InputError if a file that is read would be replaced."""
    written = {path.resolve() for path in (output, rejects_of(output))}
    if twice := [str(path) for path in files if path != STANDARD and path.resolve() in written]:
        raise InputError(f"output: would replace an input, {', '.join(twice)}; name another output")


def _schema(
    files: Sequence[Path], source: str, target: str, keep: Sequence[str] | None, results: Mapping[str, str]
) -> dict[str, str] | None:
    """The columns of the output."""
    if files[0] == STANDARD and source == "jsonl" and target != "jsonl" and keep is None:
        raise InputError("standard input does not say which columns there are; name those to keep, or write JSON Lines")
    kinds: Mapping[str, str] | None
    if files[0] == STANDARD:
        kinds = None if keep is None else dict.fromkeys(keep, "string" if source != "jsonl" else "json")
    else:
        kinds = read_kinds(files[0], source, keep)
        if keep is not None:
            _check_keep(keep, read_columns(files[0], source))
            kinds = {name: kinds.get(name, "json") for name in keep}
    if twice := [name for name in results if name in (kinds or ())]:
        raise InputError(
            f"output: would have two columns {', '.join(map(repr, twice))}, of the input and of the results; "
            "rename the results with --prefix, as in --prefix predicted_, or leave the input's out with --keep"
        )
    if kinds is None or (source == target == "jsonl" and keep is None):
        return None
    return {**kinds, **results}


def _check_keep(keep: Sequence[str], present: Sequence[str] | None) -> None:
    if present is None:  # each row has its own
        return
    absent = [
        f"keep: no column {name!r}; found {', '.join(map(repr, present))}" for name in keep if name not in present
    ]
    if absent:
        raise InputError(describe("output", absent))


def _digest(model: Path) -> str:
    """Of everything in the checkpoint that results depend on."""
    if folder := export_folder(model):
        return hashlib.sha256("".join(map(file_digest, files_of(folder))).encode()).hexdigest()
    checkpoint = open_checkpoint(model)
    folder = checkpoint.weights.parent
    present = files_in(folder) + [str(path.relative_to(folder)) for path in sorted(folder.glob("*/*"))]
    small = [name for name in SMALL_FILES if name in present]
    paths = [*checkpoint.files, *(folder / name for name in [*small, *sentence_files(present)])]
    return hashlib.sha256("".join(map(file_digest, paths)).encode()).hexdigest()
