# SPDX-License-Identifier: Apache-2.0
"""The options that several pipelines have, and how each says what is wrong with its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from distilbert.pipelines.inputs import is_count
from distilbert.tokenizer.call_options import TRUNCATIONS


@dataclass(frozen=True)
class Options:
    """The arguments of a pipeline's calls, checked; each pipeline has its own.

    Attributes:
        batch_size: taken as transformers takes it, and without effect: the fast model packs texts by their tokens.
        num_workers: the same.
    """

    batch_size: int | None = None
    num_workers: int | None = None

    def problems(self) -> Iterator[str]:
        """What is wrong with the values."""
        return iter(())


@dataclass(frozen=True)
class TextOptions(Options):
    """How texts are cut, for pipelines that give each text to the model once.

    Attributes:
        truncation: True or `longest_first`, `only_first`, `only_second` to cut texts that are too long; with False they
            are refused. By default they are cut if `max_length` is given.
        max_length: in tokens, where they are cut; default what the model takes.
        padding: taken as transformers takes it, and without effect: the fast model needs none.
    """

    truncation: bool | str | None = None
    max_length: int | None = None
    padding: bool | str = False

    def problems(self) -> Iterator[str]:
        if not (self.truncation is None or isinstance(self.truncation, bool) or self.truncation in TRUNCATIONS):
            yield f"truncation: expected True, False or one of {', '.join(TRUNCATIONS)}; found {self.truncation!r}"
        if not (self.max_length is None or is_count(self.max_length)):
            yield f"max_length: expected a number of at least 1, found {self.max_length!r}"
