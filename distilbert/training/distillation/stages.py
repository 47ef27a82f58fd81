# SPDX-License-Identifier: Apache-2.0
"""From a recipe to what the parts of this folder take: the stages before the first step, in their order.

Each can be killed, and goes on where it was.

files = text_files(recipe)                          before anything is made
prepared = prepare(recipe, count)                   teacher and student; count_pieces where there is a vocab_size
train = read_examples(recipe, "train", prepared.tokenizer)
cache = open_cache(recipe, prepared, train, task)   where the recipe names a teacher_cache; then cache.build(...)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distilbert import hub
from distilbert.convert import open_checkpoint
from distilbert.errors import DistilBertError, FileError, InputError
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.training.distillation.batches import Distillation
from distilbert.training.distillation.cache import SHARD_TOKENS, CacheSettings, TeacherCache, model_digest
from distilbert.training.distillation.corpus import NO_LABEL, CorpusSettings, build_corpus, tokenizer_digest
from distilbert.training.distillation.examples import CorpusExamples
from distilbert.training.distillation.recipe import DistillRecipe
from distilbert.training.distillation.reference import LossSettings
from distilbert.training.distillation.student import Prepared
from distilbert.training.distillation.texts import find_texts, text_columns
from distilbert.training.output import CORPUS
from distilbert.training.reports.report import Tell


def loss_settings(recipe: DistillRecipe) -> LossSettings:
    """How the recipe puts the terms of the loss together."""
    return LossSettings(**{name: getattr(recipe, name) for name in LossSettings.__dataclass_fields__})


def text_files(recipe: DistillRecipe) -> dict[str, list[Path]]:
    """The files of each split that the recipe names; FileError lists what is wrong with the names."""
    names = {"train": recipe.corpus, "validation": recipe.validation_file}
    found: dict[str, list[Path]] = {}
    problems = []
    for split in [split for split, given in names.items() if given or split == "train"]:
        try:
            found[split] = find_texts(names[split], recipe.input_format)
        except DistilBertError as error:
            problems.append(str(error))
    if problems:
        raise FileError("\n".join(problems))
    return found


def count_pieces(recipe: DistillRecipe, tell: Tell) -> NDArray[np.int64]:
    """(V,) how often the corpus has each piece of the teacher's tokenizer."""
    source = hub.resolve(recipe.teacher_name_or_path)
    tokenizer = DistilBertTokenizer.from_pretrained(source if source.is_dir() else source.parent)
    classes = open_checkpoint(source).config.id2label if recipe.task else None
    return read_examples(recipe, "train", tokenizer, tell, classes).counts


def read_examples(
    recipe: DistillRecipe,
    part: str,
    tokenizer: DistilBertTokenizer,
    tell: Tell,
    classes: Mapping[int, str] | None = None,
) -> CorpusExamples:
    """The texts of a recipe, tokenised on disk once for every tokenizer.

    Args:
        recipe: what the user asked for.
        part: `train` or `validation`.
        tokenizer: whose tokens.
        tell: how far it is.
        classes: of a task, `id2label` of the teacher.

    Raises:
        InputError, FileError: with file and row.
    """
    training = part == "train"
    settings = CorpusSettings(
        way="texts" if recipe.task else "lines" if recipe.line_by_line else "runs",
        max_seq_length=recipe.max_seq_length,
        columns=text_columns(recipe.column),
        format=recipe.input_format,
        limit=recipe.max_train_samples if training else recipe.max_eval_samples,
        classes={name: number for number, name in (classes or {}).items()},
    )
    files = find_texts(recipe.corpus if training else recipe.validation_file, recipe.input_format)
    home = Path(recipe.corpus_folder or Path(recipe.output_dir) / CORPUS)
    folder = home / f"{part}-{tokenizer_digest(tokenizer)[:12]}"
    found = CorpusExamples(build_corpus(folder, files, tokenizer, settings, tell=tell), tokenizer)
    if found.labels is not None and (recipe.alpha_label or not training) and (found.labels == NO_LABEL).all():
        wanted = "alpha_label above 0 learns from labels" if training else "evaluation compares with labels"
        raise InputError(f"{files[0]}: {wanted}, and there are none; name their column, as in --column label=NAME")
    return found


def open_cache(
    recipe: DistillRecipe,
    prepared: Prepared,
    examples: CorpusExamples,
    task: Distillation,
    shard_tokens: int = SHARD_TOKENS,
) -> TeacherCache | None:
    """The cache that the recipe names, complete or not; None if it names none.

    Raises:
        InputError: its folder holds the answers of another teacher or to other texts, or there is nothing to keep.
    """
    if recipe.teacher_cache is None:
        return None
    if not recipe.alpha_ce and not recipe.alpha_cos:
        raise InputError("teacher_cache: alpha_ce and alpha_cos are 0, so the teacher is not asked anything")
    settings = CacheSettings(
        top_k=recipe.cache_top_k if recipe.alpha_ce else 0,
        masks=recipe.cache_masks,
        restrict_ce_to_mask=recipe.restrict_ce_to_mask,
        hidden=recipe.alpha_cos > 0,
        coordinates=prepared.coordinates,
        shard_tokens=shard_tokens,
    )
    identity = {"teacher": model_digest(prepared.teacher), **task.masking_identity()}
    size = prepared.teacher.config.vocab_size
    return TeacherCache(Path(recipe.teacher_cache), examples, settings, identity, size)
