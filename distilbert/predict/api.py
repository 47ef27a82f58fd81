# SPDX-License-Identifier: Apache-2.0
"""`distilbert.predict_files`: what `distilbert predict` does, from Python."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distilbert.predict.job import make_job
from distilbert.predict.on_ray import work_on_ray
from distilbert.predict.run import Progress, Silence, Summary, run
from distilbert.predict.working import Reject


def predict_files(
    task: str,
    model: str | os.PathLike[str],
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
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
    overwrite: bool = False,
    progress: Progress | None = None,
    set_aside: Callable[[Reject], None] | None = None,
    ray: bool | str = False,
) -> Summary:
    """Work through files: each row of the input with its result, in their order.

    Rows that cannot be worked on are set aside in `<output>.rejects.jsonl`, with the reason. A run that was cut short,
    even by SIGKILL, is gone on with by the same call; the output is the same, byte for byte.

    Args:
        task: as in `distilbert.pipeline`.
        model: a folder or hub repository.
        inputs: files, patterns and folders; CSV, TSV, JSON Lines, Parquet or Arrow; `-` is standard input.
        output: a file, its format by its suffix; `-` is standard output.
        columns: where the task's fields are, as in `text=sentence`; default columns of the same name.
        keep: columns of the input that the output has too; default all.
        prefix: goes before the names of the result columns.
        options: of the pipeline, as in `{"top_k": 3}`.
        backend: `pt`, `tf` or `flax`.
        dtype: as in `distilbert.pipeline`.
        input_format: `csv`, `tsv`, `jsonl`, `parquet` or `arrow`; default by the suffix.
        output_format: the same of the output.
        shard_rows: rows that are worked on, and written, together: what a killed run loses at most.
        overwrite: replace a finished output, and discard parts of another run.
        progress: is told how far it is.
        set_aside: with standard streams, is called with each row that has no result.
        ray: work on a Ray cluster whose nodes all see the same files: its address as `ray.init` takes it, or True for
            RAY_ADDRESS, the cluster this machine is in, or one of its own, whichever there is first.

    Raises:
        InputError, FileError, HubError, BackendError, WeightsError, ConfigError: nothing was written but what a later
            run can go on with.
    """
    job = make_job(
        task,
        model,
        [inputs] if isinstance(inputs, str | os.PathLike) else inputs,
        output,
        columns=columns,
        keep=keep,
        prefix=prefix,
        options=options,
        backend=backend,
        dtype=dtype,
        input_format=input_format,
        output_format=output_format,
        shard_rows=shard_rows,
    )
    distribute = work_on_ray(None if ray is True else ray) if ray else None
    return run(job, overwrite, progress or Silence(), set_aside or _ignore, distribute)


def _ignore(reject: Reject) -> None:
    """Rows set aside are counted in the summary all the same."""
