# SPDX-License-Identifier: Apache-2.0
"""What `distilbert finetune` is told, as one object that is also a YAML file and a list of options."""

from __future__ import annotations

import dataclasses

from distilbert.spec import find_task
from distilbert.training.arguments import TrainingArguments
from distilbert.training.settings import setting

PROBLEMS = ("single_label_classification", "multi_label_classification", "regression")
FIELDS_OF_TASKS = {
    "text-classification": ("problem_type",),
    "question-answering": ("doc_stride", "version_2_with_negative"),
    "token-classification": ("label_all_tokens",),
    "fill-mask": ("mlm_probability", "whole_word_masking", "line_by_line"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneRecipe(TrainingArguments):
    """A model, a task, and files with examples of it."""

    COMMAND = "distilbert finetune"

    task: str = setting(
        dataclasses.MISSING, "As in text-classification, or a name of the model classes.", panel="Model and data"
    )
    model_name_or_path: str = setting(dataclasses.MISSING, "Folder or hub repository to start from.", alias="model")
    train_file: tuple[str, ...] = setting(
        dataclasses.MISSING, "Files, patterns or folders to learn from.", alias="train"
    )
    validation_file: tuple[str, ...] = setting((), "The same to evaluate on.", alias="eval")
    input_format: str | None = setting(None, "csv, tsv, jsonl, parquet, arrow, conll or squad; else by the suffix.")
    column: tuple[str, ...] = setting((), "FIELD=NAME: which column a field of the task is in, as text=sentence.")
    max_train_samples: int | None = setting(None, "Use only the first so many examples.", least=1)
    max_eval_samples: int | None = setting(None, "The same in evaluation.", least=1)
    max_seq_length: int | None = setting(
        None, "Longest text in tokens, where longer ones are cut; by default 128, for answers 384.", least=8
    )

    problem_type: str | None = setting(
        None, "Of text-classification; by default what the labels are.", choices=PROBLEMS, panel="Of single tasks"
    )
    doc_stride: int = setting(128, "Of question-answering: tokens that neighbouring windows share.", least=0)
    version_2_with_negative: bool = setting(False, "Of question-answering: some questions have no answer.")
    label_all_tokens: bool = setting(False, "Of token-classification: every token of a word has the word's label.")
    mlm_probability: float = setting(0.15, "Of fill-mask: share of the tokens to be guessed.", above=0, most=1)
    whole_word_masking: bool = setting(False, "Of fill-mask: all tokens of a word are masked together.")
    line_by_line: bool = setting(False, "Of fill-mask: every row for itself, rather than full lengths of joined rows.")

    def problems(self) -> list[str]:
        return super().problems() or self._idle_problems()

    def _idle_problems(self) -> list[str]:
        """What is asked for and would do nothing."""
        task = find_task(self.task)
        changed = {entry.name for entry in dataclasses.fields(self) if getattr(self, entry.name) != entry.default}
        return [
            f"{name}: is for {other}; leave it out, since the task is {self.task}"
            for other, names in FIELDS_OF_TASKS.items()
            if find_task(other) != task
            for name in names
            if name in changed
        ]
