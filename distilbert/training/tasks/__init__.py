# SPDX-License-Identifier: Apache-2.0
"""The tasks that models are trained for, by all their usual names. Each is imported when it is asked for."""

from __future__ import annotations

import importlib

from distilbert.errors import InputError
from distilbert.spec import find_task
from distilbert.training.tasks.file_task import FileTask

# Task of the model classes -> (module here, class in it).
TASKS = {
    "sequence-classification": ("text_classification", "TextClassification"),
    "token-classification": ("token_classification", "TokenClassification"),
    "question-answering": ("question_answering", "QuestionAnswering"),
    "multiple-choice": ("multiple_choice", "MultipleChoice"),
    "masked-lm": ("masked_lm", "MaskedLM"),
}


def find(task: str) -> type[FileTask]:
    """The class of a task by any of its names; InputError lists those there are."""
    name = find_task(task).name
    if name not in TASKS:
        raise InputError(
            f"task: expected one of {', '.join(TASKS)}; found {task!r}, for which there is nothing to learn"
        )
    module, kind = TASKS[name]
    found: type[FileTask] = getattr(importlib.import_module(f"distilbert.training.tasks.{module}"), kind)
    return found
