# SPDX-License-Identifier: Apache-2.0
"""What is known of a rescue when it is done, as plain data. How it is told is in `card.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from distilbert.convert import Conversion
from distilbert.parity import Report


@dataclass(frozen=True)
class Origin:
    """Where a model was, as far as a reader may know: folders of a disk are not told.

    Attributes:
        name: `org/name` or `org/name@revision` on the hub, or the last part of a path.
        commit: of the repository; None for a folder or file.
    """

    name: str
    commit: str | None

    def __str__(self) -> str:
        return f"{self.name} (commit {self.commit})" if self.commit else self.name


@dataclass(frozen=True)
class Rescue:
    """What a rescue read and wrote.

    Attributes:
        folder: that was written.
        name: of the model in its card.
        origin: where it came from.
        conversion: what was done to the weights, all of them compared bit by bit.
        left_out: fields of the source's config.json that say nothing of the model.
        tokenizer: files of the source that the tokenizer was read from; empty if there were none.
        licence: what the front matter of the source's card states, word for word; None if it states none.
        licence_files: taken along as they are.
        files: names of all that was written.
        report: the comparison of the result with the source, and of the frameworks.
    """

    folder: Path
    name: str
    origin: Origin
    conversion: Conversion
    left_out: tuple[str, ...]
    tokenizer: tuple[str, ...]
    licence: str | None
    licence_files: tuple[str, ...]
    files: tuple[str, ...]
    report: Report
