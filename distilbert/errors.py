# SPDX-License-Identifier: Apache-2.0
"""Every error this library raises on purpose. Each message says what was expected, what was found and what to do.

All share `DistilBertError`, so that the command line can print any of them as one message, and each is also the
built-in exception that code not written for this library would catch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class DistilBertError(Exception):
    """Base of all errors below; never raised itself."""


class ConfigError(DistilBertError, ValueError):
    """A configuration is wrong; lists every problem at once."""


class WeightsError(DistilBertError, ValueError):
    """A weights file is damaged, hostile, or does not fit the model."""


class TokenizerError(DistilBertError, ValueError):
    """A vocabulary or tokenizer file is wrong, or a text cannot be encoded as asked."""


class InputError(DistilBertError, ValueError):
    """The arguments of a model call are wrong (shapes, ranges, combinations)."""

    __init__ = Exception.__init__  # an error with another one leaves tf.function as TensorFlow's StagingError


class FileError(DistilBertError, OSError):
    """A file or folder is missing, of the wrong kind, too large, or in the way."""


class HubError(DistilBertError, OSError):
    """A repository, revision or file could not be fetched from the hub or found in its cache, or not be sent to it."""


class AnswerError(DistilBertError, ValueError):
    """A model answered with NaN or infinity, of which no result can be made."""


class QualityError(DistilBertError, ValueError):
    """A model in low precision answers worse than is allowed."""


class ParityError(DistilBertError, ValueError):
    """What was written gives other numbers than what it was made from."""


class TrainingError(DistilBertError, RuntimeError):
    """A training cannot go on: its loss is no number any more, or a process that took part is gone."""


class BackendError(DistilBertError, ImportError):
    """A framework is not installed, is unknown, or is set up in a way that cannot work."""


@contextmanager
def all_told() -> Iterator[list[DistilBertError]]:
    """Takes errors that are kept so that others are found too, and raises them as one in the end."""
    kept: list[DistilBertError] = []
    yield kept
    if len(kept) > 1:
        raise InputError("\n".join(map(str, kept)))
    if kept:
        raise kept[0]


def describe(title: str, problems: Sequence[str]) -> str:
    """One line for one problem, a list for several."""
    if len(problems) == 1:
        return f"{title}: {problems[0]}"
    return "\n".join([f"{title}: {len(problems)} problems", *(f"  - {problem}" for problem in problems)])
