# SPDX-License-Identifier: Apache-2.0
"""`distilbert.distill` from a recipe to a student in a folder, in every framework."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert.convert import open_checkpoint
from distilbert.training.distillation.distilling import distill
from distilbert.training.distillation.recipe import DistillRecipe
from distilbert.training.output import Outcome

from .training_samples import write_reviews, write_start

TASK = "text-classification"
FRAMEWORKS = {"pt": "torch", "tf": "tensorflow", "flax": "flax"}


def recipe(folder: Path, **changes: Any) -> DistillRecipe:
    """To distil the model in `folder`/teacher with `folder`/texts.csv, made where they are not there."""
    if not (folder / "teacher").exists():
        task = "sequence-classification" if "task" in changes else "masked-lm"
        labels = {"id2label": {0: "negative", 1: "positive"}} if "task" in changes else {}
        write_start(folder / "teacher", task, **labels)
        write_reviews(folder / "texts.csv", 96)
        write_reviews(folder / "eval.csv", 16, seed=1)
    usual = {
        "teacher": str(folder / "teacher"),
        "corpus": str(folder / "texts.csv"),
        "output": str(folder / "out"),
        "layers": "0",
        "backend": "pt",
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 8,
        "max_seq_length": 16,
        "pad_to_multiple_of": 16,
        "report_to": ["none"],
        "certify": False,
        "max_steps": 4,
        "logging_steps": 1,
    }
    return DistillRecipe.from_dict({**usual, **changes})


def weights(folder: Path) -> dict[str, np.ndarray]:
    return {name: np.asarray(tensor.load()) for name, tensor in open_checkpoint(folder).tensors.items()}


def losses(outcome: Outcome) -> list[float]:
    return [line["loss"] for line in outcome.history if "loss" in line]


@pytest.mark.parametrize("backend", FRAMEWORKS)
def test_text(tmp_path: Path, backend: str) -> None:
    pytest.importorskip(FRAMEWORKS[backend])
    found = distill(recipe(tmp_path, backend=backend, eval=str(tmp_path / "eval.csv")))
    assert found.finished
    assert found.steps == 4
    assert len(losses(found)) == 4
    assert np.isfinite(losses(found)).all()
    assert 0 < found.metrics["eval_loss"] < 12
    student = open_checkpoint(tmp_path / "out")
    assert student.config.n_layers == 1
    assert student.config.architectures == ("DistilBertForMaskedLM",)
    before = weights(tmp_path / "teacher")["distilbert.transformer.layer.0.ffn.lin1.weight"]
    assert not np.array_equal(weights(tmp_path / "out")["distilbert.transformer.layer.0.ffn.lin1.weight"], before)
