# SPDX-License-Identifier: Apache-2.0
"""Trials of a search on a Ray cluster, by Ray Tune: as many at a time as there is room for, each in its own process.

Ray Tune places trials, retries those whose node is lost, and stops those that fall behind. What was tried and what came
of it is kept by `tuning.py`, in files that any version of Ray can go on with.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilbert import backend as backends
from distilbert.errors import BackendError, TrainingError
from distilbert.ray_connection import connected, error_of, failure, fit, is_debug, require_ray, rooms
from distilbert.threads import local_threads
from distilbert.training.on_ray import environment_of_all, shared_folder
from distilbert.training.ray_worker import Place
from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.reports import Plan, Report
from distilbert.training.trials import FAILED, FINISHED, STOPPED, Trial, TrialResult, as_text

WANTED_BY = "a search"
_RETRIES = 2  # of a trial whose process or node is gone; it goes on from its newest checkpoint
_ALL = 100.0  # percent
_FIRST_LOOK = 20  # percent of a trial's steps; then three times as many
_KEPT = 3  # of so many trials one goes on
_SETTINGS = {  # of Ray Tune: Ctrl-C is ours, and so are the files
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
}


@dataclass(frozen=True)
class Work:
    """What all trials are told: their recipes, by number, and where."""

    recipes: Mapping[int, FinetuneRecipe]
    place: Place


def run_trials(
    trials: Sequence[Trial],
    folder: Path,
    asha: bool,
    address: str | None,
    keep: Callable[[TrialResult], None],
    tell: Callable[[str], None],
) -> None:
    """Run trials until the last one has ended.

    Args:
        trials: to be run.
        folder: of the search.
        asha: stop those that fall behind.
        address: of the cluster.
        keep: called with what came of each trial, as soon as it has ended.
        tell: takes a line for each thing that happens.

    Raises:
        BackendError: Ray is not installed, or the cluster cannot be reached or is lost.
        DistilBertError: what is wrong with the data or the recipe of the first trial that says so.
    """
    ray = require_ray(WANTED_BY, "tune", "tune.schedulers", "exceptions")
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    watch = _Watch({trial.number: trial for trial in trials}, keep, tell)
    with connected(ray, address), shared_folder(folder / "trials") as shared:
        threads, places = fit(local_threads(), rooms(ray))
        recipes = {trial.number: _with_backend(trial.recipe) for trial in trials}
        job = Work(recipes, Place(Path.cwd(), shared, environment_of_all(), threads))
        cpus = "1 CPU" if threads == 1 else f"{threads} CPUs"
        tell(f"{len(trials)} trials, {min(places, len(trials))} at a time on {cpus} each")
        try:
            _tuner(ray, job, watch, asha).fit()
        except (ray.exceptions.RayError, ray.tune.TuneError) as error:
            raise BackendError(f"Ray: {type(error).__name__}: {str(error).strip().splitlines()[0]}") from None
    if watch.error is not None:
        raise watch.error


def run_trial(config: Mapping[str, Any], work: Work) -> None:
    """Be one trial, in a process of Ray Tune: say what each evaluation and the end have come to."""
    ray = require_ray(WANTED_BY, "tune")
    recipe = work.recipes[config["number"]]
    told = TrialReport(recipe, lambda answer: ray.tune.report(answer))
    try:
        work.place.enter()
        from distilbert.training.finetuning import finetune

        outcome = finetune(recipe, [told])
        answer = told.answer(_ALL, outcome.metrics, status=FINISHED)
    except Exception as error:
        answer = {"share": 0.0, "score": float("nan"), "facts": json.dumps({"status": FAILED, **failure(error)})}
    ray.tune.report(answer)


class TrialReport(Report):
    """Says what evaluations come to, apart from the last one: Ray may end a trial at any, and the model comes after."""

    def __init__(self, recipe: FinetuneRecipe, say: Callable[[dict[str, Any]], None]) -> None:
        """Take the recipe, and who is told."""
        self._recipe = recipe
        self._say = say
        self._plan: Plan | None = None

    def begin(self, plan: Plan) -> None:
        self._plan = plan

    def evaluated(self, step: int, epoch: float, metrics: Mapping[str, float]) -> None:
        total = self._plan.total_steps if self._plan else step
        if step < total:
            self._say(self.answer(_ALL * step / total, metrics))

    def answer(self, share: float, metrics: Mapping[str, float], **more: str) -> dict[str, Any]:
        """An evaluation after a share of the steps, as Ray Tune takes it: more of `score` is always better."""
        from distilbert.training.loop import is_greater_better

        name = self._plan.metric if self._plan else "eval_loss"
        is_greater = is_greater_better(self._recipe, name)
        facts = {"metric": name, "score": metrics[name], "is_greater_better": is_greater, "share": share, **more}
        score = metrics[name] if is_greater else -metrics[name]
        return {"share": share, "score": score, "facts": json.dumps({**facts, "metrics": dict(metrics)})}


class _Watch:
    """What the driver is told of trials, and what it makes of it."""

    def __init__(
        self, trials: Mapping[int, Trial], keep: Callable[[TrialResult], None], tell: Callable[[str], None]
    ) -> None:
        self.trials = trials
        self.keep = keep
        self.tell = tell
        self.error: Exception | None = None
        self.done: set[int] = set()

    def started(self, number: int) -> None:
        trial = self.trials[number]
        values = ", ".join(f"{name} {as_text(value)}" for name, value in trial.values.items())
        self.tell(f"trial {number}: {values}")

    def reported(self, number: int, facts: Mapping[str, Any]) -> None:
        if "status" not in facts:
            self.tell(f"trial {number}: {_score(facts)} after {facts['share']:.0f} % of its steps")

    def ended(self, number: int, facts: Mapping[str, Any]) -> None:
        if number in self.done:
            return
        self.done.add(number)
        trial = self.trials[number]
        values: dict[str, Any] = {"trial": number, "values": trial.values, "output": trial.recipe.output_dir}
        if facts.get("status") == FAILED:
            self._failed(values, facts)
            return
        known = {name: value for name, value in facts.items() if name != "status"}
        result = TrialResult(**values, **known, status=facts.get("status", STOPPED))
        self.keep(result)
        behind = f" after {result.share:.0f} % of its steps" if result.status == STOPPED else ""
        self.tell(f"trial {number}: {result.status}{behind}, {_score(facts)}")

    def _failed(self, values: dict[str, Any], facts: Mapping[str, Any]) -> None:
        """A training that went wrong is a result; anything else would go wrong in all trials."""
        if facts["kind"] == TrainingError.__name__:
            self.keep(TrialResult(**values, status=FAILED, message=facts["message"]))
            self.tell(f"trial {values['trial']}: failed: {facts['message']}")
        else:
            self.error = self.error or error_of(facts)

    def died(self, number: int) -> None:
        message = f"its process has ended {_RETRIES + 1} times (killed, or short of memory)"
        self.ended(number, {"status": FAILED, "kind": TrainingError.__name__, "message": message})


def _tuner(ray: Any, job: Work, watch: _Watch, asha: bool) -> Any:
    kinds = ray.tune
    resources = {"cpu": job.place.threads, "gpu": 1 if ray.cluster_resources().get("GPU", 0) else 0}
    scheduler = kinds.schedulers.ASHAScheduler(
        time_attr="share",
        metric="score",
        mode="max",
        max_t=int(_ALL) + 1,  # at its end a trial ends by itself
        grace_period=_FIRST_LOOK,
        reduction_factor=_KEPT,
    )
    return kinds.Tuner(
        kinds.with_resources(kinds.with_parameters(run_trial, work=job), resources),
        param_space={"number": kinds.grid_search(sorted(job.recipes))},
        tune_config=kinds.TuneConfig(scheduler=scheduler if asha else None, reuse_actors=False),
        run_config=kinds.RunConfig(
            name="search",
            storage_path=str(job.place.shared),
            failure_config=kinds.FailureConfig(max_failures=_RETRIES),
            callbacks=[_callback(kinds, watch)],
            stop=_stopper(kinds, watch),
            verbose=3 if is_debug() else 0,
        ),
    )


def _callback(kinds: Any, watch: _Watch) -> Any:
    """The watch as a callback of Ray Tune, whose class is there only where Ray is."""

    def facts(result: Mapping[str, Any] | None) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((result or {}).get("facts", "{}"))
        return found

    methods = {
        "on_trial_start": lambda self, iteration, trials, trial, **info: watch.started(trial.config["number"]),
        "on_trial_result": lambda self, iteration, trials, trial, result, **info: watch.reported(
            trial.config["number"], facts(result)
        ),
        "on_trial_complete": lambda self, iteration, trials, trial, **info: watch.ended(
            trial.config["number"], facts(trial.last_result)
        ),
        "on_trial_error": lambda self, iteration, trials, trial, **info: watch.died(trial.config["number"]),
    }
    return type("SearchCallback", (kinds.Callback,), methods)()


def _stopper(kinds: Any, watch: _Watch) -> Any:
    """Ends the search where something is wrong with all trials."""
    methods = {
        "__call__": lambda self, trial_id, result: False,
        "stop_all": lambda self: watch.error is not None,
    }
    return type("SearchStopper", (kinds.Stopper,), methods)()


def _with_backend(recipe: FinetuneRecipe) -> FinetuneRecipe:
    return dataclasses.replace(recipe, backend=backends.choose(recipe.backend))


def _score(facts: Mapping[str, Any]) -> str:
    return f"{facts['metric'].removeprefix('eval_')} {facts['score']:.4g}"
