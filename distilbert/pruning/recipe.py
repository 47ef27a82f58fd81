# SPDX-License-Identifier: Apache-2.0
"""What `distilbert prune` is told: a model, labelled data as `distilbert finetune` reads it, and how much to prune."""

from __future__ import annotations

import dataclasses
from typing import Any

from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.settings import Settings, setting

_FINETUNE = {entry.name: entry for entry in dataclasses.fields(FinetuneRecipe)}


def same(name: str, **changes: Any) -> Any:
    """A field of `FinetuneRecipe` that means the same here."""
    entry = _FINETUNE[name]
    return dataclasses.field(default=entry.default, metadata={**entry.metadata, **changes})


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataRecipe(Settings):
    """Labelled data for a model that has learned its task."""

    model_name_or_path: str = setting(
        dataclasses.MISSING, "Folder or hub repository of a trained model.", alias="model", panel="Model and data"
    )
    task: str | None = setting(None, "As in text-classification; by default the one the model is for.")
    train_file: tuple[str, ...] = same("train_file", help="Files, patterns or folders with examples to score heads on.")
    input_format: str | None = same("input_format")
    column: tuple[str, ...] = same("column")
    max_train_samples: int | None = same("max_train_samples")
    max_seq_length: int | None = same("max_seq_length")
    per_device_eval_batch_size: int = same("per_device_eval_batch_size", help="Examples of a forward pass.")
    pad_to_multiple_of: int = same("pad_to_multiple_of")
    backend: str | None = same("backend")
    normalize: bool = setting(True, "Divide the scores of a layer by their length (L2).")

    doc_stride: int = same("doc_stride", panel="Of single tasks")
    version_2_with_negative: bool = same("version_2_with_negative")
    label_all_tokens: bool = same("label_all_tokens")
    mlm_probability: float = same("mlm_probability")
    whole_word_masking: bool = same("whole_word_masking")
    line_by_line: bool = same("line_by_line")

    def finetune_recipe(self, task: str, problem_type: str | None) -> FinetuneRecipe:
        """The recipe whose data, batches and evaluation are these."""
        given = {name: value for name, value in self.to_dict().items() if name in _FINETUNE}
        return FinetuneRecipe.from_dict({"output_dir": ".", **given, "task": task, "problem_type": problem_type})


@dataclasses.dataclass(frozen=True, kw_only=True)
class PruneRecipe(DataRecipe):
    """How many heads to prune, and what that may cost."""

    output_dir: str = setting(dataclasses.MISSING, "New or empty folder for the pruned model.", alias="output")
    heads: int | None = setting(None, "How many heads to prune, over all layers.", least=1, panel="Pruning")
    fraction: float | None = setting(None, "The same as a share of all heads.", above=0, below=1)
    rounds: int = setting(1, "Prune in so many rounds, and score the heads that are left anew in each.", least=1)
    validation_file: tuple[str, ...] = same("validation_file", help="Files to evaluate on, before and after.")
    max_eval_samples: int | None = same("max_eval_samples")
    max_drop: float | None = setting(
        None, "Write nothing if more points of the metric are lost; needs --eval.", least=0
    )

    def problems(self) -> list[str]:
        found = super().problems()
        if (self.heads is None) == (self.fraction is None):
            given = "neither" if self.heads is None else "both"
            found.append(f"heads, fraction: expected one of them, found {given}")
        if self.max_drop is not None and not self.validation_file:
            found.append("max_drop: needs data to evaluate on (--eval)")
        return found
