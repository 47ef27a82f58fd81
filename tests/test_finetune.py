# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning from files to a model: that it learns, goes on after a stop, in any framework, and what it refuses."""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import pipeline
from distilbert.convert import open_checkpoint
from distilbert.errors import InputError, TrainingError
from distilbert.training import checkpoints
from distilbert.training.checkpoints import saved_steps
from distilbert.training.finetuning import finetune
from distilbert.training.reports import Report

from .test_parity import backends
from .training_samples import recipe


def weights(folder: Path) -> dict[str, np.ndarray]:
    return {name: tensor.load() for name, tensor in open_checkpoint(folder).tensors.items()}


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def losses(history: list[dict[str, float]]) -> list[float]:
    return [line["loss"] for line in history if "loss" in line]


@backends
def test_a_model_learns_and_is_ready_for_use(name: str, tmp_path: Path) -> None:
    found = finetune(recipe(tmp_path, backend=name, num_train_epochs=5, warmup_ratio=0.1, dropout=0.0, seed=2))
    assert found.finished
    assert found.steps == 60
    assert found.metrics["eval_accuracy"] > 0.95
    assert losses(found.history)[0] > 0.6
    assert losses(found.history)[-1] < 0.2
    answer = pipeline("text-classification", tmp_path / "out", backend=name)("a wonderful film")
    assert answer[0]["label"] == "positive"
    assert saved_steps(tmp_path / "out")[-2:] == [48, 60]
    assert json.loads((tmp_path / "out" / "all_results.json").read_text())["eval_accuracy"] > 0.95


def test_curves_of_the_frameworks_coincide(tmp_path: Path) -> None:
    found = {}
    for name in ("pt", "tf", "flax"):
        outcome = finetune(recipe(tmp_path, backend=name, output=str(tmp_path / name), dropout=0.0))
        found[name] = losses(outcome.history)
        assert len(found[name]) == 12
    assert found["tf"] == pytest.approx(found["pt"], rel=1e-4)
    assert found["flax"] == pytest.approx(found["pt"], rel=1e-4)
    other = finetune(recipe(tmp_path, backend="pt", output=str(tmp_path / "other"), dropout=0.0, seed=1))
    assert losses(other.history) != pytest.approx(found["pt"], rel=1e-4)


@backends
def test_a_training_that_stops_goes_on_to_the_same_bits(name: str, tmp_path: Path) -> None:
    options = {"backend": name, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 8}
    whole = finetune(recipe(tmp_path, output=str(tmp_path / "whole"), **options))
    for stop in (5, 8, None):
        outcome = finetune(recipe(tmp_path, stop_at_step=stop, save_total_limit=1, **options))
        assert outcome.finished == (stop is None)
        assert saved_steps(tmp_path / "out") == [stop or 12]
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")
    assert losses(outcome.history) == losses(whole.history)
    assert outcome.metrics == whole.metrics
    again = finetune(recipe(tmp_path, **options))
    assert (again.steps, again.finished, again.metrics) == (12, True, whole.metrics)


def test_a_training_goes_on_in_other_frameworks(tmp_path: Path) -> None:
    options = {"dropout": 0.0, "weight_decay": 0.01, "warmup_steps": 3, "num_train_epochs": 2}
    finetune(recipe(tmp_path, output=str(tmp_path / "whole"), backend="pt", **options))
    for name, stop in (("pt", 8), ("flax", 16), ("tf", None)):
        finetune(recipe(tmp_path, backend=name, stop_at_step=stop, **options))
    check_same_way(tmp_path, tmp_path / "start", 1e-2)


@pytest.mark.slow
def test_fifty_steps_in_each_framework_are_150_in_one(minilm: Path, data_folder: Path, tmp_path: Path) -> None:
    options = {
        "model": str(minilm),
        "train": [str(data_folder / "sst2_glue" / "train_part1.tsv")],
        "eval": [],
        "column": ["text=sentence"],
        "max_train_samples": 2400,
        "max_steps": 150,
        "learning_rate": 5e-5,
        "weight_decay": 0.01,
        "warmup_steps": 15,
        "dropout": 0.0,
        "logging_steps": 50,
    }
    finetune(recipe(tmp_path, output=str(tmp_path / "whole"), backend="pt", **options))
    for name, stop in (("pt", 50), ("flax", 100), ("tf", None)):
        finetune(recipe(tmp_path, backend=name, stop_at_step=stop, **options))
    check_same_way(tmp_path, minilm, 1e-3)


def check_same_way(folder: Path, start: Path, least: float) -> None:
    """Compare the weights of the trainings `whole` and `out`, relative to the largest of each tensor."""
    expected, found, begun = weights(folder / "whole"), weights(folder / "out"), weights(start)
    far = {key: np.abs(found[key] - expected[key]).max() / np.abs(expected[key]).max() for key in expected}
    # Of a key's bias the gradient is 0 but for rounding, of which AdamW makes steps.
    assert {key: error for key, error in far.items() if not error < 1e-4 and "k_lin.bias" not in key} == {}
    assert max(np.abs(expected[key] - begun[key]).max() for key in expected.keys() & begun.keys()) > least


def test_the_best_model_is_kept_and_training_stops_early(tmp_path: Path) -> None:
    saved: list[int] = []

    class Saved(Report):
        def saved(self, step: int, path: Path) -> None:
            saved.append(step)

    found = finetune(
        recipe(
            tmp_path,
            backend="pt",
            num_train_epochs=30,
            learning_rate=1e-2,
            load_best_model_at_end=True,
            early_stopping_patience=2,
            save_total_limit=1,
            metric_for_best_model="accuracy",
        ),
        [Saved()],
    )
    assert saved == list(range(12, found.steps + 1, 12))  # each epoch once, the last too
    evaluations = [line for line in found.history if "eval_accuracy" in line]
    best = max(line["eval_accuracy"] for line in evaluations)
    first_best = next(line["step"] for line in evaluations if line["eval_accuracy"] == best)
    assert found.finished
    assert evaluations[-1]["step"] == first_best + 24  # two epochs without gain
    assert found.metrics["eval_accuracy"] == best
    assert saved_steps(tmp_path / "out") == [first_best, first_best + 24]
    assert digest(tmp_path / "out") == digest(tmp_path / "out" / f"checkpoint-{first_best}")
    assert (
        finetune(
            recipe(
                tmp_path,
                backend="pt",
                num_train_epochs=30,
                learning_rate=1e-2,
                load_best_model_at_end=True,
                early_stopping_patience=2,
                save_total_limit=1,
                metric_for_best_model="accuracy",
            )
        ).steps
        == found.steps
    )


def test_when_to_evaluate_and_save(tmp_path: Path) -> None:
    options = {"eval_strategy": "steps", "eval_steps": 5, "save_strategy": "steps", "save_steps": 4}
    found = finetune(recipe(tmp_path, backend="pt", save_total_limit=None, **options))
    assert [line["step"] for line in found.history if "eval_loss" in line] == [5, 10, 12]
    assert saved_steps(tmp_path / "out") == [4, 8, 12]
    rates = [line["learning_rate"] for line in found.history if "learning_rate" in line]
    assert rates == pytest.approx([1e-2 * (12 - step) / 12 for step in range(12)])


# What is refused.


def test_another_training_is_in_the_folder(tmp_path: Path) -> None:
    finetune(recipe(tmp_path, backend="pt", stop_at_step=2))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(
        InputError, match=r"(?s)checkpoint-2 is of another training: 2 problems.*learning_rate: was 0.01"
    ):
        finetune(recipe(tmp_path, backend="pt", learning_rate=1e-3, seed=7))
    assert sorted(tmp_path.rglob("*")) == before
    assert finetune(recipe(tmp_path, backend="pt", seed=7, overwrite_output_dir=True)).finished


def test_a_metric_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="metric_for_best_model: expected one of loss, accuracy.*found 'taste'"):
        finetune(recipe(tmp_path, backend="pt", metric_for_best_model="taste", report_to="tensorboard"))
    assert not (tmp_path / "out").exists()


def test_something_else_is_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="out: is not empty and holds no training"):
        finetune(recipe(tmp_path, backend="pt"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letter.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: is no folder"):
        finetune(recipe(tmp_path, backend="pt", output=str(tmp_path / "file")))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"eval": [], "load_best_model_at_end": True}, "load_best_model_at_end: name data to evaluate on"),
        ({"eval": [], "early_stopping_patience": 1}, "early_stopping_patience: name data"),
        ({"freeze_layers": 3}, "freeze_layers: the model has 2 layers"),
        ({"task": "poetry"}, "task: expected one of"),
        ({"max_seq_length": 1000}, "max_seq_length: the model takes at most 64"),
    ],
)
def test_nothing_is_written_for_a_recipe_that_cannot_be(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        finetune(recipe(tmp_path, backend="pt", **changes))
    assert not (tmp_path / "out").exists()


@backends
def test_a_loss_that_is_no_number_ends_the_training_at_once(name: str, tmp_path: Path) -> None:
    options = {"backend": name, "save_strategy": "steps", "save_steps": 2, "max_grad_norm": 0.0}
    finetune(recipe(tmp_path, stop_at_step=2, **options))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distilbert.training.loop.learning_rate", lambda arguments, step, total: 1e38)
        with pytest.raises(
            TrainingError, match="(?s)step [345]: the .*(nan|inf|no numbers).*checkpoint-2 is from before"
        ):
            finetune(recipe(tmp_path, **options))
    assert saved_steps(tmp_path / "out") == [2]


def test_a_full_disk_leaves_the_checkpoints_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"backend": "pt", "save_strategy": "steps", "save_steps": 3}
    finetune(recipe(tmp_path, stop_at_step=3, **options))

    def full(tensors: Any, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", full)
        with pytest.raises(OSError, match="No space left"):
            finetune(recipe(tmp_path, **options))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["checkpoint-3", "recipe.yaml"]
    assert finetune(recipe(tmp_path, **options)).finished
