# SPDX-License-Identifier: Apache-2.0
"""Which columns hold what a task reads, and a row as these fields. What tasks there are is not known here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distilbert.errors import InputError, describe

Columns = dict[str, tuple[str, ...]]  # what a task reads of every row -> the columns it is in; several for a list


@dataclass(frozen=True)
class Fields:
    """What a task reads.

    Attributes:
        needed: what every row has.
        optional: what some have, in a column of the same name; if the user names a column for it, all must.
        lists: those that are lists, in one column or with a column for each item.
        spread: those that are a list if several columns are named, and else what the one column holds.
    """

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    spread: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Every name."""
        return self.needed + self.optional


def choose_columns(title: str, fields: Fields, given: Sequence[str], present: Sequence[str] | None) -> Columns:
    """Which columns fields are read from. An optional field is among them where it is named, or its column is present.

    Args:
        title: of the task, for errors.
        fields: what it reads.
        given: what the user says, as in `text=sentence` or `choices=a,b,c`; the name of a column alone for a task that
            reads one field.
        present: the columns there are; None where a file declares none.

    Raises:
        InputError: lists fields that the task does not have, and columns that are absent.
    """
    problems = []
    chosen: Columns = {}
    for text in given:
        name, separator, column = text.partition("=")
        if not separator and len(fields.needed) == 1:
            name, column = fields.needed[0], text
        columns = tuple(column.split(",")) if name in fields.lists + fields.spread else (column,)
        if name not in fields.all or not all(columns):
            problems.append(f"column {text!r}: expected FIELD=NAME with a field of {', '.join(fields.all)}")
        elif name in chosen:
            problems.append(f"column {text!r}: {name} is named twice")
        chosen[name] = columns
    if len(fields.needed) == 1 and not chosen and present is not None and len(present) == 1:
        chosen[fields.needed[0]] = (present[0],)
    for name in fields.needed:
        chosen.setdefault(name, (name,))
    for name in fields.optional:
        if present is not None and name in present and name not in _sources(chosen):
            chosen.setdefault(name, (name,))
    if present is not None and not problems:
        problems += _absent(chosen, present)
    if problems:
        raise InputError(describe(title, problems))
    return {name: chosen[name] for name in fields.all if name in chosen}


def _sources(columns: Columns) -> set[str]:
    return {source for sources in columns.values() for source in sources}


def _absent(chosen: Columns, present: Sequence[str]) -> list[str]:
    return [
        f"{name}: no column {column!r}; found {', '.join(map(repr, present))}; say --column {name}=NAME"
        for name, columns in chosen.items()
        for column in columns
        if column not in present
    ]


def read_fields(fields: Fields, columns: Columns, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a row holds of each field: of those in `columns`, and of optional ones by their own names.

    Raises:
        InputError: lists what the row lacks.
    """
    problems = []
    item = {}
    own = [name for name in fields.optional if name in values and name not in _sources(columns)]
    for name, sources in {**{name: (name,) for name in own}, **columns}.items():
        absent = [source for source in sources if source not in values]
        if absent:
            problems.append(f"no column {', '.join(map(repr, absent))}")
        else:
            found = [values[source] for source in sources]
            item[name] = found if len(found) > 1 else _as_list(name, found[0]) if name in fields.lists else found[0]
    if problems:
        raise InputError("; ".join(problems))
    return item


def _as_list(name: str, value: Any) -> Any:
    """A list, also where a file of text has it as JSON; anything else is left to the task, which refuses it."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise InputError(f"{name}: expected a list, or one in JSON; found {value!r:.60}") from None
