# SPDX-License-Identifier: Apache-2.0
"""A search for the best values of a recipe: trials, each a training of its own, and a table of what came of them.

The folder of a search holds `trial-NNN/`, each as `finetune` leaves it, `trials.jsonl` with a line for each trial that
has ended, `data.json`, which says what the data files held, and `best`, the best trial. A search that is killed goes
on: trials in the table are not repeated, and one that was under way goes on from its newest checkpoint. Trials and
their table are in `trials.py`, how trials run in `trials_on_ray.py`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from distilbert.errors import FileError, InputError, TrainingError, all_told
from distilbert.files import read_json, write_json, write_text
from distilbert.training import tasks
from distilbert.training.checkpoints import saved_steps
from distilbert.training.data import find_files
from distilbert.training.output import contents
from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.search_space import draw, parse_search
from distilbert.training.trials import (
    FAILED,
    FINISHED,
    PREFIX,
    Trial,
    TrialResult,
    add_to_table,
    check_same,
    make_trials,
    read_table,
    write_table,
)

TABLE = "trials.jsonl"
DATA = "data.json"
BEST = "best"


def tune(
    recipe: FinetuneRecipe,
    search: Sequence[str],
    *,
    num_samples: int | None = None,
    asha: bool = True,
    address: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> list[TrialResult]:
    """Train with different values of some arguments, and find the best of them.

    Args:
        recipe: what all trials have in common; its output is the folder of the search.
        search: expressions: `NAME=VALUE,VALUE`, `NAME=uniform(LOW,HIGH)`, `NAME=loguniform(LOW,HIGH)`.
        num_samples: trials that are drawn at random; None for all combinations, where there are only lists of values.
        asha: stop trials that fall behind, by asynchronous successive halving.
        address: of a Ray cluster, as for `train_on_ray`; None without RAY_ADDRESS starts one on this machine.
        tell: takes a line for each thing that happens.

    Returns:
        The results, the best first.

    Raises:
        InputError: lists all that is wrong with the expressions, values or output folder, or says that the data is not
            that of the trials before.
        FileError: there is no such data.
        TrainingError: no trial came to its end.
        BackendError: Ray or the framework is not installed; besides, what trainings raise for their data.
    """
    from distilbert.training.trials_on_ray import run_trials

    if not recipe.validation_file:
        raise InputError("a search compares evaluations: name data for them (--eval)")
    if recipe.stop_at_step is not None:
        raise InputError("stop_at_step: trials of a search run to their end")
    trials = make_trials(recipe, draw(parse_search(search), num_samples, recipe.seed))
    folder = Path(recipe.output_dir)
    results = prepare_search(folder, trials, data_contents(recipe), recipe.overwrite_output_dir)
    if results:
        tell(f"{folder}: {len(results)} of {len(trials)} trials were done before")

    def keep(result: TrialResult) -> None:
        results[result.trial] = result
        add_to_table(folder / TABLE, result)

    pending = [trial for trial in trials if trial.number not in results]
    if pending:
        run_trials(pending, folder, asha, address, keep, tell)
    return finish_search(folder, [results[number] for number in sorted(results)])


def data_contents(recipe: FinetuneRecipe) -> dict[str, list[str]]:
    """What the files of each split hold, shortened; FileError or InputError lists what is wrong with their names."""
    formats = tasks.find(recipe.task).formats
    names = {"train": recipe.train_file, "validation": recipe.validation_file}
    found: dict[str, list[str]] = {}
    with all_told() as errors:
        for split, given in names.items():
            try:
                found[split] = contents(find_files(given, recipe.input_format, formats))
            except FileError as error:
                errors.append(error)
    return found


def prepare_search(
    folder: Path, trials: Sequence[Trial], data: dict[str, list[str]], overwrite: bool
) -> dict[int, TrialResult]:
    """Make the folder; what trials that need no more work have come to.

    Args:
        folder: of the search.
        trials: all of them.
        data: as of `data_contents`.
        overwrite: forget the search that is there.

    Raises:
        InputError: the folder holds something else, or another search.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is no folder; choose another output")
    if overwrite and (folder / TABLE).exists():
        write_text(folder / TABLE, "")
        (folder / DATA).unlink(missing_ok=True)
        for old in folder.glob(f"{PREFIX}[0-9][0-9][0-9]*"):
            shutil.rmtree(old)
    others = [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.exists() else []
    if others and not (folder / TABLE).exists():
        raise InputError(f"{folder}: is not empty and holds no search to go on with; choose another output folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TABLE).touch()
    for trial in trials:
        check_same(trial)
    _check_data(folder / DATA, data)
    kept = read_table(folder / TABLE)
    write_table(folder / TABLE, kept)  # without the line that a kill cut off, after which none could be added
    numbers = {trial.number for trial in trials}
    results = {result.trial: result for result in kept}
    return {number: found for number, found in results.items() if number in numbers and found.status != FAILED}


def finish_search(folder: Path, results: Sequence[TrialResult]) -> list[TrialResult]:
    """Write the table in order, let `best` be the best, remove checkpoints; the results, the best first.

    Raises:
        TrainingError: no trial came to its end.
    """
    ranked = sorted(results, key=lambda result: result.rank)
    if not ranked or ranked[0].status != FINISHED:
        reasons = "".join(f"\n  trial {result.trial}: {result.message}" for result in results if result.message)
        raise TrainingError(f"{folder}: no trial came to its end; the same command tries them again{reasons}")
    write_table(folder / TABLE, results)
    for result in results:
        for step in saved_steps(Path(result.output)) if result.status != FAILED else []:
            shutil.rmtree(Path(result.output) / f"checkpoint-{step}")
    _point(folder / BEST, Path(ranked[0].output).name)
    return ranked


def _check_data(path: Path, data: dict[str, list[str]]) -> None:
    """Raise InputError if trials before had other data; note what there is where there were none."""
    if not path.exists():
        write_json(path, data)
        return
    then = read_json(path)
    changed = [split for split, found in data.items() if then.get(split) != found]
    if changed:
        raise InputError(
            f"{path.parent}: the {' and the '.join(changed)} data has changed since this search began, and trials with "
            "other data cannot be compared\n"
            "choose another output folder, or begin anew with --overwrite_output_dir"
        )


def _point(link: Path, target: str) -> None:
    """Let a name stand for a folder beside it; a copy, where there can be no link."""
    if link.is_dir() and not link.is_symlink():
        shutil.rmtree(link)
    temporary = link.with_name(f".{link.name}.partial")
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(target, target_is_directory=True)
        os.replace(temporary, link)
    except OSError:  # Windows allows links to few users
        shutil.copytree(link.parent / target, link)
