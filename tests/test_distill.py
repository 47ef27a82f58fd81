# SPDX-License-Identifier: Apache-2.0
"""`distilbert.distill` from a recipe to a student in a folder, in every framework."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import backend as backend_table
from distilbert.convert import open_checkpoint
from distilbert.errors import DistilBertError, FileError, InputError, TrainingError
from distilbert.training import output
from distilbert.training.distillation import distilling
from distilbert.training.distillation.distilling import distill
from distilbert.training.distillation.recipe import DistillRecipe
from distilbert.training.engine import World
from distilbert.training.output import Outcome, await_output, prepared_output, recipe_stamp
from distilbert.training.reports import Report

from .test_parity import backends
from .training_samples import VOCABULARY, write_reviews, write_start

TASK = "text-classification"
UNIT = "distilbert.transformer.layer.0.ffn.lin1.weight"


def recipe(folder: Path, **changes: Any) -> DistillRecipe:
    """To distil the model in `folder`/teacher with `folder`/texts.csv, made where they are not there."""
    if not (folder / "teacher").exists():
        if "task" in changes:
            write_start(folder / "teacher", "sequence-classification", id2label={0: "negative", 1: "positive"})
        else:
            write_start(folder / "teacher", "masked-lm")
        write_reviews(folder / "texts.csv", 96)
        write_reviews(folder / "eval.csv", 16, seed=1)
    usual = {
        "teacher": str(folder / "teacher"),
        "corpus": str(folder / "texts.csv"),
        "eval": str(folder / "eval.csv"),
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


def check_student(outcome: Outcome, folder: Path, architecture: str) -> None:
    assert (outcome.finished, outcome.steps, len(losses(outcome))) == (True, 4, 4)
    assert np.isfinite(losses(outcome)).all()
    assert np.isfinite(outcome.metrics["eval_loss"])
    assert 0 <= outcome.metrics["eval_accuracy"] <= 1
    student = open_checkpoint(folder / "out")
    assert (student.config.n_layers, student.config.architectures) == (1, (architecture,))
    moved = np.abs(weights(folder / "out")[UNIT] - weights(folder / "teacher")[UNIT]).max()
    assert 0 < moved < 0.1


@backends
def test_words_of_a_teacher(name: str, tmp_path: Path) -> None:
    changes = {} if name == "pt" else {"teacher_cache": str(tmp_path / "answers"), "cache_top_k": 8}
    check_student(distill(recipe(tmp_path, backend=name, **changes)), tmp_path, "DistilBertForMaskedLM")


@pytest.mark.slow
@backends
def test_answers_of_a_task(name: str, tmp_path: Path) -> None:
    found = distill(recipe(tmp_path, backend=name, task=TASK))
    check_student(found, tmp_path, "DistilBertForSequenceClassification")
    answers = np.load(tmp_path / "out" / "teacher" / "shard-00000.logits.npy")
    assert answers.shape == (96, 2)
    assert answers.std(0).min() > 0


@pytest.fixture
def pytorch() -> None:
    if backend_table.BACKENDS["pt"].missing:
        pytest.skip("PyTorch is not installed")


@pytest.mark.usefixtures("pytorch")
def test_a_cache_is_made_once_and_answers_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"teacher_cache": str(tmp_path / "answers"), "cache_top_k": VOCABULARY, "cache_masks": 2, "dropout": 0.0}
    first = distill(recipe(tmp_path, output=str(tmp_path / "first"), **options))
    monkeypatch.setattr(distilling, "_fill", None)  # nothing is to be asked again
    second = distill(recipe(tmp_path, output=str(tmp_path / "second"), **options))
    assert losses(first) == losses(second)
    asked = distill(recipe(tmp_path, output=str(tmp_path / "third"), dropout=0.0))
    assert losses(asked) == pytest.approx(losses(first), rel=2e-3)  # values and states are float16 in the cache


@pytest.mark.usefixtures("pytorch")
def test_labels_vocabulary_and_width_of_a_task(tmp_path: Path) -> None:
    options = {"task": TASK, "alpha_label": 0.5, "dim": 16}
    said: list[str] = []

    class Stages(Report):
        def preparing(self, what: str) -> None:
            said.append(what)

    found = distill(recipe(tmp_path, **options, vocab_size=2500), [Stages()])
    assert [what.partition(":")[0] for what in said] == [
        "tokenising texts.csv",  # as the teacher does it, for the counts
        "tokenising texts.csv",
        "tokenising eval.csv",
        "asking the teacher",
    ]
    assert said[-1] == "asking the teacher: 96 of 96 texts"
    assert (found.finished, found.steps) == (True, 4)
    student = open_checkpoint(tmp_path / "out")
    assert student.config.dim == 16
    assert student.config.vocab_size < VOCABULARY
    assert dict(student.config.id2label) == {0: "negative", 1: "positive"}
    assert np.load(tmp_path / "out" / "teacher" / "shard-00000.logits.npy").shape == (96, 2)
    table = tmp_path / "bare.csv"
    table.write_text("text\na film\n")
    with pytest.raises(InputError, match=r"bare.csv: alpha_label above 0 learns from labels, and there are none"):
        distill(recipe(tmp_path, **options, corpus=str(table), output=str(tmp_path / "none")))
    with pytest.raises(InputError, match=r"bare.csv: evaluation compares with labels, and there are none"):
        distill(recipe(tmp_path, task=TASK, eval=str(table), output=str(tmp_path / "neither")))


@pytest.mark.usefixtures("pytorch")
def test_labels_alone_need_no_teacher_with_a_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_start(tmp_path / "headless", id2label={0: "negative", 1: "positive"})
    monkeypatch.setattr(distilling, "_teacher_logits", None)  # nobody is to be asked
    options = {"task": TASK, "alpha_ce": 0, "alpha_label": 1, "teacher": str(tmp_path / "headless")}
    found = distill(recipe(tmp_path, **options))
    assert found.finished
    assert 0.3 < losses(found)[0] < 1.2
    assert not (tmp_path / "out" / "teacher").exists()


@pytest.mark.usefixtures("pytorch")
@pytest.mark.parametrize("task", [None, TASK])
def test_what_stops_goes_on_to_the_same_bits(tmp_path: Path, task: str | None) -> None:
    options = {"task": task, "save_total_limit": 1} if task else {"save_total_limit": 1}
    whole = distill(recipe(tmp_path, output=str(tmp_path / "whole"), **options))
    assert distill(recipe(tmp_path, stop_at_step=2, **options)).finished is False
    found = distill(recipe(tmp_path, **options))
    assert found.finished
    assert losses(found) == losses(whole)
    files = [tmp_path / name / "model.safetensors" for name in ("whole", "out")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.usefixtures("pytorch")
def test_overwriting_begins_with_nothing(tmp_path: Path) -> None:
    distill(recipe(tmp_path, task=TASK))
    other = {"task": TASK, "max_seq_length": 24}
    with pytest.raises(InputError):
        distill(recipe(tmp_path, **other))
    (tmp_path / "out" / "corpus" / "my-notes").mkdir()
    (tmp_path / "out" / "corpus" / "my-notes" / "manifest.json").write_text("{}")
    found = distill(recipe(tmp_path, **other, overwrite_output_dir=True))
    assert found.finished
    assert (tmp_path / "out" / "corpus" / "my-notes" / "manifest.json").exists()


def test_the_first_process_prepares_and_others_wait(tmp_path: Path) -> None:
    """The others must not make the folder: the first would take it for something else's."""
    wanted = recipe(tmp_path)
    for _ in range(2):  # into a new folder, and into one with the recipe of a run before
        before, done = recipe_stamp(wanted), threading.Event()

        def follow(before: tuple[int, int] | None = before, done: threading.Event = done) -> None:
            with prepared_output(wanted, World(1, 2)):
                await_output(wanted, World(1, 2), before)
                done.set()

        other = threading.Thread(target=follow)
        other.start()
        time.sleep(0.2)
        assert not done.is_set()
        assert (tmp_path / "out").exists() == (before is not None)
        with prepared_output(wanted, World(0, 2)):
            await_output(wanted, World(0, 2), recipe_stamp(wanted))  # the first waits for nobody
            assert done.wait(10)
        other.join()


@pytest.mark.usefixtures("pytorch")
@pytest.mark.parametrize("name", ["teacher", "student"])
def test_teacher_and_student_are_not_overwritten(tmp_path: Path, name: str) -> None:
    model = write_start(tmp_path / "model", "masked-lm")
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    wanted = recipe(tmp_path, **{name: str(model)}, layers=None, output=str(model), overwrite_output_dir=True)
    with pytest.raises(InputError, match="holds the model to start from"):
        distill(wanted)
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


@pytest.mark.usefixtures("pytorch")
@pytest.mark.parametrize(
    "wrong", [{"layers": "0,9"}, {"corpus": "none.txt"}, {"column": ["text=none"]}, {"eval": "no"}]
)
def test_what_goes_wrong_at_first_leaves_no_folder(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(DistilBertError):
        distill(recipe(tmp_path, **wrong))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_two_trainings_do_not_share_a_folder(tmp_path: Path, overwrite: bool) -> None:
    wanted = recipe(tmp_path, overwrite_output_dir=overwrite)
    other = World()
    with prepared_output(wanted, World()):
        with pytest.raises(FileError, match="another training is at work in it"), prepared_output(wanted, other):
            pass
        with prepared_output(wanted, World(1, 2)):  # it is the first of several that holds the folder
            pass
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["recipe.yaml"]
    with pytest.raises(KeyError), prepared_output(wanted, other):
        raise KeyError
    with prepared_output(wanted, other):  # nothing holds it after an error
        pass


def test_nobody_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = recipe(tmp_path)
    monkeypatch.setattr(output, "LATE", 0.1)
    monkeypatch.setattr(output, "LOST", 0.2)
    with pytest.raises(TrainingError, match=r"the first process has written no recipe.yaml there"):
        await_output(wanted, World(1, 2), None)
    with prepared_output(wanted, World(0, 2)):
        pass
    await_output(wanted, World(1, 2), recipe_stamp(wanted))  # it had been written before it was looked at
