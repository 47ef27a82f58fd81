# SPDX-License-Identifier: Apache-2.0
"""What all pipelines have in common: from texts to token ids, through the fast model, to answers a person can read.

Framework-free: a fast model of any framework answers in NumPy, and what is made of its answers is written once.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from distilbert import spec
from distilbert.config import DistilBertConfig
from distilbert.errors import AnswerError, DistilBertError, InputError, describe
from distilbert.inference.fast_model import FastModel
from distilbert.inference.streaming import windows
from distilbert.outputs import ModelOutput
from distilbert.pipelines.inputs import Pair, chunks
from distilbert.pipelines.jobs import Encoded, Job
from distilbert.pipelines.options import Options
from distilbert.tokenizer import DistilBertTokenizer

# What is tokenised together: the tokenizer is fast with many texts, and takes some 200 bytes for each character.
CHUNK = 256  # items
CHARACTERS = 2**18


class Pipeline(ABC):
    """A task from text to answer. Made by `distilbert.pipeline`.

    Attributes:
        task: its name.
        fast: the model.
        tokenizer: of the model.
        config: of the model.
        defaults: options of calls that do not say otherwise.
    """

    task: ClassVar[str]
    model_task: ClassVar[str]
    options_class: ClassVar[type[Options]] = Options

    def __init__(
        self, fast: FastModel, tokenizer: DistilBertTokenizer, folder: Path | None = None, **options: Any
    ) -> None:
        """Check that model, tokenizer and options go with the task and with each other.

        Args:
            fast: the model.
            tokenizer: of the model.
            folder: of the checkpoint, for tasks that read more of its files.
            options: defaults of the calls.

        Raises:
            InputError, TokenizerError: they do not.
        """
        self.check_model(fast)
        tokenizer.check_fits(fast.config.vocab_size)
        self.fast = fast
        self.tokenizer = tokenizer
        self.config: DistilBertConfig = fast.config
        self.max_length = min(tokenizer.model_max_length, self.config.max_position_embeddings)
        self.defaults = self.check(self.options_class(), options)

    # Written by each task.

    @abstractmethod
    def items(self, *arguments: Any, **named: Any) -> tuple[list[Any], bool]:
        """The items of a call's inputs, and whether it was a single one.

        Raises:
            InputError: the inputs are of no form that the task knows.
        """

    @abstractmethod
    def encode(self, items: Sequence[Any], options: Any) -> list[Encoded]:
        """Items as token ids.

        Raises:
            InputError, TokenizerError: one of them cannot be encoded.
        """

    @abstractmethod
    def decode(self, item: Any, context: Any, answers: Sequence[ModelOutput], options: Any) -> Any:
        """The result for an item, from the model's answer for each of its sequences, as plain Python values."""

    # Calling.

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """The result for one item, or the list of results for a list of them.

        Args:
            inputs: what the task takes; each pipeline says what that is.
            named: inputs by name, and options of this call.

        Raises:
            InputError: the inputs or options are wrong.
        """
        signature = inspect.signature(self.items)
        takes_any = any(taken.kind is taken.VAR_KEYWORD for taken in signature.parameters.values())
        known = {entry.name for entry in fields(self.defaults)}
        by_name = {name for name in named if name in signature.parameters or (takes_any and name not in known)}
        arguments = {name: named[name] for name in by_name}
        chosen = self.check(self.defaults, {name: value for name, value in named.items() if name not in by_name})
        try:
            signature.bind(*inputs, **arguments)
        except TypeError as error:
            raise InputError(f"{self.task}: {error}") from None
        items, single = self.items(*inputs, **arguments)
        results = list(self._results(items, chosen, keep_errors=False))
        return results[0] if single else results

    def stream(self, items: Iterable[Any], *, keep_errors: bool = False, **options: Any) -> Iterator[Any]:
        """Results for a stream of items of any length, in their order, with bounded memory.

        Args:
            items: as the task's calls take them, one at a time.
            keep_errors: give the error in place of the result where an item cannot be worked on; by default raise it.
            options: as for a call.

        Raises:
            InputError: an option is unknown or wrong; or an item is, then named by its number.
        """
        return self._results(items, self.check(self.defaults, options), keep_errors)

    def prepare(self, items: Sequence[Any], options: Any) -> list[Job]:
        """Items ready for the model. Each goes its own way from here: jobs of several calls may be answered together.

        Args:
            items: as the task's calls take them; an error in the place of one stays what it is.
            options: what `check` gave.
        """
        if any(isinstance(item, DistilBertError) for item in items):
            sound = iter(self.prepare([item for item in items if not isinstance(item, DistilBertError)], options))
            return [Job(item, item, options) if isinstance(item, DistilBertError) else next(sound) for item in items]
        try:
            encoded = self.encode(items, options) if items else []
        except DistilBertError as error:
            if len(items) <= 1:
                return [Job(item, error, options) for item in items]
            middle = len(items) // 2  # in halves, until the one is found that is to blame
            return self.prepare(items[:middle], options) + self.prepare(items[middle:], options)
        return [Job(item, found, options) for item, found in zip(items, encoded, strict=True)]

    def answer(self, jobs: Sequence[Job]) -> Iterator[Any]:
        """The result of each job, in their order; its error where it has none.

        That is the one with which it could not be prepared, or AnswerError where the model answered with NaN.
        """
        encoded = [job.encoded for job in jobs if isinstance(job.encoded, Encoded)]
        places = [chosen for found in encoded for chosen in found.places or ()]
        answers = self.fast.run((ids for found in encoded for ids in found.sequences), places or None)
        for job in jobs:
            if isinstance(job.encoded, Encoded):
                found = list(islice(answers, len(job.encoded.sequences)))
                yield self._result(job.item, job.encoded, found, job.options)
            else:
                yield job.encoded

    @classmethod
    def parse(cls, options: Any, changes: dict[str, Any]) -> Any:
        """Options with changes, checked as far as that takes no model.

        Raises:
            InputError: lists those that are unknown and values that are wrong.
        """
        known = [entry.name for entry in fields(options)]
        unknown = [name for name in changes if name not in known]
        changed = replace(options, **{name: value for name, value in changes.items() if name in known})
        problems = [f"{', '.join(unknown)}: unknown; expected {', '.join(known)}"] if unknown else []
        problems += changed.problems()
        if problems:
            raise InputError(describe(f"{cls.task} options", problems))
        return changed

    def check(self, options: Any, changes: dict[str, Any]) -> Any:
        """Options with changes, checked by themselves and against the model.

        Raises:
            InputError: lists what is wrong.
        """
        return self.parse(options, changes)

    def warm_up(self) -> None:
        """Do ahead what the first calls would have to do; see `FastModel.warm_up`."""
        self.fast.warm_up()

    # For the tasks.

    @classmethod
    def check_model(cls, model: Any) -> None:
        """Raise InputError for a model of another task."""
        if model.task != cls.model_task:
            wanted, found = (spec.TASKS[task].class_name for task in (cls.model_task, model.task))
            raise InputError(f"{cls.task}: expected a {wanted}, found a {found}")

    def ids(
        self, pairs: Sequence[Pair], truncation: bool | str | None = None, max_length: int | None = None
    ) -> list[list[int]]:
        """Token ids of texts or pairs of texts.

        Args:
            pairs: each a text, and a second one or None.
            truncation: how texts that are too long are cut, if they are; None to cut them if `max_length` is given.
            max_length: in tokens, where they are cut; default what model and tokenizer take.

        Raises:
            InputError: a text is longer than the model takes, and not to be cut.
            TokenizerError: a text cannot be encoded, or not be cut in this way.
        """
        rows = [text if second is None else (text, second) for text, second in pairs]
        truncation = max_length is not None if truncation is None else truncation
        limit = min(max_length or self.max_length, self.max_length) if truncation else None
        ids: list[list[int]] = self.tokenizer.batch_encode_plus(
            rows,
            truncation=truncation,
            max_length=limit,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        longest, most = max(map(len, ids), default=0), self.config.max_position_embeddings
        if longest > most:
            raise InputError(f"text: has {longest} tokens, the model takes {most}; use truncation=True")
        return ids

    # Used above.

    def _result(self, item: Any, encoded: Encoded, answers: Sequence[ModelOutput], options: Any) -> Any:
        if all(np.isfinite(numbers).all() for answer in answers for numbers in answer.values()):
            return self.decode(item, encoded.context, answers, options)
        return AnswerError("the model's answer has numbers that are not finite (NaN or infinity)")

    def _results(self, items: Iterable[Any], options: Any, keep_errors: bool) -> Iterator[Any]:
        jobs = windows(self._jobs(items, options, keep_errors), self.fast)
        for number, result in enumerate(result for window in jobs for result in self.answer(window)):
            if isinstance(result, DistilBertError) and not keep_errors:
                raise AnswerError(f"input {number}: {result}")
            yield result

    def _jobs(self, items: Iterable[Any], options: Any, keep_errors: bool) -> Iterator[Job]:
        jobs = (job for chunk in chunks(items, CHUNK, CHARACTERS) for job in self.prepare(chunk, options))
        for number, job in enumerate(jobs):
            if isinstance(job.encoded, DistilBertError) and not keep_errors:
                raise InputError(f"input {number}: {job.encoded}") from None
            yield job
