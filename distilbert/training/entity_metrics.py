# SPDX-License-Identifier: Apache-2.0
"""How good the entities in tagged sentences are: precision, recall and F1 of whole entities, as seqeval has them.

A tag is a prefix, a dash and the kind of the entity, or a prefix alone (kind `_`). An entity is right if kind, first
and last word are. The rules are those of seqeval's default mode, which are conlleval's: B and S begin an entity, E and
S end one, O is outside, and I where no entity of its kind goes on begins one. Other prefixes, as M of BMES and L and U
of BILOU, begin or end one only where the kind changes. So of two entities of one kind that touch the first is lost in
`L- B-`, and `U- U-` are one: numbers that are compared with seqeval's have to have it so.

A tag of several letters without a dash, as PER, is inside of an entity of that kind (seqeval, which refuses or
misreads such tags, would take P for a prefix).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

OUTSIDE = "O"
NO_KIND = "_"
_PREFIXES = "BIOESMLU"  # those that can stand alone


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
        start, before = 0, _Tag(OUTSIDE, NO_KIND)
        for place, tag in enumerate(map(_split, [*tags, OUTSIDE])):
            if _ends(before, tag):
                found.append(Entity(number, before.kind, start, place))
            if _begins(before, tag):
                start = place
            before = tag
    return found


def has_entities(names: Iterable[str]) -> bool:
    """Whether labels are tags of entities, as opposed to parts of speech, of which every word has one."""
    present = set(names)
    has_bare = "B" in present and bool(present & {"I", "E"})
    return OUTSIDE in present or has_bare or any(name.startswith(("B-", "I-", "E-", "S-", "U-")) for name in present)


class _Tag(NamedTuple):
    prefix: str
    kind: str


def _split(tag: str) -> _Tag:
    """Prefix and kind; a tag without a prefix is inside of an entity of that kind."""
    is_kind = tag[1:2].isalnum() or (len(tag) == 1 and tag not in _PREFIXES)
    return _Tag("I", tag) if is_kind else _Tag(tag[0], tag[1:].split("-", 1)[-1] or NO_KIND)


def _ends(before: _Tag, tag: _Tag) -> bool:
    """Whether an entity ends between two words."""
    if before.prefix in ("E", "S"):
        return True
    is_cut = before.prefix in ("B", "I") and tag.prefix in ("B", "S", OUTSIDE)
    return is_cut or (before.prefix != OUTSIDE and before.kind != tag.kind)


def _begins(before: _Tag, tag: _Tag) -> bool:
    """Whether an entity begins between two words."""
    if tag.prefix in ("B", "S"):
        return True
    is_new = before.prefix in ("E", "S", OUTSIDE) and tag.prefix in ("E", "I")
    return is_new or (tag.prefix != OUTSIDE and before.kind != tag.kind)
