# SPDX-License-Identifier: Apache-2.0
"""The same input through the same checkpoint in several frameworks: the results, and how far the numbers are apart.

Knows nothing of HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distilbert.backend import BACKENDS
from distilbert.errors import InputError
from distilbert.outputs import ModelOutput
from distilbert.pipelines import Pipeline
from distilbert.pipelines.jobs import Encoded, Job
from distilbert.serve.answers import plain
from distilbert.serve.checks import prepare
from distilbert.serve.settings import Settings

MOST_TOKENS = 1024
RUNS = 3  # of which the fastest counts, after one that is not counted


@dataclass(frozen=True)
class Run:
    """What a framework made of the input.

    Attributes:
        result: as the pipeline gives it, in plain Python values.
        answers: the model's own numbers for each sequence.
        seconds: of the model, without the tokenizer.
    """

    result: Any
    answers: list[ModelOutput]
    seconds: float


def compare(pipes: Sequence[Pipeline], inputs: Any, parameters: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """One input through pipelines that differ in nothing but the framework.

    Args:
        pipes: the first is what the others are compared with.
        inputs: one item, as the pipelines' calls take it.
        parameters: options of the call.
        settings: the limits, which hold for each framework.

    Returns:
        tokens: that the models read.
        backends: for each its name, title, version, result and seconds.
        difference: the largest one between a number of the first model and that of another, the largest number, and the
            name of the fields that they are in.
        same: whether the results are the same in all that is no fraction: labels, words, places in the text.

    Raises:
        InputError, ServeError: the input or an option is wrong, or takes or makes too much.
    """
    jobs = [_job(pipe, inputs, parameters, settings) for pipe in pipes]
    runs = [_run(pipe, job) for pipe, job in zip(pipes, jobs, strict=True)]
    first, *others = runs
    return {
        "tokens": jobs[0].tokens,
        "backends": [_described(pipe, run) for pipe, run in zip(pipes, runs, strict=True)],
        "difference": _difference(first, others),
        "same": all(_without_fractions(run.result) == _without_fractions(first.result) for run in others),
    }


def _job(pipe: Pipeline, inputs: Any, parameters: dict[str, Any], settings: Settings) -> Job:
    items, _ = pipe.items(inputs)
    if len(items) != 1:
        raise InputError(f"inputs: expected one input to compare, found {len(items)}")
    [job] = prepare(pipe, items, parameters, settings)
    if job.tokens > MOST_TOKENS:
        raise InputError(f"text: has {job.tokens} tokens; at most {MOST_TOKENS} are compared")
    return job


def _run(pipe: Pipeline, job: Job) -> Run:
    if not isinstance(job.encoded, Encoded):
        raise job.encoded
    encoded = job.encoded
    answers = list(pipe.fast.run(encoded.sequences, encoded.places))  # compiles, where the framework does
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        answers = list(pipe.fast.run(encoded.sequences, encoded.places))
        seconds.append(time.perf_counter() - start)
    return Run(plain(pipe.decode(job.item, encoded.context, answers, job.options)), answers, min(seconds))


def _described(pipe: Pipeline, run: Run) -> dict[str, Any]:
    backend = BACKENDS[pipe.fast.backend]  # of copies, which are never exported files
    return {
        "name": backend.name,
        "title": backend.title,
        "version": next(iter(backend.versions.values()), ""),
        "seconds": run.seconds,
        "result": run.result,
    }


def _difference(first: Run, others: Sequence[Run]) -> dict[str, Any]:
    pairs = [
        (np.asarray(mine, np.float64), np.asarray(theirs, np.float64))
        for other in others
        for answer, their_answer in zip(first.answers, other.answers, strict=True)
        for mine, theirs in zip(answer.values(), their_answer.values(), strict=True)
    ]
    return {
        "fields": list(first.answers[0]),
        "largest": max(float(np.abs(mine - theirs).max()) for mine, theirs in pairs),
        "scale": max(float(np.abs(mine).max()) for mine, _ in pairs),
    }


def _without_fractions(value: Any) -> Any:
    """A result with every float left out of the comparison."""
    if isinstance(value, dict):
        return {key: _without_fractions(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_fractions(entry) for entry in value]
    return None if isinstance(value, float) else value
