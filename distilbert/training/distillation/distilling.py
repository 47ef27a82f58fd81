# SPDX-License-Identifier: Apache-2.0
"""`distilbert.distill`: from a recipe to a student in a folder. Each stage goes on where a killed run left it."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert import backend as backends
from distilbert import hub, spec
from distilbert.config import DistilBertConfig
from distilbert.training.checkpoints import Checkpoints
from distilbert.training.distillation.batches import Distillation, TaskDistillation
from distilbert.training.distillation.cache import TeacherCache, cached_labels, model_digest
from distilbert.training.distillation.examples import CorpusExamples
from distilbert.training.distillation.recipe import DistillRecipe
from distilbert.training.distillation.stages import (
    count_pieces,
    loss_settings,
    open_cache,
    read_examples,
    text_files,
)
from distilbert.training.distillation.student import Model, Prepared, prepare
from distilbert.training.engine import Engine, World
from distilbert.training.loop import Training
from distilbert.training.output import (
    ANSWERS,
    Outcome,
    await_output,
    check_output,
    complete,
    data_reports,
    prepared_output,
    recipe_stamp,
)
from distilbert.training.reports import Report
from distilbert.training.reports.report import Tell
from distilbert.training.starting import check_evaluation, engine_of, engine_settings


def distill(recipe: DistillRecipe, reports: Sequence[Report] = ()) -> Outcome:
    """Make a student from a teacher and train it to answer alike.

    Args:
        recipe: teacher, student, text, and how.
        reports: who is told how it goes, besides those that the recipe names.

    Raises:
        InputError, FileError: the recipe, the text or the output folder cannot be used; lists all that is wrong.
        TrainingError: the loss is no number any more, or another process is gone.
        BackendError, WeightsError, ConfigError, TokenizerError, HubError: teacher or student cannot be loaded.
    """
    backend = backends.choose(recipe.backend)
    engine_class = engine_of(backend, "distill")
    stamp = recipe_stamp(recipe)
    world = engine_class.join()
    check_evaluation(recipe, recipe.validation_file or None)
    files = text_files(recipe)
    if world.is_first:
        names = [recipe.teacher_name_or_path, *filter(None, [recipe.student_name_or_path])]
        check_output(recipe, recipe.identity(world.size), [hub.resolve(name) for name in names])
    with prepared_output(recipe, world):
        await_output(recipe, world, stamp)
        return _distil(recipe, reports, engine_class, world, files)


def _distil(
    recipe: DistillRecipe,
    reports: Sequence[Report],
    engine_class: type[Engine],
    world: World,
    files: Mapping[str, Sequence[Path]],
) -> Outcome:
    """All that is done in the output folder."""
    backend = engine_class.backend

    def tell(what: str) -> None:
        for report in reports if world.is_first else ():
            report.preparing(what)

    prepared = prepare(recipe, lambda: count_pieces(recipe, tell))
    classes = prepared.teacher.config.id2label if recipe.task else None
    train = read_examples(recipe, "train", prepared.tokenizer, tell, classes)
    validation = None
    if recipe.validation_file:
        validation = read_examples(recipe, "validation", prepared.tokenizer, tell, classes)
    with engine_class.loading(recipe.bf16):
        task, objective = (_of_task if recipe.task else _of_text)(recipe, backend, prepared, train, tell)
        student = _model(backend, prepared.student)
    engine = engine_class(student, objective, engine_settings(recipe, student, world))
    checkpoints = Checkpoints(
        Path(recipe.output_dir),
        recipe.identity(world.size),
        student.config,
        student.task,
        prepared.tokenizer,
        recipe.save_total_limit,
    )
    with data_reports(recipe, world, reports) as told:
        training = Training(recipe, engine, task, train, validation, checkpoints, recipe.max_seq_length, told)
        return complete(training, recipe.teacher_name_or_path, files)


def _of_text(
    recipe: DistillRecipe, backend: str, prepared: Prepared, train: CorpusExamples, tell: Tell
) -> tuple[Distillation, Any]:
    """Masked language modelling: how batches are made, and the loss."""
    module, settings = importlib.import_module(f"distilbert.{backend}.distillation"), loss_settings(recipe)
    task = Distillation(recipe, prepared.tokenizer, train.counts)
    cache = open_cache(recipe, prepared, train, task)

    def teacher() -> Any:
        model = _model(backend, _as_asked(prepared.teacher, recipe))
        return module.Teacher(model, settings, prepared.coordinates)

    if cache is None:
        is_asked = bool(recipe.alpha_ce or recipe.alpha_cos)
        return task, module.DistillationObjective(settings, teacher() if is_asked else None)
    if not cache.shards.is_complete:
        _fill(cache, teacher, task, train, recipe.per_device_eval_batch_size, tell)
    task.cache = cache
    return task, module.DistillationObjective(settings, None)


def _fill(
    cache: TeacherCache,
    teacher: Callable[[], Any],
    task: Distillation,
    train: CorpusExamples,
    batch_size: int,
    tell: Tell,
) -> None:
    """Ask the teacher, if no other process has meanwhile."""
    with cache.shards.alone():
        if not cache.shards.is_complete:
            cache.build(teacher().ask, functools.partial(task.collate_for_cache, train), batch_size, tell)


def _of_task(
    recipe: DistillRecipe, backend: str, prepared: Prepared, train: CorpusExamples, tell: Tell
) -> tuple[TaskDistillation, Any]:
    """A task: how batches are made, and the loss. The teacher answers before the first step, once."""
    module = importlib.import_module(f"distilbert.{backend}.distillation")
    logits = np.zeros((len(train), prepared.teacher.config.num_labels), np.float32)  # which count for nothing
    if recipe.alpha_ce:
        logits = _teacher_logits(recipe, backend, prepared, tell)
    return TaskDistillation(recipe, logits), module.TaskDistillationObjective(loss_settings(recipe))


def _teacher_logits(recipe: DistillRecipe, backend: str, prepared: Prepared, tell: Tell) -> NDArray[np.float32]:
    """(N, L) the teacher's answers to all texts, in its own tokens."""
    texts = read_examples(recipe, "train", prepared.teacher_tokenizer, tell, prepared.teacher.config.id2label)
    folder = Path(recipe.teacher_cache or Path(recipe.output_dir) / ANSWERS)

    @functools.cache
    def fast() -> Any:
        return _model(backend, prepared.teacher).for_inference()

    def answer(sequences: Sequence[NDArray[np.int32]]) -> Iterator[NDArray[np.float32]]:
        return (found.logits for found in fast().run(sequence.tolist() for sequence in sequences))

    return cached_labels(folder, texts, answer, {"teacher": model_digest(prepared.teacher)}, tell=tell)


def _as_asked(teacher: Model, recipe: DistillRecipe) -> Model:
    """The teacher without a head where only its hidden states are asked for."""
    if recipe.alpha_ce:
        return teacher
    names = spec.tensors(teacher.config, "encoder")
    return Model(teacher.config, "encoder", {name: teacher.tensors[spec.PREFIX + name] for name in names})


def _model(backend: str, model: Model) -> Any:
    """A framework's model with these values."""
    model_class = getattr(backends.load(backend, "distill"), spec.TASKS[model.task].class_name)
    config: DistilBertConfig = model.config.replace(dtype="float32")
    made = model_class.empty(config, "float32")
    made.load_tensors(model.tensors)
    return made
