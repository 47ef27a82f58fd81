# SPDX-License-Identifier: Apache-2.0
"""The folder of a training: what may be in it before, and what is in it in the end."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from distilbert.errors import DistilBertError, FileError, InputError, TrainingError
from distilbert.files import file_digest, write_json
from distilbert.training.arguments import TrainingArguments
from distilbert.training.checkpoints import check_latest, saved_steps
from distilbert.training.distillation.shards import remove_shards
from distilbert.training.engine import World
from distilbert.training.loop import Training
from distilbert.training.recipe_file import RECIPE_NAME, write_recipe
from distilbert.training.reports import Report
from distilbert.training.reports.curves import CURVES_NAME
from distilbert.training.reports.documents import CARD_NAME, write_documents
from distilbert.training.reports.gathering import run_facts
from distilbert.training.reports.parity import CERTIFICATE_NAME
from distilbert.training.reports.tensorboard import TensorBoardReport

CURVES = "runs"
RESULTS = "all_results.json"
CORPUS, ANSWERS = (
    "corpus",
    "teacher",
)  # of a distillation: shards of token ids for each tokenizer, and a teacher's answers
LOCK = ".lock"  # is there while a training is at work
LATE = 60.0  # seconds after which a recipe that lies there is taken for the one of this start
LOST = 600.0  # seconds after which the first process is taken to be gone


@dataclass(frozen=True)
class Outcome:
    """What came of a training.

    Attributes:
        output: the folder with the model.
        steps: taken so far.
        finished: whether these were all.
        metrics: of the model that is in the folder; empty without data to evaluate on.
        history: all lines of the log and evaluations.
        is_first: whether this process is the one of several that speaks to the user.
    """

    output: Path
    steps: int
    finished: bool
    metrics: dict[str, float]
    history: list[dict[str, float]]
    is_first: bool = True


def check_output(recipe: TrainingArguments, identity: dict[str, Any], models: Sequence[Path] = ()) -> None:
    """Look whether the output folder can be used, before the data is read; nothing is changed.

    Args:
        recipe: names the folder.
        identity: as `Checkpoints` has it.
        models: folders or files to start from, which must not be overwritten: a training that goes on needs them.

    Raises:
        InputError: it holds something else, or another training.
        FileError: it cannot be written to.
    """
    folder = Path(recipe.output_dir)
    with _unwritable(folder):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: is no folder; choose another output")
        written = {
            path.resolve() for path in (folder, *(folder / f"checkpoint-{step}" for step in saved_steps(folder)))
        }
        if not written.isdisjoint((model if model.is_dir() else model.parent).resolve() for model in models):
            raise InputError(f"{folder}: holds the model to start from; choose another output folder")
        if recipe.overwrite_output_dir:
            pass
        elif saved_steps(folder):
            check_latest(folder, identity)
        elif (folder / RECIPE_NAME).exists() and not (folder / RESULTS).exists():
            pass  # a training that was stopped before its first checkpoint
        elif folder.exists() and any(folder.iterdir()):
            raise InputError(
                f"{folder}: is not empty and holds no training to go on with; "
                "choose another output folder, or write into this one with --overwrite_output_dir"
            )
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise FileError(f"{folder}: cannot be written, as {there} cannot; choose another output folder")


def contents(paths: Sequence[Path]) -> list[str]:
    """What files hold, as the beginnings of their SHA-256: a training whose data has changed is another one."""
    return [file_digest(path)[:16] for path in paths]


@contextmanager
def prepared_output(recipe: TrainingArguments, world: World, identity: dict[str, Any] | None = None) -> Iterator[None]:
    """Make the output folder, with the recipe in it, and keep other trainings out while entered.

    Raises:
        InputError, FileError: as `check_output`, or another training is at work there.
    """
    if not world.is_first:
        yield
        return
    check_output(recipe, identity or recipe.identity(world.size))
    folder = Path(recipe.output_dir)
    with _gone_if_unused(folder):
        with _unwritable(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            _prepare(recipe)
            yield


@contextmanager
def _gone_if_unused(folder: Path) -> Iterator[None]:
    """Leave no new folder behind where an error came before there was anything to go on with."""
    is_new = not folder.exists()
    try:
        yield
    except BaseException:
        is_used = any(path.is_file() and path.name not in (LOCK, RECIPE_NAME) for path in folder.rglob("*"))
        if is_new and not is_used:
            shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder, where its file system knows locks; a process that is killed holds nothing any more."""
    lock = FileLock(folder / LOCK, timeout=0)
    with _unwritable(folder), suppress(NotImplementedError):
        try:
            lock.acquire()
        except Timeout:
            raise FileError(
                f"{folder}: another training is at work in it; wait for it, or choose another output folder"
            ) from None
    try:
        yield
    finally:
        if lock.is_locked:
            (folder / LOCK).unlink(missing_ok=True)
            lock.release()


def _prepare(recipe: TrainingArguments) -> None:
    folder = Path(recipe.output_dir)
    with _unwritable(folder):
        if recipe.overwrite_output_dir:
            _remove_training(folder)
        for unfinished in folder.glob(".checkpoint-*.partial"):  # of a training that was killed while it wrote
            shutil.rmtree(unfinished, ignore_errors=True)
        again = dataclasses.replace(recipe, overwrite_output_dir=False)  # this recipe is there to be gone on with
        write_recipe(again, folder / RECIPE_NAME)


def recipe_stamp(recipe: TrainingArguments) -> tuple[int, int] | None:
    """What changes whenever `prepared_output` writes the recipe; None where there is none."""
    try:
        found = (Path(recipe.output_dir) / RECIPE_NAME).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def await_output(recipe: TrainingArguments, world: World, before: tuple[int, int] | None) -> None:
    """Wait until the first process has prepared the output folder; until then the others must not write there.

    Args:
        recipe: names the folder.
        world: which process this is.
        before: the `recipe_stamp` before the processes met.

    Raises:
        TrainingError: the first process does not prepare it, or in a folder that this one cannot see.
    """
    began = time.monotonic()
    while not world.is_first and (stamp := recipe_stamp(recipe)) == before:
        waited = time.monotonic() - began
        if stamp is not None and waited > LATE:  # the processes had met before: it was written before it was looked at
            return
        if waited > LOST:
            raise TrainingError(
                f"{recipe.output_dir}: the first process has written no {RECIPE_NAME} there; see what it says, and "
                "choose an output folder that all processes share"
            )
        time.sleep(0.05)


@contextmanager
def _unwritable(folder: Path) -> Iterator[None]:
    """Name the output folder in what the system says of it."""
    try:
        yield
    except DistilBertError:
        raise
    except OSError as error:
        raise FileError(f"{folder}: cannot be written ({error.strerror}); choose another output folder") from None


@contextmanager
def data_reports(recipe: TrainingArguments, world: World, reports: Sequence[Report]) -> Iterator[Sequence[Report]]:
    """The given reports and those that the recipe names, for the first process alone; closed in the end."""
    told: list[Report] = [*reports] if world.is_first else []
    if world.is_first and "tensorboard" in recipe.report_to:
        told.append(TensorBoardReport(Path(recipe.output_dir) / CURVES))
    try:
        yield told
    finally:
        for report in told:
            report.close()


def complete(training: Training, base_model: str, files: Mapping[str, Sequence[Path]]) -> Outcome:
    """Take the steps that are left; after the last, write the model and what there is to read of it.

    Args:
        training: to be run.
        base_model: what it starts from, as the user named it.
        files: of each split, for the card.
    """
    engine, folder, is_first = training.engine, training.checkpoints.folder, training.engine.settings.world.is_first
    try:
        training.resume()
        if is_first:
            check_space(folder, training)
        steps = training.run()
        metrics = _finish(training, base_model, files) if training.is_finished else {}
    finally:
        engine.close()
    return Outcome(folder, steps, training.is_finished, metrics, training.progress.history, is_first)


def check_space(folder: Path, training: Training) -> None:
    """Raise FileError if the disk is too full for one more checkpoint and the trained model."""
    shapes = training.engine.model.tensor_specs.values()
    weights = sum(math.prod(tensor.shape) for tensor in shapes)
    steps_left = 0 if training.is_finished else 1
    needed = 4 * (weights + steps_left * (weights + 2 * training.plan().trainable_parameters))  # float32
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise FileError(
            f"{folder}: {free / 1e6:,.1f} MB are free, and a checkpoint with the trained model takes "
            f"{needed / 1e6:,.1f} MB; make room, or choose another output folder"
        )


def _finish(training: Training, base_model: str, files: Mapping[str, Sequence[Path]]) -> dict[str, float]:
    """Write the trained model into the folder itself, and the documents; its metrics."""
    folder, weights = training.checkpoints.folder, training.final_weights()
    metrics = training.evaluate()
    if not training.engine.settings.world.is_first:
        return metrics
    training.checkpoints.write_model(folder, weights)
    write_json(folder / RESULTS, {"step": training.final_step, **metrics})
    facts = run_facts(
        training.arguments,
        training.plan(),
        base_model=base_model,
        model_task=training.engine.model.task,
        main_metric=training.main_metric,
        files=files,
        examples=training.example_counts(),
        steps=training.step,
        metrics=metrics,
        accelerator=training.engine.accelerator,
    )
    write_documents(folder, facts, training.progress.history, training.arguments.certify)
    for report in training.reports:
        report.end(metrics)
    return metrics


def _remove_training(folder: Path) -> None:
    for step in saved_steps(folder):
        shutil.rmtree(folder / f"checkpoint-{step}")
    shutil.rmtree(folder / CURVES, ignore_errors=True)
    documents = [folder / name for name in (RESULTS, CARD_NAME, CURVES_NAME, CERTIFICATE_NAME)]
    for path in (*documents, *folder.glob("model*.safetensors*")):
        path.unlink(missing_ok=True)
    for made in (*(folder / CORPUS).glob("*-*"), folder / ANSWERS):
        remove_shards(made)
