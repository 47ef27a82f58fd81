# SPDX-License-Identifier: Apache-2.0
"""A question or the beginning of a text, and answers or endings to choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distilbert.errors import InputError
from distilbert.outputs import ModelOutput
from distilbert.tables.fields import Fields
from distilbert.training.batch import WEIGHTS, Batch, Ragged
from distilbert.training.data import Problems
from distilbert.training.data.growing import GrowingRagged
from distilbert.training.tasks.file_task import FileTask, refuse, text_problem
from distilbert.training.tasks.labels import label_name
from distilbert.training.tasks.task import Examples


class Choice(NamedTuple):
    """A row of a file; `label` is the place of the right one in `choices`."""

    prompt: str
    choices: list[str]
    label: int


@dataclass
class ChoiceExamples(Examples):
    """Prompts with C choices each.

    Attributes:
        ids: (N * C lists) token ids of the prompt with each of its choices.
        labels: (N,) int32, the right choice.
        count: C.
    """

    ids: Ragged
    labels: NDArray[np.int32]
    count: int

    def __post_init__(self) -> None:
        self.lengths = self.ids.lengths.reshape(-1, self.count).max(1)


class MultipleChoice(FileTask):
    """Reads `prompt` (several columns are joined by a space), `choices` (a list, also as JSON, or a column each) and
    `label`, the place of the right choice, from 0. All rows of a data set have equally many choices.

    The model sees each choice as [CLS] prompt [SEP] choice [SEP], as the pipeline shows it.
    """

    model_task = "multiple-choice"
    main_metric = "accuracy"
    fields = Fields(("prompt", "choices", "label"), lists=("choices",), spread=("prompt",))

    def parse(self, values: Mapping[str, Any]) -> Choice:
        parts, choices = values["prompt"], values["choices"]
        parts = parts if isinstance(parts, list) else [parts]
        problems = [text_problem("prompt", part) for part in parts]
        if not isinstance(choices, list | tuple) or len(choices) < 2:
            found = f"{len(choices)}" if isinstance(choices, list | tuple) else type(choices).__name__
            problems.append(f"choices: expected a list of at least two texts, found {found}")
            choices = []
        problems += [text_problem(f"choice {place}", choice) for place, choice in enumerate(choices)]
        label = None
        try:
            label = label_name(values["label"])
        except InputError as error:
            problems.append(str(error))
        allowed = [str(place) for place in range(len(choices))]
        if label is not None and choices and label not in allowed:
            problems.append(f"label: expected the place of a choice, from 0 to {len(choices) - 1}; found {label!r:.40}")
        refuse(problems)
        return Choice(" ".join(parts), list(choices), int(label or 0))

    def read(self, files: Sequence[Path], limit: int | None, learn_labels: bool) -> ChoiceExamples:
        problems, ids = Problems(), GrowingRagged()
        labels: list[int] = []
        count = 0
        for chunk in self.parsed(files, limit, problems):
            count = count or len(chunk[0][1].choices)
            for place, item in chunk:
                labels.append(item.label)
                if len(item.choices) != count:
                    problems.add(place, f"choices: expected {count}, as in the first row, found {len(item.choices)}")
            pairs = [(item.prompt, choice) for _, item in chunk for choice in item.choices]
            ids.extend(self.encode(pairs))
        problems.check()
        found = ids.done()
        self.check_tokens(found, files)
        return ChoiceExamples(found, np.array(labels, np.int32), count)

    def config_changes(self) -> dict[str, Any]:
        return {}

    def collate(
        self, examples: ChoiceExamples, rows: NDArray[np.int64], length: int, draws: Sequence[int] | None
    ) -> Batch:
        """As in all tasks; `input_ids` and `attention_mask` are (B, C, T)."""
        of_choices = (rows[:, None] * examples.count + np.arange(examples.count)).reshape(-1)
        flat = self.inputs(examples.ids, of_choices, length)
        return {
            **{name: values.reshape(len(rows), examples.count, length) for name, values in flat.items()},
            "labels": examples.labels[rows],
            WEIGHTS: np.ones(len(rows), np.float32),
        }

    def score(self, examples: ChoiceExamples, answers: Sequence[ModelOutput]) -> dict[str, float]:
        answered = np.stack([answer.logits for answer in answers]).argmax(1)
        return {"accuracy": float(np.mean(answered == examples.labels))}
