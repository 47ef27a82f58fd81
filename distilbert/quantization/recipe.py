# SPDX-License-Identifier: Apache-2.0
"""What `distilbert quantize` is told: a model, labelled data to measure on, and what may be lost."""

from __future__ import annotations

import dataclasses

from distilbert.defaults import MAX_DROP
from distilbert.trained.recipe import TrainedRecipe, same
from distilbert.training.settings import setting

PREFERENCES = ("speed", "size", "quality")


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizeRecipe(TrainedRecipe):
    """Which schemes to try, on which data, and what they may lose."""

    output_dir: str = setting(dataclasses.MISSING, "New or empty folder for the best that passes.", alias="output")
    validation_file: tuple[str, ...] = same(
        "validation_file", help="Labelled files to measure on: what is lost counts here.", panel="Quantization"
    )
    calibration_file: tuple[str, ...] = setting(
        (), "Files of the same kind to measure ranges of activations on, for int8-static.", alias="calibrate"
    )
    schemes: tuple[str, ...] = setting(
        ("onnx",), "FORMAT:DTYPE, as onnx:int8, or a format for all it has; repeatable.", alias="scheme"
    )
    max_drop: float = setting(MAX_DROP, "Points (percent) of the task's main metric that may be lost.", least=0)
    prefer: str = setting("speed", "Of those that pass, which is best.", choices=PREFERENCES)
    max_eval_samples: int | None = same("max_eval_samples")
    max_calibration_samples: int = setting(256, "Examples to measure ranges on, at most.", least=1)

    def problems(self) -> list[str]:
        found = super().problems()
        if not self.validation_file:
            found.append("validation_file: expected labelled data to measure on (--eval)")
        return found
