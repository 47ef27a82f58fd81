# SPDX-License-Identifier: Apache-2.0
"""What a search tries, and what came of it: trials, their results, and the table in which results are kept."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distilbert.errors import InputError
from distilbert.files import parse_json, read_text, write_text
from distilbert.training.recipe_file import RECIPE_NAME, read_recipe
from distilbert.training.recipes import FinetuneRecipe

FINISHED, STOPPED, FAILED = "finished", "stopped", "failed"
PREFIX = "trial-"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training of a search.

    Attributes:
        number: from 0.
        values: that differ between trials, by field.
        recipe: with these values, and a folder of its own.
    """

    number: int
    values: dict[str, Any]
    recipe: FinetuneRecipe


@dataclasses.dataclass(frozen=True)
class TrialResult:
    """What came of a trial; a line of the table.

    Attributes:
        trial: its number.
        status: `finished`, `stopped` (before its end, because others were better) or `failed`.
        values: as the trial's.
        output: its folder.
        metric: the one that counts, as evaluations call it; None where there was no evaluation.
        score: its value: of the model in the folder, or of the last evaluation.
        is_greater_better: whether more of it is better.
        share: of its steps that it took, in percent.
        metrics: all of that evaluation.
        message: why it failed.
    """

    trial: int
    status: str
    values: dict[str, Any]
    output: str
    metric: str | None = None
    score: float | None = None
    is_greater_better: bool = True
    share: float = 0.0
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    message: str | None = None

    @property
    def rank(self) -> tuple[int, float]:
        """To sort by, the best first."""
        score = 0.0 if self.score is None else self.score
        return (FINISHED, STOPPED, FAILED).index(self.status), -score if self.is_greater_better else score


def make_trials(recipe: FinetuneRecipe, values: Sequence[Mapping[str, Any]]) -> list[Trial]:
    """The trials; InputError lists what is wrong with the values of one."""
    trials = []
    for number, own in enumerate(values):
        output = str(Path(recipe.output_dir) / f"{PREFIX}{number:03d}")
        fixed = {"output_dir": output, "overwrite_output_dir": False, "certify": False}
        try:
            trials.append(Trial(number, dict(own), dataclasses.replace(recipe, **{**own, **fixed})))
        except InputError as error:
            raise InputError(f"--search: trial {number} of {len(values)}: {error}") from None
    return trials


def check_same(trial: Trial) -> None:
    """Raise InputError if the trial's folder is of one with other values or arguments."""
    path = Path(trial.recipe.output_dir) / RECIPE_NAME
    if not path.exists():
        return
    then, now = FinetuneRecipe.from_dict(read_recipe(path)).identity(1), trial.recipe.identity(1)
    problems = [f"{name}: was {then[name]!r}, is {now[name]!r}" for name in now if then[name] != now[name]]
    if problems:
        raise InputError(
            f"{path.parent} is of another search: {'; '.join(problems)}\n"
            "choose another output folder, or begin anew with --overwrite_output_dir"
        )


def read_table(path: Path) -> list[TrialResult]:
    """The lines of a table; one that was cut off by a kill is left out."""
    *lines, _ = read_text(path).split("\n")
    return [TrialResult(**parse_json(line, f"{path}: line {number}")) for number, line in enumerate(lines, 1)]


def write_table(path: Path, results: Sequence[TrialResult]) -> None:
    """Write a table anew."""
    write_text(path, "".join(map(_line, results)))


def add_to_table(path: Path, result: TrialResult) -> None:
    """Write a line at the end of a table."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(_line(result))


def as_text(value: Any) -> str:
    """A value of a trial for a reader."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _line(result: TrialResult) -> str:
    """Of ASCII, so that it can be read up to wherever a kill cuts it off."""
    return json.dumps(dataclasses.asdict(result)) + "\n"
