# SPDX-License-Identifier: Apache-2.0
"""What each task reads of a row, and which columns its results become. Rows are mappings; no file is opened here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from distilbert.tables.fields import Columns, Fields, read_fields


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


def read_item(task: str, columns: Columns, values: Mapping[str, Any]) -> Any:
    """A row as an item of the task's pipeline.

    Raises:
        InputError: lists what the row lacks.
    """
    item = read_fields(FIELDS[task], columns, values)
    return item["text"] if list(item) == ["text"] else item


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
