# SPDX-License-Identifier: Apache-2.0
"""The model card of the source: its text, its front matter, and the licence that it states."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distilbert.checkpoint_files import CARD_FILE
from distilbert.errors import FileError
from distilbert.files import JSON_LIMIT, check_inside, read_text
from distilbert.yaml_text import parse_yaml

_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?\n|)---[ \t]*(?:\n|\Z)", re.S)


@dataclass(frozen=True)
class SourceCard:
    """A card, or what stands for one where there is none: no text.

    Attributes:
        front: the text of the front matter, without its lines of dashes; None if there is none.
        body: the text after it.
        fields: what the front matter says; empty if it is no YAML.
        at_hand: False where it is not known whether there is a card, for the hub could not be asked.
    """

    front: str | None = None
    body: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    at_hand: bool = True

    @property
    def licence(self) -> str | None:
        """What the front matter states, word for word; with the name and link of one that the hub has no word for."""
        stated = [self.fields.get(name) for name in ("license", "license_name", "license_link")]
        texts = [", ".join(map(str, one)) if isinstance(one, list) else str(one) for one in stated if one]
        return ", ".join(texts) if stated[0] else None


def read_card(folder: Path) -> SourceCard:
    """The card in a folder; one with a front matter that is no YAML is taken as it is, with a warning.

    Raises:
        FileError: it is no text, far too long, or a link to elsewhere.
    """
    path = folder / CARD_FILE
    if not path.exists():
        return SourceCard()
    check_inside(folder, CARD_FILE)
    text = read_text(path, JSON_LIMIT).replace("\r\n", "\n")
    found = _FRONT_MATTER.match(text)
    if found is None:
        return SourceCard(body=text)
    try:
        fields = parse_yaml(found[1], str(path))
    except FileError as error:
        warnings.warn(f"{error}; the front matter is kept as it is, and nothing is read from it", stacklevel=3)
        fields = {}
    return SourceCard(found[1], text[found.end() :], fields if isinstance(fields, dict) else {})
