# SPDX-License-Identifier: Apache-2.0
"""What commands are told that work on a trained model with labelled data, read as `distilbert finetune` reads it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.settings import Settings, setting

Files = str | os.PathLike[str] | list[str]
Tell = Callable[[str], None]  # told what is being done at the moment

_FINETUNE = {entry.name: entry for entry in dataclasses.fields(FinetuneRecipe)}


def listed(files: Files) -> list[str]:
    """One file or several, as a recipe lists them."""
    return [str(files)] if isinstance(files, str | os.PathLike) else list(map(str, files))


def same(name: str, **changes: Any) -> Any:
    """A field of `FinetuneRecipe` that means the same here."""
    entry = _FINETUNE[name]
    return dataclasses.field(default=entry.default, metadata={**entry.metadata, **changes})


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedRecipe(Settings):
    """A trained model, and how data for it is read."""

    model_name_or_path: str = setting(
        dataclasses.MISSING, "Folder or hub repository of a trained model.", alias="model", panel="Model and data"
    )
    task: str | None = setting(None, "As in text-classification; by default the one the model is for.")
    input_format: str | None = same("input_format")
    column: tuple[str, ...] = same("column")
    max_seq_length: int | None = same("max_seq_length")

    doc_stride: int = same("doc_stride", panel="Of single tasks")
    version_2_with_negative: bool = same("version_2_with_negative")
    label_all_tokens: bool = same("label_all_tokens")
    mlm_probability: float = same("mlm_probability")
    whole_word_masking: bool = same("whole_word_masking")
    line_by_line: bool = same("line_by_line")

    def finetune_recipe(self, task: str, problem_type: str | None) -> FinetuneRecipe:
        """The recipe whose data, batches and metrics are these."""
        given = {name: value for name, value in self.to_dict().items() if name in _FINETUNE}
        settled = {"task": task, "problem_type": problem_type}
        return FinetuneRecipe.from_dict({"output_dir": ".", "train_file": [], **given, **settled})
