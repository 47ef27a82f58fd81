# SPDX-License-Identifier: Apache-2.0
"""What `distilbert prune` is told: a model, labelled data as `distilbert finetune` reads it, and how much to prune."""

from __future__ import annotations

import dataclasses

from distilbert.trained.recipe import TrainedRecipe, same
from distilbert.training.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreRecipe(TrainedRecipe):
    """Labelled data to score the heads of a trained model on."""

    train_file: tuple[str, ...] = same(
        "train_file", help="Files, patterns or folders with examples to score heads on.", panel="Scoring"
    )
    max_train_samples: int | None = same("max_train_samples")
    per_device_eval_batch_size: int = same("per_device_eval_batch_size", help="Examples of a forward pass.")
    pad_to_multiple_of: int = same("pad_to_multiple_of")
    backend: str | None = same("backend")
    normalize: bool = setting(True, "Divide the scores of a layer by their length (L2).")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PruneRecipe(ScoreRecipe):
    """How many heads to prune, and what that may cost."""

    output_dir: str = setting(dataclasses.MISSING, "New or empty folder for the pruned model.", alias="output")
    heads: int | None = setting(None, "How many heads to prune, over all layers.", least=1, panel="Pruning")
    fraction: float | None = setting(None, "The same as a share of the heads that are there.", above=0, below=1)
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
