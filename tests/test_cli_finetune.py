# SPDX-License-Identifier: Apache-2.0
"""`distilbert finetune` as a command: its options are the fields of the recipe, and only what was given counts."""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from distilbert import cli
from distilbert.cli.recipe_options import options_of, with_options_of
from distilbert.errors import TrainingError
from distilbert.training.arguments import TrainingArguments
from distilbert.training.output import Outcome
from distilbert.training.recipes import FIELDS_OF_TASKS, FinetuneRecipe
from distilbert.training.settings import Settings, kind_of, setting

from .test_cli import invoke

NEEDED = ("--model", "m", "--train", "a.csv", "--output", "out")
GIVEN = {"task": "ner", "model": "m", "train": ["a.csv"], "output": "out"}
FIELDS = {entry.name: entry for entry in dataclasses.fields(FinetuneRecipe)}
HINTS = typing.get_type_hints(FinetuneRecipe)
SWITCHES = {name for name in FIELDS if kind_of(HINTS[name])[0] is bool}
SAMPLES = {int: "3", float: "0.25", str: "x", tuple: "x"}


@pytest.fixture
def trained(monkeypatch):
    """The recipes that would have been trained."""
    recipes = []

    def finetune(recipe, reports=()):
        recipes.append(recipe)
        metrics = {"eval_loss": 0.25, "eval_accuracy": 0.875}
        return Outcome(Path(recipe.output_dir), 10, recipe.stop_at_step is None, metrics, [])

    monkeypatch.setattr("distilbert.training.finetuning.finetune", finetune)
    monkeypatch.setattr("distilbert.cli.ray_options.load_quietly", lambda names, wanted_by: None)
    monkeypatch.setattr("distilbert.backend.choose", lambda name: name or "pt")
    return recipes


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def sample(name: str) -> tuple[str, object]:
    """A value for a field other than its default, as an option has it and as the recipe does."""
    entry, (kind, _) = FIELDS[name], kind_of(HINTS[name])
    if "choices" in entry.metadata:
        chosen = [choice for choice in entry.metadata["choices"] if choice != entry.default][-1]
        return chosen, chosen
    text = {"max_seq_length": "16", "report_to": "none"}.get(name, SAMPLES[kind])
    return text, (text,) if kind is tuple else kind(text)


def fields_of(task: str) -> set[str]:
    """The fields that a recipe of the task may set, besides the task."""
    others = {name for other, names in FIELDS_OF_TASKS.items() if other != task for name in names}
    return set(FIELDS) - others - {"task"}


def test_every_field_is_of_some_task():
    assert set.union(*map(fields_of, FIELDS_OF_TASKS)) == set(FIELDS) - {"task"}


@pytest.mark.parametrize("task", FIELDS_OF_TASKS)
@pytest.mark.parametrize("spelled", [str, lambda name: name.replace("_", "-")])
def test_every_field_is_an_option_in_both_spellings(trained, spelled, task):
    samples = {name: sample(name) for name in sorted(fields_of(task) - SWITCHES)}
    options = [part for name, (text, _) in samples.items() for part in (f"--{spelled(name)}", text)]
    invoke("finetune", task, *options)
    values = {name: value for name, (_, value) in samples.items()}
    assert trained == [FinetuneRecipe.from_dict({"task": task, **values})]
    assert all(getattr(trained[0], name) == value != FIELDS[name].default for name, value in values.items())


@pytest.mark.parametrize("task", FIELDS_OF_TASKS)
@pytest.mark.parametrize("spelled", [str, lambda name: name.replace("_", "-")])
def test_switches_go_both_ways(trained, spelled, task):
    switches = sorted(SWITCHES & fields_of(task))
    for prefix, value in (("", True), ("no_", False)):
        invoke("finetune", task, *NEEDED, "--eval", "b.csv", *(f"--{spelled(prefix + name)}" for name in switches))
        assert {name: getattr(trained[-1], name) for name in switches} == dict.fromkeys(switches, value)


def test_fields_of_other_tasks_are_refused(trained):
    others = [name for task, names in FIELDS_OF_TASKS.items() if task != "token-classification" for name in names]
    options = [part for name in others for part in (f"--{name}", *([] if name in SWITCHES else sample(name)[:1]))]
    result = invoke("finetune", "ner", *NEEDED, *options, code=1)
    assert result.stderr.startswith(f"error: recipe: {len(others)} problems")
    assert all(f"{name}: is for " in result.stderr for name in others)
    assert not trained


def test_long_and_short_names(trained):
    invoke(
        "finetune", "ner", "--model_name_or_path", "m", "--train-file", "a", "--output_dir", "o", "--validation_file=b"
    )
    invoke("finetune", "ner", "--model", "m", "--train", "a", "--output", "o", "--eval", "b")
    assert trained[0] == trained[1]
    assert trained[0].validation_file == ("b",)
    assert trained[0].task == "ner"


def test_lists_are_repeatable(trained):
    invoke("finetune", "ner", *NEEDED, "--train", "b.csv", "--column", "text=a", "--column", "label=b")
    assert trained[0].train_file == ("a.csv", "b.csv")
    assert trained[0].column == ("text=a", "label=b")


def test_a_recipe_file_and_what_replaces_it(trained, tmp_path):
    pytest.importorskip("yaml")
    path = tmp_path / "recipe.yaml"
    path.write_text("task: ner\nmodel: m\ntrain: [a.csv]\noutput: out\nseed: 7\nbf16: true\nlearning_rate: 3e-5\n")
    invoke("finetune", path)
    assert trained[-1] == FinetuneRecipe.from_dict(GIVEN | {"seed": 7, "bf16": True, "learning_rate": 3e-5})
    invoke("finetune", path, "--seed", "42", "--no-bf16", "--model", "n")  # 42 is the default, and yet it was given
    changed = {"model": "n", "seed": 42, "bf16": False, "learning_rate": 3e-5}
    assert trained[-1] == FinetuneRecipe.from_dict(GIVEN | changed)


def test_what_is_wrong_is_said_at_once_and_nothing_is_trained(trained, tmp_path):
    result = invoke("finetune", "ner", "--seed", "-1", "--lr_scheduler_type", "steep", *NEEDED, code=1)
    assert result.stderr.startswith("error: recipe: 2 problems")
    assert "seed: expected at least 0, found -1" in result.stderr
    result = invoke("finetune", "ner", code=1)
    for name in ("model", "train", "output"):
        assert f"{name}: is missing" in result.stderr
    path = tmp_path / "absent.yaml"
    assert f"{path}: cannot be read" in invoke("finetune", path, code=1).stderr
    assert not trained


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lerning_rate", "1"], "--lerning"),
        (["--learning-rate", "fast"], "--learning_rate"),
        (["--max_steps", "1.5"], "--max_steps"),
        (["--bf16", "true"], "true"),
    ],
)
def test_wrong_usage(trained, arguments, message):
    assert message in plain(invoke("finetune", "ner", *NEEDED, *arguments, code=2).stderr)
    assert "TASK_OR_RECIPE" in plain(invoke("finetune", code=2).stderr)
    assert not trained


def test_what_it_prints(trained):
    result = invoke("finetune", "ner", *NEEDED)
    assert result.stdout.split() == ["loss", "0.2500", "accuracy", "0.8750"]
    assert result.stderr == "out: trained in 10 steps\n"
    found = json.loads(invoke("finetune", "ner", *NEEDED, "--json").stdout)
    assert found == {"output": "out", "steps": 10, "metrics": {"eval_loss": 0.25, "eval_accuracy": 0.875}}
    result = invoke("finetune", "ner", *NEEDED, "--stop_at_step", "10")
    assert result.stderr == "warning: out: stopped after 10 steps; the same command goes on\n"


def test_a_training_that_fails(trained, monkeypatch):
    def finetune(recipe, reports):
        raise TrainingError("step 3: the loss is nan")

    monkeypatch.setattr("distilbert.training.finetuning.finetune", finetune)
    assert invoke("finetune", "ner", *NEEDED, code=1).stderr == "error: step 3: the loss is nan\n"


def test_help_has_every_option_with_its_default():
    result = CliRunner().invoke(cli.app, ["finetune", "--help"], env={"COLUMNS": "300", "NO_COLOR": "1"})
    printed = plain(result.stdout)
    lines = {line.split()[1].split(",")[-1]: line for line in printed.splitlines() if line.startswith("│ --")}
    for name, entry in FIELDS.items():
        if name != "task":
            assert f"--{name}" in lines
            assert entry.metadata["help"] in lines[f"--{name}"]
    assert "Default: 5e-05." in lines["--learning_rate"]
    assert "Default: false." in lines["--bf16"]
    assert "One of linear, cosine," in lines["--lr_scheduler_type"]
    assert "Default" not in lines["--dropout"]
    headings = re.findall(r"─ ([A-Z][\w, ]+?) ─", printed)
    assert headings[:4] == ["Arguments", "Options", "Model and data", "Of single tasks"]
    assert {"Run", "Optimizer", "Speed and memory"} <= set(headings)


def test_other_commands_take_underscores_too():
    assert "NAME" in plain(invoke("predict", "--input_format", "csv", code=2).stderr + "NAME")
    group = typer.main.get_command(cli.app)
    context = group.make_context("distilbert", ["predict", "a", "b", "c", "-o", "d", "--input_format", "csv"])
    name, command, rest = group.resolve_command(context, ["predict", "a", "b", "c", "-o", "d", "--input_format", "csv"])
    assert command.make_context(name, rest, parent=context).params["input_format"] == "csv"


# Options of any recipe.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Base(Settings):
    rate: float = setting(0.1, "Of it.", panel="Rates")
    steps: int = setting(3, "Of it.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Special(Base):
    rate: float = setting(0.5, "Another one.")
    name: str = setting(dataclasses.MISSING, "Of it.", panel="Names", alias="called")


def test_own_fields_come_first_and_a_new_default_stays_in_its_place():
    found = options_of(Special)
    assert [entry.name for entry in found] == ["name", "rate", "steps"]
    options = [entry.annotation.__metadata__[0] for entry in found]
    assert [option.rich_help_panel for option in options] == ["Names", "Rates", "Rates"]
    assert options[1].help == "Another one. Default: 0.5."
    assert [entry.default for entry in found] == [None] * 3
    assert [entry.name for entry in options_of(Special, ["rate"])] == ["name", "steps"]


def test_a_command_without_arguments_of_its_own():
    seen = []

    @with_options_of(Special)
    def command(**given) -> None:
        seen.append(given)

    app = typer.Typer()
    app.command()(command)
    assert CliRunner().invoke(app, ["--called", "x", "--steps", "3"]).exit_code == 0
    assert CliRunner().invoke(app, []).exit_code == 0
    assert seen == [{"name": "x", "steps": 3}, {}]


def test_no_two_options_have_the_same_name():
    for recipe in (FinetuneRecipe, TrainingArguments):
        names = [name for entry in options_of(recipe) for name in entry.annotation.__metadata__[0].param_decls]
        flat = [part.replace("_", "-") for name in names for part in name.split("/")]
        assert len(flat) == len(set(flat))
