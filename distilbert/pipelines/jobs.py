# SPDX-License-Identifier: Apache-2.0
"""Items on their way through the model: as token ids, with all that is needed to make results of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distilbert.errors import DistilBertError
from distilbert.pipelines.inputs import characters


@dataclass(frozen=True)
class Encoded:
    """An item ready for the model.

    Attributes:
        sequences: token ids of its texts or windows; for multiple choice one list of such lists.
        context: what `decode` needs to know about them.
        places: for masked-lm the tokens of each sequence that the model is to answer for; default all.
    """

    sequences: Sequence[Any]
    context: Any = None
    places: Sequence[Sequence[int]] | None = None

    @property
    def tokens(self) -> int:
        """What the model has to read."""
        return sum(len(ids) if not ids or isinstance(ids[0], int) else sum(map(len, ids)) for ids in self.sequences)

    @property
    def answers(self) -> int:
        """For how many tokens the model has to answer."""
        return self.tokens if self.places is None else sum(map(len, self.places))


@dataclass(frozen=True)
class Job:
    """An item of a call, ready for the model.

    Attributes:
        item: as it was given.
        encoded: the same for the model, or why that cannot be.
        options: of the call.
    """

    item: Any
    encoded: Encoded | DistilBertError
    options: Any

    @property
    def tokens(self) -> int:
        """What the model has to read; an error counts as if it had, so that its item is not kept for nothing."""
        return self.encoded.tokens if isinstance(self.encoded, Encoded) else 1 + characters(self.item) // 4

    @property
    def answers(self) -> int:
        """For how many tokens the model has to answer."""
        return self.encoded.answers if isinstance(self.encoded, Encoded) else 0
