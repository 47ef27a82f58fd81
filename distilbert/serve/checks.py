# SPDX-License-Identifier: Apache-2.0
"""From inputs to jobs for the model, but for those that would cost too much.

All of it is known before the model works: what the tokenizer reads, what the model reads, what the answer would hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distilbert.errors import DistilBertError, InputError, TokenizerError, describe
from distilbert.pipelines import Pipeline
from distilbert.pipelines.inputs import characters
from distilbert.pipelines.jobs import Encoded, Job
from distilbert.serve.errors import MOST_PROBLEMS, ServeError, too_large
from distilbert.serve.settings import Settings

_FIELDS = 4  # of an answer to a question, beside its words
_LONG = 16  # characters; a token that has more counts as several, for its text may be as long as the request


def prepare(pipe: Pipeline, items: Sequence[Any], parameters: dict[str, Any], settings: Settings) -> list[Job]:
    """Jobs that can be worked on.

    Args:
        pipe: the pipeline.
        items: as it takes them.
        parameters: options of its call.
        settings: the limits.

    Raises:
        InputError: an option is wrong.
        ServeError: an item is (422), or takes or makes more than is allowed (413).
    """
    if parameters.get("return_tensors"):
        raise InputError("return_tensors: the answer is JSON, tensors cannot be in it")
    options = pipe.check(pipe.defaults, parameters) if parameters else pipe.defaults
    _check_texts(pipe, items, options, settings)
    jobs = pipe.prepare(items, options)
    _check_jobs(pipe, jobs, settings)
    return jobs


def _check_texts(pipe: Pipeline, items: Sequence[Any], options: Any, settings: Settings) -> None:
    """Raise ServeError (413) for texts that a small request makes large ones of."""
    found, most = sum(_read(pipe, item, options) for item in items), settings.max_body_bytes
    if found > most:
        limit = f"expected at most {most} characters to read, of what is read several times all of them"
        raise too_large(f"inputs: {limit}; found {found}")


def _read(pipe: Pipeline, item: Any, options: Any) -> int:
    """How many characters of an item the tokenizer reads, and the pipeline makes texts of."""
    count = characters(item)
    if pipe.task == "multiple-choice" and isinstance(item, Mapping):  # the prompt, with each choice
        prompt, choices = item.get("prompt"), item.get("choices")
        count += len(prompt) * len(choices) if isinstance(prompt, str) and isinstance(choices, list) else 0
    elif pipe.task == "sentence-embedding":
        count += len(options.prompt or "")
    elif pipe.task == "token-classification":
        text, offsets = (item.get("text"), item.get("offset_mapping")) if isinstance(item, Mapping) else (item, None)
        count += len(options.delimiter) * len(text) if isinstance(text, list) else 0
        count += sum(map(_width, offsets)) if isinstance(offsets, list) else 0
        if options.stride is not None:  # each window repeats so much of the one before
            length = min(options.max_length or pipe.max_length, pipe.max_length)
            new = length - pipe.tokenizer.num_special_tokens_to_add() - options.stride
            count = count * length // max(1, new)
    return count


def _width(pair: Any) -> int:
    """Characters from the start to the end that somebody gives for a token; 0 for what is no such pair."""
    is_pair = isinstance(pair, list) and len(pair) == 2 and all(isinstance(place, int) for place in pair)
    return max(0, pair[1] - pair[0]) if is_pair else 0


def _check_jobs(pipe: Pipeline, jobs: Sequence[Job], settings: Settings) -> None:
    """Raise ServeError for jobs that cannot be worked on (422), or would hold up all others (413)."""
    bad = [(place, job.encoded) for place, job in enumerate(jobs) if isinstance(job.encoded, DistilBertError)]
    if bad:
        kind = "tokenizer" if any(isinstance(error, TokenizerError) for _, error in bad) else "validation"
        raise several(422, kind, bad)
    most = settings.max_batch_tokens
    long = [(place, job.tokens) for place, job in enumerate(jobs) if job.tokens > most]
    if long:
        raise several(413, "validation", [(at, f"expected at most {most} tokens, found {n}") for at, n in long])
    check_values(sum(_values(pipe, job) for job in jobs), settings)


def check_values(count: int, settings: Settings) -> None:
    """Raise ServeError (413) for an answer of too many values."""
    most = settings.max_answer_values
    if count > most:
        raise too_large(f"the answer: expected at most {most} values, would have {count}; ask for less at a time")


def several(status: int, kind: str, problems: Sequence[tuple[int, Any]]) -> ServeError:
    """One error for what is wrong with some inputs, each named by its number."""
    lines = [f"input {place}: {problem}" for place, problem in problems[:MOST_PROBLEMS]]
    if len(problems) > MOST_PROBLEMS:
        lines.append(f"and {len(problems) - MOST_PROBLEMS} more")
    return ServeError(status, kind, describe("inputs", lines))


def _values(pipe: Pipeline, job: Job) -> int:
    """How many values are made for a result, where these can be many more than the tokens that the model reads."""
    if not isinstance(job.encoded, Encoded):
        return 0
    if pipe.task == "feature-extraction":
        return job.tokens * int(pipe.config.dim)
    if pipe.task == "fill-mask":  # each word for each mask comes with the whole text
        ids: list[int] = job.encoded.sequences[0]
        words = min(job.options.top_k or 5, pipe.config.vocab_size)
        return ids.count(pipe.tokenizer.mask_token_id or 0) * int(words) * len(ids)
    if pipe.task == "question-answering":
        return sum(_of_window(window.offsets, job.options) for window in job.encoded.context)
    return 0


def _of_window(offsets: Sequence[tuple[int, int]], options: Any) -> int:
    """Values of all spans of a window that the pipeline looks at: their fields, and as many tokens as they may have."""
    sizes = [1 + (end - start) // _LONG for start, end in offsets]
    width = min(options.max_answer_len, len(sizes))
    spans = min(2 * options.top_k + 10, width * len(sizes))  # more than are asked for: some are the same words
    return int(spans * (_FIELDS + min(width * max(sizes), sum(sizes))))
