# SPDX-License-Identifier: Apache-2.0
"""`distilbert.prune`: a trained model without its least important attention heads, as a folder of its own."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilbert import backend as backends
from distilbert import spec, surgery
from distilbert.convert import StoredTensor, write_checkpoint
from distilbert.convert.tokenizer_files import check_tokenizer, copy_tokenizer
from distilbert.convert.writing import find_format
from distilbert.errors import QualityError
from distilbert.files import check_new_folder, staged_folder
from distilbert.pruning.choosing import Heads, head_count, least_important, round_counts, together
from distilbert.pruning.data import LabelledData, read_data
from distilbert.pruning.importance import HeadImportance, HeadScorer
from distilbert.pruning.recipe import PruneRecipe
from distilbert.trained.data import main_metric, points
from distilbert.trained.recipe import Files, Tell, listed
from distilbert.trained.source import Source, read_source
from distilbert.training.engine import World
from distilbert.training.evaluation import evaluate
from distilbert.training.starting import engine_of, engine_settings

FORMAT = "safetensors"


@dataclass(frozen=True)
class Measured:
    """What a model is before or after.

    Attributes:
        heads, parameters: how many it has.
        nbytes: of its weights.
        metrics: by name; empty without data to evaluate on.
    """

    heads: int
    parameters: int
    nbytes: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Pruned:
    """What came of pruning.

    Attributes:
        output: the folder with the pruned model.
        importance: of the heads before, by which those of the first round were chosen.
        heads: what was pruned now, by layer.
        metric: the one that counts; "" without data to evaluate on.
        before, after: the model.
    """

    output: Path
    importance: HeadImportance
    heads: Heads
    metric: str
    before: Measured
    after: Measured


def prune(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    data: Files,
    *,
    heads: int | None = None,
    fraction: float | None = None,
    **options: Any,
) -> Pruned:
    """Prune the attention heads that a trained model needs least for its task.

    Args:
        source: folder or hub repository of the model, in any format.
        target: new or empty folder for the pruned one: config, model.safetensors and tokenizer. It appears whole, or
            not at all.
        data: files with labelled examples, as `distilbert finetune` reads them; by these heads are scored.
        heads: how many to prune, or
        fraction: the same as a share of the heads that are there.
        options: `validation_file` (evaluate on these before and after), `max_drop` (write nothing where more points of
            the task's metric are lost), `rounds`, `backend`, `column` and what else `distilbert prune --help` lists.

    Raises:
        QualityError: more than `max_drop` points are lost.
        InputError, FileError: an option or the data cannot be used; lists all that is wrong.
        AnswerError: the derivatives are NaN or infinite.
        BackendError, WeightsError, ConfigError, TokenizerError, HubError: the model cannot be loaded.
    """
    given = {"model": str(source), "output": str(target), "train": listed(data), "heads": heads, "fraction": fraction}
    return run(PruneRecipe.from_dict({**given, **options}))


def run(recipe: PruneRecipe, tell: Tell = lambda step: None) -> Pruned:
    """`prune` by a recipe; `tell` hears what is being done at the moment."""
    target = Path(recipe.output_dir)
    check_new_folder(target)
    backend = backends.choose(recipe.backend)
    source = read_source(recipe.model_name_or_path, recipe.task)
    count = head_count(source.config, recipe.heads, recipe.fraction)
    if source.checkpoint is not None:
        check_tokenizer(source.checkpoint)
    tell("reading data")
    data = read_data(recipe, source)
    tell("evaluating")
    before = measure(source, data, backend)
    scorer = HeadScorer(source, data, backend, recipe.normalize)
    rounds = round_counts(count, recipe.rounds)
    found: list[HeadImportance] = []
    gone: Heads = dict(source.config.pruned_heads)
    for number, part in enumerate(rounds, 1):
        tell(f"scoring heads, round {number} of {len(rounds)}")
        found.append(scorer.importance(gone))
        gone = together(gone, least_important(found[-1], part))
    chosen = without(gone, source.config.pruned_heads)
    with staged_folder(target) as staging:
        write_pruned(source, chosen, staging)
        tell("evaluating the pruned model")
        after = measure(read_source(staging, source.task), data, backend)
        metric = check_drop(recipe, data, before, after)
    return Pruned(target, found[0], chosen, metric, before, after)


def write_pruned(source: Source, heads: Heads, folder: Path) -> None:
    """Write a checkpoint of the model without some heads; all numbers that are left keep their bits."""
    config, tensors = surgery.prune_heads(source.config, source.task, source.tensors, heads)
    stored = {name: StoredTensor.of(name, values) for name, values in tensors.items()}
    config = config.replace(architectures=(spec.TASKS[source.task].class_name,))
    write_checkpoint(folder, config, source.task, stored, format=FORMAT)
    if source.checkpoint is not None:
        copy_tokenizer(source.checkpoint, folder, find_format(FORMAT))


def measure(source: Source, data: LabelledData, backend: str) -> Measured:
    """A model's size, and its metrics as `distilbert finetune` would have them in the end."""
    tensors = source.tensors.values()
    return Measured(
        heads=sum(source.config.heads_in_layer(layer) for layer in range(source.config.n_layers)),
        parameters=sum(values.size for values in tensors),
        nbytes=sum(values.nbytes for values in tensors),
        metrics={} if data.validation is None else metrics(source, data, backend),
    )


def metrics(source: Source, data: LabelledData, backend: str) -> dict[str, float]:
    """The loss and the task's metrics on the data to evaluate on."""
    model = source.model(backend)
    engine_class = engine_of(backend, "prune")
    config = model.config.replace(problem_type=data.problem_type)
    objective = importlib.import_module(f"distilbert.{backend}.objectives").TaskObjective(config, source.task, 0.0)
    engine = engine_class(model, objective, engine_settings(data.recipe, model, World()))
    size, multiple = data.recipe.per_device_eval_batch_size, data.recipe.pad_to_multiple_of
    try:
        found = evaluate(engine, data.task, data.validation, size, multiple, data.task.max_length)
    finally:
        engine.close()
    return {name.removeprefix("eval_"): value for name, value in found.items()}


def check_drop(recipe: PruneRecipe, data: LabelledData, before: Measured, after: Measured) -> str:
    """The name of the metric that counts; QualityError where it has lost more points than it may."""
    if not before.metrics:
        return ""
    metric = main_metric(data.task)
    drop = points(data.task, metric, before.metrics) - points(data.task, metric, after.metrics)
    if recipe.max_drop is not None and not drop <= recipe.max_drop:  # a NaN cannot pass
        raise QualityError(
            f"{recipe.output_dir}: not written: expected to lose at most {recipe.max_drop:g} points of {metric} with "
            f"{before.heads - after.heads} heads, found {drop:.2f} ({before.metrics[metric]:.4f} to "
            f"{after.metrics[metric]:.4f}); prune fewer heads, train the pruned model on, or raise max_drop"
        )
    return metric


def without(heads: Mapping[int, tuple[int, ...]], old: Mapping[int, tuple[int, ...]]) -> Heads:
    """The heads that are not among the old ones."""
    left = {layer: tuple(head for head in row if head not in old.get(layer, ())) for layer, row in heads.items()}
    return {layer: row for layer, row in left.items() if row}
