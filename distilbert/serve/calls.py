# SPDX-License-Identifier: Apache-2.0
"""From what a request asks to the pipeline, through the queue, and back to the result."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any

from distilbert.errors import DistilBertError, InputError, TokenizerError
from distilbert.pipelines import Pipeline
from distilbert.pipelines.jobs import Job
from distilbert.pipelines.token_inputs import is_words
from distilbert.serve.answers import plain
from distilbert.serve.batching import Batcher
from distilbert.serve.checks import prepare, several
from distilbert.serve.errors import too_large
from distilbert.serve.models import Models
from distilbert.serve.settings import Settings


class Calls:
    """The models behind their queue.

    Attributes:
        models: that answer.
        batcher: the queue.
        settings: of the server.
    """

    def __init__(self, models: Models, batcher: Batcher, settings: Settings) -> None:
        self.models, self.batcher, self.settings = models, batcher, settings

    async def call(self, pipe: Pipeline, inputs: Any, parameters: dict[str, Any]) -> Any:
        """What `pipe(inputs, **parameters)` gives, as plain values.

        Raises:
            InputError, ServeError: inputs or parameters are wrong, or the model failed.
        """
        named = {name: value for name, value in parameters.items() if name in _arguments(type(pipe))}
        options = {name: value for name, value in parameters.items() if name not in named}
        items, is_single = pipe.items(_as_called(pipe, inputs, options), **named)
        results = await self.run(pipe, items, options)
        result = results[0] if is_single else results
        is_in_list = pipe.task == "text-classification" and isinstance(inputs, str) and "top_k" not in options
        return [result] if is_in_list else result

    async def run(self, pipe: Pipeline, items: Sequence[Any], options: dict[str, Any], extra: int = 0) -> list[Any]:
        """The result of each item, as plain values; see `count_and_run`."""
        _, results = await self.count_and_run(pipe, items, options, extra)
        return results

    async def count_and_run(
        self, pipe: Pipeline, items: Sequence[Any], options: dict[str, Any], extra: int = 0
    ) -> tuple[int, list[Any]]:
        """The number of tokens of all items, and the result of each.

        Args:
            pipe: the pipeline.
            items: as it takes them.
            options: of its call.
            extra: how many of the items are not counted, such as a query.

        Raises:
            InputError, TokenizerError, ServeError: items or options are wrong, or too many; or the model failed.
            Refused: the server is full, or ending.
        """
        self.check_count(len(items) - extra)
        tokens = 0

        def jobs_and_tokens() -> list[Job]:
            nonlocal tokens
            jobs = prepare(pipe, items, options, self.settings)
            tokens = sum(job.tokens for job in jobs)
            return jobs

        results = await self.batcher.run(pipe, len(items), jobs_and_tokens)
        _check_results(results)
        return tokens, [plain(result) for result in results]

    def check_count(self, count: int) -> None:
        """Raise ServeError (413) for more inputs than a request may have, or none."""
        most = self.settings.max_client_batch_size
        if not 1 <= count <= most:
            raise too_large(f"inputs: expected from 1 to {most}, found {count or 'none'}")


@functools.cache
def _arguments(kind: type[Pipeline]) -> set[str]:
    """What a pipeline takes by name beside its inputs and options, as `choices`."""
    parameters = inspect.signature(kind.items).parameters.values()
    return {one.name for one in parameters if one.kind is not one.VAR_POSITIONAL} - {"self", "inputs"}


def _as_called(pipe: Pipeline, inputs: Any, options: dict[str, Any]) -> Any:
    """A list of words, where a text may be one, is a single text."""
    if pipe.task != "token-classification" or not isinstance(inputs, list):
        return inputs
    is_split = options.get("is_split_into_words")
    is_split = getattr(pipe.defaults, "is_split_into_words", False) if is_split is None else is_split
    return [inputs] if is_split and not all(map(is_words, inputs)) else inputs


def _check_results(results: Sequence[Any]) -> None:
    """Raise for results that are exceptions."""
    failed = [(place, result) for place, result in enumerate(results) if isinstance(result, Exception)]
    if not failed:
        return
    if all(isinstance(error, InputError | TokenizerError) for _, error in failed):
        raise several(422, "validation", failed)
    raise several(424, "backend", [(place, _said(error)) for place, error in failed])


def _said(error: Exception) -> str:
    """What is said of an error: what others than ours say may be about the inside of the server."""
    return str(error) if isinstance(error, DistilBertError) else f"the model failed ({type(error).__name__})"
