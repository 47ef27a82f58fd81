# SPDX-License-Identifier: Apache-2.0
"""The recipe: defaults, names, and what is refused before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from distilbert.errors import InputError
from distilbert.training.distillation.recipe import DistillRecipe
from distilbert.training.distillation.reference import LossSettings
from distilbert.training.distillation.stages import loss_settings
from distilbert.training.distillation.student import chosen_layers

from .distillation_samples import recipe

TASK = "text-classification"


def test_what_takes_effect_is_accepted(tmp_path: Path) -> None:
    found = recipe(tmp_path, task=TASK, column="label=y", alpha_label=1, teacher_cache="c", temperature=3)
    assert (found.alpha_mlm, found.alpha_cos, found.alpha_label) == (2.0, 1.0, 1.0)
    assert DistillRecipe.from_dict(found.to_dict()) == found
    assert recipe(tmp_path, width="truncation", n_heads=2, teacher_cache="c", cache_masks=2).cache_masks == 2


def test_defaults_are_those_of_the_paper(tmp_path: Path) -> None:
    found = recipe(tmp_path)
    assert loss_settings(found) == LossSettings(2.0, 5.0, 2.0, 1.0, 0.0, False)
    assert (found.learning_rate, found.adam_epsilon, found.warmup_ratio, found.weight_decay) == (5e-4, 1e-6, 0.05, 0.0)
    assert (found.mlm_probability, found.num_train_epochs, found.max_grad_norm) == (0.15, 3.0, 5.0)
    assert chosen_layers(found.layer_numbers, 12) == (0, 2, 4, 7, 9, 11)
    assert chosen_layers(None, 6) == (0, 2, 5)
    assert chosen_layers(None, 1) == (0,)


def test_names_and_layers_as_yaml_has_them(tmp_path: Path) -> None:
    found = recipe(tmp_path, layers=[0, 2, 5])
    assert found.layers == "0,2,5"
    assert found.layer_numbers == (0, 2, 5)
    assert recipe(tmp_path, layers=3).layer_numbers == (3,)
    assert found.teacher_name_or_path == str(tmp_path / "teacher")
    assert DistillRecipe.from_dict(found.to_dict()) == found


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": "0,x"}, "layers: expected whole numbers"),
        ({"layers": "2,1"}, "layers: expected rising numbers"),
        ({"layers": "1,1"}, "layers: expected rising numbers"),
        ({"student": "s", "layers": "0", "dim": 8}, r"2 problems\n.*layers: is the student's own.*\n.*dim: is"),
        ({"alpha_ce": 0, "alpha_mlm": 0, "alpha_cos": 0}, "all are 0"),
        ({"task": "text-classification", "alpha_ce": 0}, "all are 0"),
        ({"alpha_label": 1.0}, "alpha_label: is for a task"),
        ({"task": TASK, "alpha_mlm": 1, "line_by_line": True}, r"2 problems\n.*alpha_mlm: is for masked.*\n.*line_by_"),
        ({"task": TASK, "alpha_cos": 0}, "alpha_cos: is for masked language modelling"),
        ({"task": TASK, "teacher_cache": "c", "cache_top_k": 5}, "cache_top_k: is for masked language modelling"),
        ({"cache_masks": 2}, "cache_masks: is for a teacher_cache"),
        ({"width": "truncation", "layers": "0"}, "width: is for a narrower student"),
        ({"column": "label=y"}, "column: label=NAME is for a task"),
        ({"task": "translation"}, "task: expected one of text-classification"),
        ({"temperature": 0}, "temperature: expected more than 0"),
        ({"width": "svd"}, "width: expected one of projection, truncation"),
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor: expected 0"),
        ({"teacher": None}, "teacher_name_or_path: expected a text"),
    ],
)
def test_what_is_refused(tmp_path: Path, values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        recipe(tmp_path, **values)
