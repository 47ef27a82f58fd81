# SPDX-License-Identifier: Apache-2.0
"""What each task reads of a row, and which columns its results become. Rows are mappings; no file is opened here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distilbert.errors import InputError, describe

Columns = dict[str, tuple[str, ...]]  # what a task reads -> the columns it is in; several for a list of choices


@dataclass(frozen=True)
class Fields:
    """What a task reads.

    Attributes:
        needed: texts that every row has.
        optional: texts that some have.
        lists: those of `needed` that are lists of texts.
    """

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Every name."""
        return self.needed + self.optional


@dataclass(frozen=True)
class Results:
    """What a task writes.

    Attributes:
        columns: their names and kinds, as the tables have them.
        values: from a pipeline's result to the values of these columns.
    """

    columns: dict[str, str]
    values: Callable[[Any], dict[str, Any]]


FIELDS = {
    "text-classification": Fields(("text",), ("text_pair",)),
    "fill-mask": Fields(("text",)),
    "token-classification": Fields(("text",)),
    "question-answering": Fields(("question", "context")),
    "multiple-choice": Fields(("prompt", "choices"), lists=("choices",)),
    "feature-extraction": Fields(("text",)),
    "sentence-embedding": Fields(("text",)),
}


def choose_columns(task: str, given: Sequence[str], present: Sequence[str] | None) -> Columns:
    """Which columns a task's fields are read from.

    Args:
        task: of the pipeline.
        given: what the user says, as in `text=sentence` or `choices=a,b,c`; the name of a column alone for a task that
            reads one field.
        present: the columns there are; None where a file declares none.

    Raises:
        InputError: lists fields that the task does not have, and columns that are absent.
    """
    fields, problems = FIELDS[task], []
    chosen: Columns = {}
    for text in given:
        name, separator, column = text.partition("=")
        if not separator and len(fields.needed) == 1:
            name, column = fields.needed[0], text
        columns = tuple(column.split(",")) if name in fields.lists else (column,)
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
        if present is None or name in present:
            chosen.setdefault(name, (name,))
    if present is not None and not problems:
        problems += _absent(chosen, present)
    if problems:
        raise InputError(describe(task, problems))
    return {name: chosen[name] for name in fields.all if name in chosen}


def _absent(chosen: Columns, present: Sequence[str]) -> list[str]:
    return [
        f"{name}: no column {column!r}; found {', '.join(map(repr, present))}; say --column {name}=NAME"
        for name, columns in chosen.items()
        for column in columns
        if column not in present
    ]


def read_item(task: str, columns: Columns, values: Mapping[str, Any]) -> Any:
    """A row as an item of the task's pipeline.

    Raises:
        InputError: lists what the row lacks.
    """
    fields, problems = FIELDS[task], []
    item = {}
    for name, sources in columns.items():
        absent = [source for source in sources if source not in values]
        if absent and name in fields.needed:
            problems.append(f"no column {', '.join(map(repr, absent))}")
        elif not absent:
            found = [values[source] for source in sources]
            item[name] = found if len(found) > 1 else _as_list(found[0]) if name in fields.lists else found[0]
    if problems:
        raise InputError("; ".join(problems))
    return item["text"] if list(item) == ["text"] else item


def _as_list(value: Any) -> Any:
    """A list, also where a file of text has it as JSON; anything else is left to the pipeline, which refuses it."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise InputError(f"choices: expected a list, or one in JSON; found {value!r:.60}") from None


def results_of(task: str, options: Any) -> Results:
    """What the pipeline's results look like in a table.

    Args:
        task: of the pipeline.
        options: the pipeline's, as `Pipeline.parse` gives them.
    """
    if task == "text-classification" and options.top_k == "best" and not options.return_all_scores:
        return Results({"label": "string", "score": "float"}, dict)
    if task == "question-answering" and options.top_k == 1:
        return Results({"answer": "string", "score": "float", "start": "integer", "end": "integer"}, dict)
    if task == "multiple-choice" and options.top_k is None:
        return Results({"label": "integer", "choice": "string", "score": "float"}, lambda ranking: ranking[0])
    if task == "sentence-embedding":
        return Results({"embedding": "vector"}, lambda vector: {"embedding": vector})
    name = _LISTS[task]
    return Results({name: "json"}, lambda found: {name: found if isinstance(found, list) else [found]})


# Column of a task whose results are lists.
_LISTS = {
    "text-classification": "labels",
    "fill-mask": "words",
    "token-classification": "entities",
    "question-answering": "answers",
    "multiple-choice": "ranking",
    "feature-extraction": "features",
}
