# SPDX-License-Identifier: Apache-2.0
"""Teacher and student as NumPy tensors: which layers, width and vocabulary the student has, and where from.

The teacher is any checkpoint the package reads, BERT included. What is written here is no file and no framework's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert import hub, spec
from distilbert.config import DistilBertConfig
from distilbert.convert import open_checkpoint
from distilbert.convert.bert import POOLED_TASKS
from distilbert.errors import InputError, describe
from distilbert.initialization import initial_tensors
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.training.distillation.recipe import DistillRecipe
from distilbert.training.distillation.vocabulary import kept_pieces, smaller_tokenizer, with_vocabulary
from distilbert.training.distillation.width import Tensors, narrowing
from distilbert.training.tasks.labels import SINGLE

_RATES = ("dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout")


@dataclass(frozen=True)
class Model:
    """A model as NumPy.

    Attributes:
        config: of it.
        task: of `spec.TASKS`.
        tensors: float32, by canonical name; all of the task's, but for the head where there is none.
    """

    config: DistilBertConfig
    task: str
    tensors: dict[str, NDArray[np.float32]]

    @property
    def absent(self) -> list[str]:
        """Names of the tensors that it lacks: those of its head, or none."""
        return [name for name in spec.tensors(self.config, self.task) if name not in self.tensors]

    def completed(self, seed: int) -> Model:
        """The same, with what it lacks drawn anew."""
        specs = spec.tensors(self.config, self.task)
        drawn = initial_tensors(self.config, [specs[name] for name in self.absent], seed)
        return Model(self.config, self.task, {**self.tensors, **drawn})


@dataclass(frozen=True)
class Prepared:
    """All that a distillation begins with.

    Attributes:
        tokenizer: of the student.
        teacher: of masked language modelling: with the student's vocabulary; without its head if it has none, so that
            it answers with hidden states alone. Of a task: as it is.
        teacher_tokenizer: the student's, or for a task the teacher's own.
        student: complete.
        coordinates: (d,) the teacher's coordinates that the student's hidden states are; None for all.
    """

    tokenizer: DistilBertTokenizer
    teacher: Model
    teacher_tokenizer: DistilBertTokenizer
    student: Model
    coordinates: NDArray[np.int64] | None


def prepare(recipe: DistillRecipe, count: Callable[[], NDArray[np.int64]] | None = None) -> Prepared:
    """Teacher and student of a recipe.

    Args:
        recipe: what the user asked for.
        count: (V,) how often the corpus has each piece of the teacher's tokenizer; needed with `vocab_size`, and called
            when all else fits together.

    Raises:
        InputError: lists what does not fit together.
        WeightsError, ConfigError, TokenizerError, FileError, HubError: the teacher or student cannot be read.
    """
    task = spec.find_task(recipe.task or "masked-lm").name
    teacher, tokenizer = read_model(recipe.teacher_name_or_path, task)
    if recipe.task is not None:
        _check_classes(recipe.teacher_name_or_path, teacher.config)
    if recipe.alpha_ce and teacher.absent:
        name = spec.TASKS[task].class_name
        raise InputError(
            f"{recipe.teacher_name_or_path}: lacks the head of {name}, so it has no answers to learn from; "
            "choose another teacher, or alpha_ce 0"
        )
    if recipe.max_seq_length > teacher.config.max_position_embeddings:
        most = teacher.config.max_position_embeddings
        raise InputError(f"max_seq_length: the teacher takes {most} tokens, found {recipe.max_seq_length}")
    if recipe.student_name_or_path is not None:
        return _with_own_student(recipe, teacher, tokenizer)
    source, smaller = teacher, tokenizer
    student, coordinates = make_student(recipe, source)
    if recipe.vocab_size is not None:
        if recipe.vocab_size > len(tokenizer):
            found = f"found {recipe.vocab_size:,}"
            raise InputError(f"vocab_size: the teacher's tokenizer has {len(tokenizer):,} pieces; {found}")
        if count is None:
            raise InputError("vocab_size: needs the counts of the pieces in the corpus")
        kept = kept_pieces(tokenizer, count(), recipe.vocab_size)
        source, smaller = _with_pieces(teacher, kept), smaller_tokenizer(tokenizer, kept)
        student, coordinates = make_student(recipe, source)
    if recipe.task is None:  # token by token, so both have to see the same tokens
        teacher, tokenizer = source, smaller
    return Prepared(smaller, teacher, tokenizer, _ready(student, recipe), coordinates)


def _check_classes(name: str, config: DistilBertConfig) -> None:
    """Raise InputError for a teacher whose answers are no choice of one class."""
    problems = []
    if config.problem_type not in (None, SINGLE):
        problems.append(f"problem_type: expected {SINGLE}, found {config.problem_type}")
    if config.num_labels < 2:
        problems.append(f"num_labels: expected at least 2, found {config.num_labels}")
    if problems:
        raise InputError(describe(f"{name}: is no teacher that chooses one of several classes", problems))


def read_model(name: str, task: str) -> tuple[Model, DistilBertTokenizer]:
    """A checkpoint as a model of a task, whose head alone may be missing, and its tokenizer."""
    path = hub.resolve(name)
    checkpoint = open_checkpoint(path)
    if task in POOLED_TASKS:
        checkpoint.check_head("fine-tune it with this package, and distil the result")
    checkpoint = checkpoint.with_settled_projector()
    found = checkpoint.fit(checkpoint.config, task)
    lacks_head = all(spec.is_head_tensor(tensor.name) for tensor in found.missing)
    if not found.is_exact and (found.unexpected or found.mismatched or found.not_float or not lacks_head):
        raise found.error(str(checkpoint.weights))
    whole_head = not found.missing
    tensors = {
        name: np.asarray(tensor.load(), np.float32)
        for name, tensor in found.tensors.items()
        if whole_head or not spec.is_head_tensor(name)
    }
    tokenizer = DistilBertTokenizer.from_pretrained(path if path.is_dir() else Path(path).parent)
    tokenizer.check_fits(checkpoint.config.vocab_size)
    return Model(checkpoint.config, task, tensors), tokenizer


def make_student(recipe: DistillRecipe, teacher: Model) -> tuple[Model, NDArray[np.int64] | None]:
    """The student of a teacher, without the head that the teacher lacks, and the coordinates that it keeps.

    Raises:
        InputError: a layer or size is not one that the teacher can give.
    """
    layers = chosen_layers(recipe.layer_numbers, teacher.config.n_layers)
    shallow = with_layers(teacher, layers)
    config = _narrower(recipe, shallow.config)
    if config is shallow.config:
        return shallow, None
    found = narrowing(shallow.config, config, teacher.task, shallow.tensors, recipe.width)
    tensors = found.apply(teacher.task, shallow.config, shallow.tensors)
    coordinates = found.coordinates if config.dim != shallow.config.dim else None
    return Model(config, teacher.task, tensors), coordinates


def chosen_layers(asked: Iterable[int] | None, count: int) -> tuple[int, ...]:
    """Which of a teacher's layers the student has: those asked for, or half of them evenly spaced with both ends.

    >>> chosen_layers(None, 12)
    (0, 2, 4, 7, 9, 11)
    """
    if asked is None:
        return tuple(int(layer) for layer in np.rint(np.linspace(0, count - 1, max(1, count // 2))))
    layers = tuple(asked)
    if layers[-1] >= count:
        raise InputError(f"layers: the teacher's are 0 to {count - 1}, found {','.join(map(str, layers))}")
    return layers


def with_layers(model: Model, layers: tuple[int, ...]) -> Model:
    """The model with some of its layers only."""
    places = {layer: place for place, layer in enumerate(layers)}
    tensors = {}
    for name, values in model.tensors.items():
        stem, found, rest = name.partition("transformer.layer.")
        number, _, inner = rest.partition(".")
        if not found:
            tensors[name] = values
        elif int(number) in places:
            tensors[f"{stem}{found}{places[int(number)]}.{inner}"] = values
    pruned = {places[layer]: heads for layer, heads in model.config.pruned_heads.items() if layer in places}
    return Model(model.config.replace(n_layers=len(layers), pruned_heads=pruned), model.task, tensors)


def _narrower(recipe: DistillRecipe, config: DistilBertConfig) -> DistilBertConfig:
    dim = recipe.dim or config.dim
    heads = recipe.n_heads or dim // config.head_dim
    if recipe.n_heads is None and dim % config.head_dim:
        raise InputError(f"n_heads: name it; dim {dim} is no multiple of the teacher's heads of {config.head_dim}")
    hidden = recipe.hidden_dim or round(config.hidden_dim * dim / config.dim)
    changes: dict[str, Any] = {"dim": dim, "n_heads": heads, "hidden_dim": hidden}
    if all(getattr(config, name) == value for name, value in changes.items()):
        return config
    if config.pruned_heads:
        raise InputError("student: the teacher has pruned heads; keep its dim, n_heads and hidden_dim")
    if dim != config.dim:
        changes["sinusoidal_pos_embds"] = False  # some of their columns are none, and have to be trained
    return config.replace(**changes)


def _with_own_student(recipe: DistillRecipe, teacher: Model, tokenizer: DistilBertTokenizer) -> Prepared:
    student, own = read_model(str(recipe.student_name_or_path), teacher.task)
    check = _token_problems if recipe.task is None else _label_problems
    problems = check(recipe, teacher, tokenizer, student, own)
    if recipe.max_seq_length > student.config.max_position_embeddings:
        most = student.config.max_position_embeddings
        problems.append(f"max_seq_length: it takes {most} tokens, found {recipe.max_seq_length}")
    if problems:
        raise InputError(describe(str(recipe.student_name_or_path), problems))
    if recipe.task is not None:
        config = student.config.replace(id2label=teacher.config.id2label)
        student = Model(config, student.task, student.tensors)
        return Prepared(own, teacher, tokenizer, _ready(student, recipe), None)
    vocabulary = tokenizer.get_vocab()
    pieces = sorted(own.get_vocab(), key=own.get_vocab().__getitem__)
    teacher = _with_pieces(teacher, np.asarray([vocabulary[piece] for piece in pieces], np.int64))
    student = _with_pieces(student, np.arange(len(pieces)))
    return Prepared(own, teacher, own, _ready(student, recipe), None)


def _token_problems(
    recipe: DistillRecipe, teacher: Model, tokenizer: DistilBertTokenizer, student: Model, own: DistilBertTokenizer
) -> list[str]:
    problems = []
    strange = sorted(own.get_vocab().keys() - tokenizer.get_vocab().keys())
    if strange:
        shown = ", ".join(map(repr, strange[:5]))
        problems.append(f"its tokenizer has {len(strange):,} pieces that are none of the teacher's: {shown}")
    if recipe.alpha_cos and student.config.dim != teacher.config.dim:
        widths = f"{teacher.config.dim} to {student.config.dim}"
        problems.append(
            f"alpha_cos: expected 0; which of the teacher's coordinates are its own, from {widths}, is not known"
        )
    return problems


def _label_problems(
    recipe: DistillRecipe, teacher: Model, tokenizer: DistilBertTokenizer, student: Model, own: DistilBertTokenizer
) -> list[str]:
    if student.absent or student.config.id2label == teacher.config.id2label:
        return []
    return [f"id2label: expected the teacher's {teacher.config.id2label}, found {student.config.id2label}"]


def _with_pieces(model: Model, kept: NDArray[np.int64]) -> Model:
    config, tensors = with_vocabulary(model.config, model.tensors, kept)
    narrowed: Tensors = tensors  # type: ignore[assignment]  # rows of float32 tables are float32
    return Model(config, model.task, dict(narrowed))


def _ready(student: Model, recipe: DistillRecipe) -> Model:
    """The student with a whole head and the dropout asked for."""
    changes: dict[str, Any] = {"architectures": (spec.TASKS[student.task].class_name,), "dtype": "float32"}
    if recipe.dropout is not None:
        changes |= dict.fromkeys(_RATES, recipe.dropout)
    return Model(student.config.replace(**changes), student.task, student.tensors).completed(recipe.seed)
