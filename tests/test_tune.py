# SPDX-License-Identifier: Apache-2.0
"""`distilbert tune`: what is searched, what a folder of a search holds, and that a killed search goes on."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from distilbert.errors import BackendError, FileError, InputError, TrainingError
from distilbert.training import trials_on_ray
from distilbert.training.recipe_file import read_recipe, write_recipe
from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.reports import Plan
from distilbert.training.search_space import Choices, Range, draw, parse_search
from distilbert.training.trials import TrialResult, make_trials, read_table
from distilbert.training.trials_on_ray import TrialReport
from distilbert.training.tuning import finish_search, tune

from .ray_cluster import ENVIRONMENT, Cluster
from .test_cli import invoke
from .training_samples import recipe as small_recipe

RATES = "learning_rate=loguniform(1e-5,1e-3)"


def recipe(folder: Path, **changes: Any) -> FinetuneRecipe:
    given = {"task": "ner", "model": "m", "output": str(folder / "search")}
    for name, split in (("train", "a.csv"), ("eval", "b.csv")):
        given[name] = str(folder / split)
        if not (folder / split).exists():
            (folder / split).write_text("tokens,tags\n")
    return FinetuneRecipe.from_dict({**given, **changes})


# What is searched.


def test_expressions() -> None:
    texts = [RATES, "num_train_epochs=2, 3,4", "warmup-steps = uniform(0, 9)", "bf16=true,false", "model=a,b"]
    assert parse_search(texts) == {
        "learning_rate": Range(1e-5, 1e-3, logarithmic=True, whole=False),
        "num_train_epochs": Choices((2.0, 3.0, 4.0)),
        "warmup_steps": Range(0, 9, logarithmic=False, whole=True),
        "bf16": Choices((True, False)),
        "model_name_or_path": Choices(("a", "b")),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate", "expected NAME=VALUES"),
        ("lerning_rate=1", "'lerning_rate' is no option of finetune"),
        ("learning_rate=", r"expected uniform\(LOW,HIGH\), loguniform\(LOW,HIGH\) or VALUE,VALUE"),
        ("learning_rate=1e-5,,1e-4", "expected uniform"),
        ("learning_rate=normal(0,1)", "expected uniform"),
        ("learning_rate=uniform(1e-4)", "expected uniform"),
        ("learning_rate=uniform(1,nan)", "expected a number and a larger one, found 1.0 and nan"),
        ("learning_rate=uniform(1e-4,1e-5)", "expected a number and a larger one, found 0.0001 and 1e-05"),
        ("learning_rate=loguniform(0,1)", "expected numbers above 0, found 0.0"),
        ("learning_rate=fast,slow", "learning_rate: expected a number, found 'fast'"),
        ("seed=1.5", "seed: expected a whole number, found '1.5'"),
        ("bf16=yes", "bf16: expected true or false, found 'yes'"),
        ("bf16=uniform(0,1)", "bf16 is no number"),
        ("seed=1,1", "the same value twice"),
        ("output=a,b", "output_dir cannot be searched"),
        ("train=a,b", "train_file cannot be searched"),
    ],
)
def test_wrong_expressions(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^--search: .*{message}"):
        parse_search([text])


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(InputError, match=r"(?s)2 problems.*'seed=x'.*learning_rate is named twice"):
        parse_search(["seed=x", RATES, "learning_rate=1"])
    with pytest.raises(InputError, match="nothing to search"):
        parse_search([])


def test_values_are_drawn_in_range_and_evenly_in_the_logarithm() -> None:
    rows = draw(parse_search([RATES, "warmup_steps=uniform(2,4)", "seed=loguniform(1,1000)"]), 400, 0)
    rates = [math.log10(row["learning_rate"]) for row in rows]
    assert all(-5 <= rate <= -3 for rate in rates)
    assert sum(rates) / len(rates) == pytest.approx(-4, abs=0.1)
    assert {row["warmup_steps"] for row in rows} == {2, 3, 4}
    assert all(isinstance(row["seed"], int) and 1 <= row["seed"] <= 1000 for row in rows)
    assert all(row["learning_rate"] == float(f"{row['learning_rate']:.4g}") for row in rows)


def test_more_trials_begin_with_the_same_ones() -> None:
    for texts in ([RATES, "num_train_epochs=2,3"], ["num_train_epochs=2,3,4", "seed=1,2,3"]):
        space = parse_search(texts)
        assert draw(space, 8, 0)[:3] == draw(space, 3, 0)
        assert draw(parse_search(texts[::-1]), 8, 0) == draw(space, 8, 0)
        assert draw(space, 8, 1) != draw(space, 8, 0)


def test_lists_give_all_combinations_once() -> None:
    space = parse_search(["num_train_epochs=2,3,4", "seed=1,2"])
    rows = draw(space, None, 0)
    assert sorted((row["num_train_epochs"], row["seed"]) for row in rows) == [(e, s) for e in (2, 3, 4) for s in (1, 2)]
    assert draw(space, 100, 0) == rows
    assert draw(space, 4, 0) == rows[:4]
    with pytest.raises(InputError, match="--num_samples: is missing"):
        draw(parse_search([RATES]), None, 0)


# The folder.


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The numbers of the trials of each run; the score of a trial is its number, and trial 1 is stopped."""
    pytest.importorskip("yaml")
    runs: list[list[int]] = []

    def run_trials(trials, folder, asha, address, keep, tell):
        runs.append([trial.number for trial in trials])
        for trial in trials:
            output = Path(trial.recipe.output_dir)
            (output / "checkpoint-3").mkdir(parents=True)
            write_recipe(trial.recipe, output / "recipe.yaml")
            status = "stopped" if trial.number == 1 else "finished"
            known = {"metric": "eval_f1", "score": float(trial.number), "share": 50.0}
            keep(TrialResult(trial.number, status, trial.values, str(output), **known))

    monkeypatch.setattr(trials_on_ray, "run_trials", run_trials)
    return runs


def test_a_search(tmp_path: Path, ran: list[list[int]]) -> None:
    results = tune(recipe(tmp_path), ["seed=1,2,3,4"])
    folder = tmp_path / "search"
    assert [result.trial for result in results] == [3, 2, 0, 1]  # one that was stopped has no model
    assert [result.trial for result in read_table(folder / "trials.jsonl")] == [0, 1, 2, 3]
    assert (folder / "best").resolve() == folder / "trial-003"
    assert read_recipe(folder / "best" / "recipe.yaml")["seed"] == results[0].values["seed"]
    assert read_recipe(folder / "best" / "recipe.yaml")["certify"] is False
    assert not list(folder.glob("*/checkpoint-*"))
    assert ran == [[0, 1, 2, 3]]


def test_a_search_goes_on_and_grows(tmp_path: Path, ran: list[list[int]]) -> None:
    lines: list[str] = []
    tune(recipe(tmp_path), ["seed=1,2,3,4"], num_samples=2)
    table = tmp_path / "search" / "trials.jsonl"
    with table.open("a") as stream:
        stream.write('{"trial": 2, "status": "fini')  # the driver was killed here
    tune(recipe(tmp_path), ["seed=1,2,3,4"], tell=lines.append)
    assert ran == [[0, 1], [2, 3]]
    assert lines == [f"{tmp_path / 'search'}: 2 of 4 trials were done before"]
    tune(recipe(tmp_path), ["seed=1,2,3,4"])
    assert len(ran) == 2
    assert (tmp_path / "search" / "best").resolve().name == "trial-003"
    tune(recipe(tmp_path, overwrite_output_dir=True), ["seed=1,2,3"])
    assert ran[2:] == [[0, 1, 2]]
    assert not (tmp_path / "search" / "trial-003").exists()


@pytest.mark.parametrize("cut", ['{"trial": 1, "status": "fini', "{", '{"trial": 1}'])
def test_lines_added_after_one_that_was_cut_off_can_be_read(
    tmp_path: Path, ran: list[list[int]], monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    tune(recipe(tmp_path), ["seed=1,2,3"], num_samples=1)
    with (tmp_path / "search" / "trials.jsonl").open("a") as stream:
        stream.write(cut)

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("distilbert.training.tuning.finish_search", killed)  # it writes all lines anew
    with pytest.raises(KeyboardInterrupt):
        tune(recipe(tmp_path), ["seed=1,2,3"], num_samples=2)
    monkeypatch.undo()
    assert [found.trial for found in read_table(tmp_path / "search" / "trials.jsonl")] == [0, 1]


@pytest.mark.parametrize(("name", "split"), [("a.csv", "train"), ("b.csv", "validation")])
def test_data_that_has_changed(tmp_path: Path, ran: list[list[int]], name: str, split: str) -> None:
    tune(recipe(tmp_path), ["seed=1,2,3"], num_samples=2)
    (tmp_path / name).write_text("tokens,tags\na,b\n")
    table = (tmp_path / "search" / "trials.jsonl").read_bytes()
    with pytest.raises(InputError, match=rf"search: the {split} data has changed since .*\n.*--overwrite_output_dir"):
        tune(recipe(tmp_path), ["seed=1,2,3"])
    assert (tmp_path / "search" / "trials.jsonl").read_bytes() == table
    tune(recipe(tmp_path, overwrite_output_dir=True), ["seed=1,2,3"])
    tune(recipe(tmp_path), ["seed=1,2,3"])
    assert ran == [[0, 1], [0, 1, 2]]


def test_a_folder_of_something_else(tmp_path: Path, ran: list[list[int]]) -> None:
    tune(recipe(tmp_path), ["seed=1,2"])
    with pytest.raises(FileError, match="nowhere.csv: not found"):
        tune(recipe(tmp_path, train="nowhere.csv"), ["seed=1,2"])
    with pytest.raises(InputError, match=r"trial-000 is of another search: seed: was [12], is [34]\n.*anew"):
        tune(recipe(tmp_path), ["seed=3,4"])
    with pytest.raises(InputError, match="another search: weight_decay: was 0.0, is 0.5"):
        tune(recipe(tmp_path, weight_decay=0.5), ["seed=1,2"])
    with pytest.raises(InputError, match="is not empty and holds no search"):
        tune(recipe(tmp_path, output=str(tmp_path)), ["seed=1,2"])
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is no folder"):
        tune(recipe(tmp_path, output=str(tmp_path / "file")), ["seed=1,2"])
    assert len(ran) == 1


def test_what_a_search_cannot_begin_with(tmp_path: Path, ran: list[list[int]]) -> None:
    with pytest.raises(InputError, match=r"a search compares evaluations: name data for them \(--eval\)"):
        tune(recipe(tmp_path, eval=[]), ["seed=1,2"])
    with pytest.raises(InputError, match="stop_at_step: trials of a search run to their end"):
        tune(recipe(tmp_path, stop_at_step=3), ["seed=1,2"])
    with pytest.raises(InputError, match=r"--search: trial 0 of 1: recipe: dropout: expected less than 1, found 2"):
        tune(recipe(tmp_path), ["dropout=2"])
    with pytest.raises(InputError, match=r"(?s)c\.csv: not found.*d\.csv: not found"):
        tune(recipe(tmp_path, train=str(tmp_path / "c.csv"), eval=str(tmp_path / "d.csv")), ["seed=1,2"])
    assert not (tmp_path / "search").exists()
    assert not ran


def test_which_trial_is_best(tmp_path: Path) -> None:
    def result(number: int, status: str, score: float | None, **more: Any) -> TrialResult:
        return TrialResult(number, status, {}, str(tmp_path / f"trial-{number:03d}"), score=score, **more)

    losses = [result(n, "finished", score, is_greater_better=False) for n, score in enumerate([0.5, 0.2, 0.9])]
    assert [found.trial for found in finish_search(tmp_path, losses)] == [1, 0, 2]
    mixed = [result(0, "failed", None, message="nan"), result(1, "stopped", 0.9), result(2, "finished", 0.1)]
    assert [found.trial for found in finish_search(tmp_path, mixed)] == [2, 1, 0]
    with pytest.raises(TrainingError, match=r"no trial came to its end.*again\n  trial 0: nan"):
        finish_search(tmp_path, mixed[:2])
    assert (tmp_path / "best").readlink() == Path("trial-002")


def test_where_there_can_be_no_links_the_best_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self, target, target_is_directory=False):
        raise OSError("privilege not held")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    for number in (0, 1):
        (tmp_path / f"trial-00{number}").mkdir()
        (tmp_path / f"trial-00{number}" / "number").write_text(str(number))
        finish_search(tmp_path, [TrialResult(number, "finished", {}, str(tmp_path / f"trial-00{number}"), score=1.0)])
        assert (tmp_path / "best" / "number").read_text() == str(number)


# What trials say.


def test_what_a_trial_says(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []
    report = TrialReport(recipe(tmp_path), said.append)
    plan = {"total_steps": 4, "epochs": 1, "examples": 9, "trainable_parameters": 1, "backend": "pt"}
    report.begin(Plan(**plan, metric="eval_loss"))
    report.evaluated(1, 0.5, {"eval_loss": 0.5, "eval_f1": 0.25})
    report.evaluated(4, 2.0, {"eval_loss": 0.5})  # Ray may end a trial at any word: the model is still to come
    (answer,) = said
    facts = json.loads(answer.pop("facts"))
    assert answer == {"share": 25.0, "score": -0.5}
    assert (facts["metric"], facts["score"], facts["is_greater_better"]) == ("eval_loss", 0.5, False)
    assert facts["metrics"] == {"eval_loss": 0.5, "eval_f1": 0.25}
    report.begin(Plan(**plan, metric="eval_f1"))
    answer = report.answer(100.0, {"eval_f1": 0.75}, status="finished")
    assert (answer["share"], answer["score"]) == (100.0, 0.75)


def test_what_becomes_of_trials(tmp_path: Path) -> None:
    kept: list[TrialResult] = []
    lines: list[str] = []
    trials = {trial.number: trial for trial in make_trials(recipe(tmp_path), [{"seed": n} for n in range(5)])}
    watch = trials_on_ray._Watch(trials, kept.append, lines.append)
    half = {"metric": "eval_f1", "score": 0.5, "is_greater_better": True, "share": 50.0, "metrics": {"eval_f1": 0.5}}
    watch.started(0)
    watch.reported(0, half)
    watch.ended(0, {**half, "share": 100.0, "status": "finished"})
    watch.ended(1, half)
    nan = {"status": "failed", "kind": "TrainingError", "message": "the loss is nan", "trace": ""}
    watch.ended(2, nan)
    watch.died(3)
    watch.ended(3, half)  # what it said before
    assert [(found.trial, found.status, found.score) for found in kept] == [
        (0, "finished", 0.5),
        (1, "stopped", 0.5),
        (2, "failed", None),
        (3, "failed", None),
    ]
    assert lines == [
        "trial 0: seed 0",
        "trial 0: f1 0.5 after 50 % of its steps",
        "trial 0: finished, f1 0.5",
        "trial 1: stopped after 50 % of its steps, f1 0.5",
        "trial 2: failed: the loss is nan",
        "trial 3: failed: its process has ended 3 times (killed, or short of memory)",
    ]
    assert watch.error is None
    watch.ended(4, {**nan, "kind": "FileError", "message": "b.csv: not found"})
    assert len(kept) == 4
    assert isinstance(watch.error, FileError)


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BackendError, match=r'a search needs ray\n  install:  pip install "distilbert\[ray\]"'):
        tune(recipe(tmp_path), ["seed=1,2"])


# The command.


def test_what_the_command_prints(tmp_path: Path, ran: list[list[int]]) -> None:
    recipe(tmp_path)
    given = ("ner", "--model", "m", "--train", tmp_path / "a.csv", "--eval", tmp_path / "b.csv")
    given += ("--output", tmp_path / "out")
    given += ("--search", "learning_rate=1e-5,2e-5", "--search", "seed=1,2")
    result = invoke("tune", *given)
    rows = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert rows[1] == ["trial", "status", "learning_rate", "seed", "f1", "steps"]
    assert [row[:2] for row in rows[3:]] == [["3", "finished"], ["2", "finished"], ["0", "finished"], ["1", "stopped"]]
    assert result.stderr == f"{tmp_path / 'out' / 'best'}: trial 3\n"
    found = json.loads(invoke("tune", *given, "--json").stdout)
    assert [trial["trial"] for trial in found] == [3, 2, 0, 1]
    assert found[0]["metric"] == "eval_f1"
    assert "--search" in invoke("tune", *given[:9], code=2).stderr
    assert "--stop_at_step" in invoke("tune", *given, "--stop_at_step", "3", code=2).stderr.replace("-at-", "_at_")


# On a cluster.


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tune")
    small_recipe(folder)
    return folder


def start(folder: Path, nodes: Cluster, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "distilbert", "tune", "text-classification", "--model", "start"]
    command += ["--train", "train.csv", "--eval", "eval.csv", "--report_to", "none", "--max_seq_length", "32"]
    command += ["--ray_address", nodes.address, *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT, cwd=folder)


def finish(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    out, said = process.communicate(timeout=170)
    assert process.returncode == code, said
    for word in ("Traceback", "raylet", "tune_controller"):
        assert word not in said
    return out, said


@pytest.mark.slow
def test_a_search_is_killed_and_goes_on(nodes: Cluster, data: Path) -> None:
    options = ("--search", "learning_rate=1e9,1e-8,5e-3,7e-3", "--num_train_epochs", "10", "--output", "found")
    process = start(data, nodes, *options, "--no-asha")
    table = data / "found" / "trials.jsonl"
    until = time.monotonic() + 100
    while not table.exists() or "finished" not in table.read_text():
        assert time.monotonic() < until, process.kill()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = [result.trial for result in read_table(table) if result.status == "finished"]
    assert 1 <= len(done) < 3
    out, said = finish(start(data, nodes, *options, "--no-asha", "--json"))
    assert f"found: {len(done)} of 4 trials were done before\n" in said
    for number in done:
        assert f"trial {number}:" not in said
    results = json.loads(out)
    assert [result["status"] for result in results] == ["finished"] * 3 + ["failed"]
    assert results[0]["score"] > 0.9
    assert results[0]["values"]["learning_rate"] in (5e-3, 7e-3)
    assert "the loss is nan" in results[-1]["message"] or "norm is" in results[-1]["message"]
    assert (
        read_recipe(data / "found" / "best" / "recipe.yaml")["learning_rate"] == results[0]["values"]["learning_rate"]
    )
    assert (data / "found" / "best" / "model.safetensors").exists()
    assert not list((data / "found").glob(".*"))


@pytest.mark.slow
def test_trials_that_fall_behind_are_stopped(nodes: Cluster, data: Path) -> None:
    options = ("--search", "learning_rate=7e-3,1e-6,2e-6,3e-6,4e-6,5e-6", "--num_train_epochs", "6", "--output", "asha")
    _, said = finish(start(data, nodes, *options, "--metric_for_best_model", "loss"))
    assert "6 trials, 2 at a time on 1 CPU each\n" in said
    results = read_table(data / "asha" / "trials.jsonl")
    assert sorted(result.trial for result in results) == list(range(6))
    assert "asha/best: trial" in said
    best = min(results, key=lambda result: result.score or 0.0)
    assert (best.values["learning_rate"], best.metric, best.is_greater_better) == (7e-3, "eval_loss", False)
    behind = [result for result in results if result.status == "stopped"]
    assert behind
    assert all(20 <= result.share < 100 for result in behind)
    assert "stopped after" in said


@pytest.mark.slow
def test_what_is_wrong_in_all_trials_ends_the_search(nodes: Cluster, data: Path) -> None:
    options = ("--search", "seed=1,2,3,4,5,6", "--output", "bad", "--column", "label=nope")
    _, said = finish(start(data, nodes, *options), 1)
    assert "train.csv: label: no column 'nope'; found 'text', 'label'" in said
    assert "trial 5" not in said
