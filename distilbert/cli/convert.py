# SPDX-License-Identifier: Apache-2.0
"""`distilbert convert`: any checkpoint into any format. The work is done in `distilbert/convert`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilbert.cli.console import fact_table, plural, say, show, show_json, size
from distilbert.cli.options import Json, Revision, Source, Task, Variant, checked

if TYPE_CHECKING:
    from distilbert.convert import Conversion
    from distilbert.convert.conversion import Progress


class Format(StrEnum):
    """The names in `distilbert.convert.formats.ALL_FORMATS`, here so that `--help` need not import the codecs."""

    SAFETENSORS = "safetensors"
    PYTORCH = "pytorch"
    TENSORFLOW = "tensorflow"
    FLAX = "flax"
    KERAS_HUB = "keras-hub"
    ORBAX = "orbax"


def _size_in_bytes(text: str) -> int:
    from distilbert.convert.writing import parse_size

    return parse_size(text)


def convert(
    source: Source,
    target: Annotated[Path, typer.Argument(metavar="DST", help="New or empty folder to write to.", show_default=False)],
    to: Annotated[
        Format, typer.Option(metavar="FORMAT", help=f"Format to write: {', '.join(Format)}.")
    ] = Format.SAFETENSORS,
    task: Task = None,
    variant: Variant = None,
    revision: Revision = None,
    max_shard_size: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            callback=checked(_size_in_bytes),
            help="Bytes in one weights file, as in 500MB. Without effect for keras-hub and orbax.",
        ),
    ] = "5GB",
    as_json: Json = False,
) -> None:
    """Convert a checkpoint to another format, and check that every bit of it arrived.

    Reads every format and dialect, in one file or in shards, presets of keras-hub, checkpoints of Orbax, and BERT too.
    Config and tokenizer come along. DST appears whole, or not at all.
    """
    from distilbert import hub
    from distilbert.convert import convert as run
    from distilbert.files import check_new_folder

    start = time.perf_counter()
    check_new_folder(target)  # before anything is downloaded
    path = hub.resolve(source, variant=variant, revision=revision)
    with _bar(path, variant, task) as progress:
        done = run(path, target, to, task=task, variant=variant, max_shard_size=max_shard_size, progress=progress)
    seconds = time.perf_counter() - start
    if done.not_finite:
        names = ", ".join(done.not_finite[:8])
        say("warning", f"{path}: NaN or infinity in {plural(len(done.not_finite), 'tensor')}, kept as it is: {names}")
    if as_json:
        show_json(_as_json(done, target, to, seconds))
    else:
        show(fact_table(_facts(done, target, to, seconds)))


def _facts(done: Conversion, target: Path, to: Format, seconds: float) -> list[tuple[str, str]]:
    source = done.source
    names = f"{source.dialect_title} names" + (", BERT read as DistilBERT" if source.folded_bert else "")
    return [
        ("source", str(source.weights)),
        ("", f"{source.format.name}, {names}, {plural(len(source.files), 'file')}"),
        ("task", done.task),
        ("tensors", f"{done.tensors:,}, {size(done.nbytes)}"),
        ("written", str(target)),
        ("", f"{to}: {', '.join(done.files)}"),
        ("verified", "read back, every bit equal to the source"),
        ("time", f"{seconds:.2f} s"),
    ]


def _as_json(done: Conversion, target: Path, to: Format, seconds: float) -> dict[str, Any]:
    return {
        "source": str(done.source.weights),
        "source_format": done.source.format.name,
        "source_dialect": done.source.dialect,
        "folded_bert": done.source.folded_bert,
        "task": done.task,
        "target": str(target),
        "format": str(to),
        "files": list(done.files),
        "tensors": done.tensors,
        "bytes": done.nbytes,
        "verified": True,
        "not_finite": list(done.not_finite),
        "seconds": round(seconds, 3),
    }


@contextmanager
def _bar(path: Path, variant: str | None, task: str | None) -> Iterator[Progress]:
    """What tells a terminal how many bytes are written and verified; nothing where there is no terminal."""
    if not sys.stderr.isatty():
        yield lambda step, nbytes: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    from distilbert.convert import open_checkpoint

    checkpoint = open_checkpoint(path, variant)
    total = sum(tensor.nbytes for tensor in checkpoint.fit(checkpoint.config, task or checkpoint.task).tensors.values())
    columns = (TextColumn("{task.description:>6}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        steps = {step: bars.add_task(step, total=total) for step in ("write", "verify")}
        yield lambda step, nbytes: bars.advance(steps[step], nbytes)
