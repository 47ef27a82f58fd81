# SPDX-License-Identifier: Apache-2.0
"""How good the entities in tagged sentences are: precision, recall and F1 of whole entities, as conlleval has them.

Tags are B-, I-, E-, S- with a kind, or O. An entity is right if kind, first and last word are. Sequences that no scheme
allows are read as conlleval and seqeval do by default: I- where no entity of its kind goes on begins one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

OUTSIDE = "O"


class Entity(NamedTuple):
    """Words `start` to `end` (exclusive) of a sentence."""

    sentence: int
    kind: str
    start: int
    end: int


def entity_scores(right: Iterable[Sequence[str]], answered: Iterable[Sequence[str]]) -> dict[str, float]:
    """`{"precision": ..., "recall": ..., "f1": ...}` over all sentences; 0 where there is nothing to divide by.

    Args:
        right: the tags of each sentence.
        answered: the tags that were answered, as many.
    """
    wanted, found = set(entities(right)), set(entities(answered))
    common = len(wanted & found)
    return {
        "precision": common / len(found) if found else 0.0,
        "recall": common / len(wanted) if wanted else 0.0,
        "f1": 2 * common / (len(wanted) + len(found)) if wanted or found else 0.0,
    }


def entities(sentences: Iterable[Sequence[str]]) -> list[Entity]:
    """The entities of tagged sentences, in order."""
    found = []
    for number, tags in enumerate(sentences):
        start, before, kind_before = 0, OUTSIDE, ""
        for place, tag in enumerate([*tags, OUTSIDE]):
            prefix, kind = _split(tag)
            begins = prefix in "BS" or before in "ESO" or kind != kind_before
            if before != OUTSIDE and (prefix == OUTSIDE or begins):
                found.append(Entity(number, kind_before, start, place))
            if begins:
                start = place
            before, kind_before = prefix, kind
    return found


def has_entities(names: Iterable[str]) -> bool:
    """Whether labels are tags of entities, as opposed to parts of speech, of which every word has one."""
    return any(name == OUTSIDE or _split(name)[1] != name for name in names)


def _split(tag: str) -> tuple[str, str]:
    """Prefix and kind; a tag without a prefix is inside of an entity of that kind."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, dash, kind = tag.partition("-")
    return (prefix, kind) if dash and prefix in ("B", "I", "E", "S") else ("I", tag)
