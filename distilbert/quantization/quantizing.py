# SPDX-License-Identifier: Apache-2.0
"""`distilbert.quantize`: every scheme written, measured on the user's data, and the best that passes kept."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from distilbert.errors import ParityError, QualityError, describe
from distilbert.export.exporting import export_checkpoint, require
from distilbert.export.formats import FORMATS, STATIC_INT8
from distilbert.export.running import ExportedModel, open_export
from distilbert.files import check_new_folder, staged_folder, write_json
from distilbert.quantization.data import Data, read_data
from distilbert.quantization.recipe import QuantizeRecipe
from distilbert.quantization.result import Quantized, Row, as_json
from distilbert.quantization.schemes import Scheme, parse
from distilbert.trained.recipe import Files, Tell, listed
from distilbert.trained.source import Source, read_source

TABLE = "quantization.json"
ROUNDS = 5  # in which all schemes take turns, so that what else the machine does hits all alike
TIMED = 128  # texts of a round, at most


def quantize(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    data: Files,
    *,
    schemes: Sequence[str] = ("onnx",),
    **options: Any,
) -> Quantized:
    """Export a trained model in fewer bits, by the scheme that is best on the user's data.

    Args:
        source: folder or hub repository of the model, in any format.
        target: new or empty folder for the export. It appears whole, or not at all.
        data: files with labelled examples, as `distilbert finetune` reads them; for a bare encoder pairs of texts with
            their similarity.
        schemes: as `onnx:int8`, or a format for all that it has.
        options: `max_drop` (points of the main metric that may be lost), `prefer` (`speed`, `size` or `quality`),
            `calibration_file` (for `int8-static`), `column` and what else `distilbert quantize --help` lists.

    Raises:
        QualityError: every scheme loses more than `max_drop` points.
        InputError, FileError: an option or the data cannot be used; lists all that is wrong.
        BackendError, WeightsError, ConfigError, TokenizerError, HubError: the model cannot be exported.
    """
    given = {"model": str(source), "output": str(target), "eval": listed(data), "schemes": list(schemes)}
    return run(QuantizeRecipe.from_dict({**given, **options}))


def run(recipe: QuantizeRecipe, tell: Tell = lambda step: None) -> Quantized:
    """`quantize` by a recipe; `tell` hears what is being done at the moment."""
    target = Path(recipe.output_dir)
    check_new_folder(target)
    wanted = parse(recipe.schemes, bool(recipe.calibration_file))
    for format in dict.fromkeys(scheme.format for scheme in wanted):
        require(FORMATS[format])
    source = read_source(recipe.model_name_or_path, recipe.task)
    tell("reading data")
    data = read_data(recipe, source)
    every = [Scheme(format, "float32") for format in dict.fromkeys(scheme.format for scheme in wanted)] + wanted
    with tempfile.TemporaryDirectory() as work:
        rows = _measured(source, data, every, Path(work), tell)
        chosen = _best(recipe, data, rows)
        with staged_folder(target) as staging:
            shutil.copytree(_folder(Path(work), chosen), staging, dirs_exist_ok=True)
            found = Quantized(target, data.metric, len(data.sequences), rows, chosen)
            write_json(staging / TABLE, as_json(found))
    return found


def _measured(source: Source, data: Data, schemes: Sequence[Scheme], work: Path, tell: Tell) -> tuple[Row, ...]:
    rows: dict[Scheme, Row] = {}
    models: dict[Scheme, ExportedModel] = {}
    for scheme in schemes:
        tell(f"writing {scheme}")
        try:
            done = export_checkpoint(
                source.path,
                _folder(work, scheme),
                scheme.format,
                task=source.task,
                dtype=scheme.dtype,
                calibration=data.calibration if scheme.dtype == STATIC_INT8 else (),
                max_drop=float("inf"),  # what counts is the quality on the data
            )
        except (ParityError, QualityError) as error:
            if scheme.dtype == "float32":  # what the others are compared with
                raise
            rows[scheme] = Row(scheme, problem=str(error))
            continue
        models[scheme] = open_export(_folder(work, scheme))
        tell(f"measuring {scheme}")
        quality = data.quality(models[scheme])
        exact = rows.get(Scheme(scheme.format, "float32"))
        drop = 0.0 if exact is None else exact.quality - quality
        rows[scheme] = Row(scheme, done.nbytes, quality=quality, drop=drop)
    tell("timing")
    seconds = _timed(models, data)
    return tuple(replace(rows[scheme], seconds=seconds.get(scheme, float("nan"))) for scheme in schemes)


def _folder(work: Path, scheme: Scheme) -> Path:
    return work / f"{scheme.format}-{scheme.dtype}"


def _timed(models: dict[Scheme, ExportedModel], data: Data) -> dict[Scheme, float]:
    """Seconds of a text: lower quartiles over rounds in which all take turns."""
    chosen = slice(0, TIMED)
    sequences, places = data.sequences[chosen], None if data.places is None else data.places[chosen]
    found: dict[Scheme, list[float]] = {scheme: [] for scheme in models}
    for _ in range(ROUNDS):
        for scheme, model in models.items():
            start = time.perf_counter()
            for _ in model.run(sequences, places):
                pass
            found[scheme].append((time.perf_counter() - start) / len(sequences))
    return {scheme: float(np.quantile(seconds, 0.25)) for scheme, seconds in found.items()}


def _best(recipe: QuantizeRecipe, data: Data, rows: Sequence[Row]) -> Scheme:
    """The scheme that is preferred of those that pass; QualityError if none does."""
    tried = [row for row in rows if row.scheme.dtype != "float32"]
    passing = [row for row in tried if row.drop <= recipe.max_drop]
    if not passing:
        problems = [
            f"{row.scheme}: {row.problem or f'{row.quality:.2f}, {row.drop:.2f} points below float32'}" for row in tried
        ]
        title = (
            f"{recipe.output_dir}: not written: expected to lose at most {recipe.max_drop:g} points of {data.metric}"
        )
        raise QualityError(describe(f"{title}; try other schemes, or raise max_drop", problems))
    orders: dict[str, Callable[[Row], float]] = {
        "speed": lambda row: row.seconds,
        "size": lambda row: row.nbytes,
        "quality": lambda row: -row.quality,
    }
    return min(passing, key=orders[recipe.prefer]).scheme
