# SPDX-License-Identifier: Apache-2.0
"""The loop of training, the same for every framework and for all that is learned: steps, evaluations, checkpoints.

What happens in a step follows from the recipe and the number of the step; a training that is killed goes on from its
newest checkpoint and comes to the same weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from distilbert.convert.tensor import Array
from distilbert.errors import FileError, InputError, TrainingError
from distilbert.training.arguments import TrainingArguments
from distilbert.training.batch import Batch, normalised, padded_length, share
from distilbert.training.checkpoints import Checkpoints, Progress
from distilbert.training.engine import Engine, StepResult
from distilbert.training.evaluation import evaluate
from distilbert.training.order import Order
from distilbert.training.parts import accumulation_parts, length_parts
from distilbert.training.reports import Plan, Report
from distilbert.training.schedule import learning_rate


class Training:
    """One training, from its first or its newest step to its last."""

    def __init__(
        self,
        arguments: TrainingArguments,
        engine: Engine,
        task: Any,
        train: Any,
        validation: Any | None,
        checkpoints: Checkpoints,
        longest: int,
        reports: Sequence[Report] = (),
    ) -> None:
        """Put together what takes part.

        Args:
            arguments: of the training.
            engine: with the model.
            task: makes batches and metrics, as a `TrainingTask`.
            train, validation: examples to learn from and to evaluate on.
            checkpoints: where they go.
            longest: tokens that the model takes.
            reports: who is told; none but on the first process.
        """
        self.arguments = arguments
        self.engine = engine
        self.task = task
        self.train = train
        self.validation = validation
        self.checkpoints = checkpoints
        self.longest = longest
        self.reports = reports
        self.progress = Progress()
        self.step = 0  # how many were taken
        self.order = Order(train.lengths, self._batch_size(), arguments.seed, arguments.group_by_length)
        self.total = self.order.total_steps(arguments)

    # The whole.

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is one; InputError if it is of another training."""
        self._agreed([0.0])  # the first process has made the folder ready
        found = self.checkpoints.latest()
        if found is not None:
            state, self.progress = found
            best = self.progress.best_step
            if self.arguments.load_best_model_at_end and best not in (None, *self.checkpoints.steps()):
                path = self.checkpoints.path(best or 0)
                raise FileError(f"{path}: was the best and is gone; begin anew with --overwrite_output_dir")
            self.engine.load_state(state)
            self.step = state.step
        if self._agreed([self.step]) != [self.step]:
            raise TrainingError(f"{self.checkpoints.folder}: the processes do not see the same files in it")

    def run(self) -> int:
        """Take the steps that are left, up to the last or the one to stop at; how many were taken so far."""
        step = self.step
        end = min(self.total, self.arguments.stop_at_step or self.total)
        log = _Log(self.arguments.logging_steps)
        self._check_metric()  # before reports begin files that an error would leave behind
        self._tell("begin", self.plan())
        while step < end and not self._has_stopped_early():
            parts = self.parts(step)
            rate = learning_rate(self.arguments, step, self.total)
            result = self.engine.step(self._own(parts), rate, step)
            self._check(result)
            step = self.step = step + 1
            self._tell("stepped", step)
            log.add(result, parts)
            if log.is_due(step) or step == end:
                self._record("log", step, {**log.values(), "learning_rate": rate})
            if self._is_due(self.arguments.eval_strategy, self.arguments.eval_steps, step):
                self._evaluate(step)
            is_best = self.arguments.load_best_model_at_end and self.progress.best_step == step
            is_last = step == end or self._has_stopped_early()
            if is_best or is_last or self._is_due(self.arguments.save_strategy, self.arguments.save_steps, step):
                self._save()
        return step

    @property
    def is_finished(self) -> bool:
        """Whether no steps are left."""
        return self._has_stopped_early() or self.step >= self.total

    # A step.

    def parts(self, step: int) -> list[Batch]:
        """What a step learns from, over all processes, in parts whose weights add up to 1 together."""
        epoch = step // self.order.steps_per_epoch
        rows = self.order.rows(step)
        unit = self.engine.settings.world.size * self.engine.rows_multiple
        found = []
        for accumulated in accumulation_parts(rows, self.arguments.gradient_accumulation_steps):
            lengths = self.train.lengths[accumulated]
            padded = -(-lengths // self.arguments.pad_to_multiple_of) * self.arguments.pad_to_multiple_of
            for part in length_parts(accumulated, padded, unit, self.engine.computes_padding):
                length = padded_length(self.train.lengths[part], self.arguments.pad_to_multiple_of, self.longest)
                found.append(self.task.collate(self.train, part, length, (self.arguments.seed, epoch)))
        return normalised(found)

    def _own(self, parts: Sequence[Batch]) -> list[Batch]:
        world = self.engine.settings.world
        return [share(part, world.rank, world.size, self.engine.rows_multiple) for part in parts]

    def _check(self, result: StepResult) -> None:
        loss = sum(result.terms.values())
        if math.isfinite(loss) and math.isfinite(result.gradient_norm):
            return
        found = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradients' norm is {result.gradient_norm}"
        raise self._diverged(found)

    def _diverged(self, found: str) -> TrainingError:
        saved = self.checkpoints.steps()
        kept = f"; {self.checkpoints.path(saved[-1])} is from before" if saved else ""
        return TrainingError(
            f"step {self.step + 1}: {found}, so there is nothing more to learn; "
            f"try a lower learning_rate, more warmup_steps or no bf16{kept}"
        )

    # Evaluations and checkpoints.

    def evaluate(self) -> dict[str, float]:
        """Metrics of the model as it is, those of the first process for all of them; none without data."""
        if self.validation is None:
            return {}
        batch, multiple = self.arguments.per_device_eval_batch_size, self.arguments.pad_to_multiple_of
        found = evaluate(self.engine, self.task, self.validation, batch, multiple, self.longest)
        return dict(zip(found, self._agreed([*found.values()]), strict=True))

    def _agreed(self, values: Sequence[float]) -> list[float]:
        """The numbers of the first process, bit for bit: what follows from them must be the same in all."""
        bits = np.asarray(values, np.float64).view(np.int32)
        return [*map(float, np.ascontiguousarray(self.engine.gathered(bits)[0]).view(np.float64))]

    @property
    def final_step(self) -> int:
        """The step whose weights are those to end with: the newest, or the best."""
        best = self.progress.best_step
        return best if self.arguments.load_best_model_at_end and best is not None else self.step

    def final_weights(self) -> dict[str, Array]:
        """The weights to end with, in the engine too."""
        if self.final_step != self.step:
            self.engine.load_state(self.checkpoints.load(self.final_step)[0])
        return self.engine.state().weights

    def _evaluate(self, step: int) -> None:
        metrics = self.evaluate()
        if metrics:
            self._note_best(step, metrics)
            self._record("evaluated", step, metrics)

    def _check_metric(self) -> None:
        """Raise InputError for a metric that evaluations do not have: one of them tells, before hours are lost."""
        name = best_metric_name(self.arguments, self.main_metric)
        if self.validation is None or name in ("eval_loss", f"eval_{self.main_metric}"):
            return
        metrics = self.evaluate()
        if name not in metrics:
            names = ", ".join(metric.removeprefix("eval_") for metric in metrics)
            raise InputError(f"metric_for_best_model: expected one of {names}; found {name.removeprefix('eval_')!r}")

    def _note_best(self, step: int, metrics: dict[str, float]) -> None:
        name = best_metric_name(self.arguments, self.main_metric)
        value, best = metrics[name], self.progress.best_metric
        gain = math.inf if best is None else (value - best) * (1 if is_greater_better(self.arguments, name) else -1)
        if gain > 0:
            self.progress.best_metric, self.progress.best_step = value, step
        gained = gain > self.arguments.early_stopping_threshold
        self.progress.without_gain = 0 if gained else self.progress.without_gain + 1

    def _has_stopped_early(self) -> bool:
        patience = self.arguments.early_stopping_patience
        return patience is not None and self.progress.without_gain >= patience

    def _save(self) -> None:
        state = self.engine.state()
        if not all(np.isfinite(values).all() for values in state.weights.values()):
            raise self._diverged("the last step has led to weights that are no numbers")
        if self.engine.settings.world.is_first:
            path = self.checkpoints.save(state, self.progress)
            for report in self.reports:
                report.saved(state.step, path)

    # Small facts.

    @property
    def main_metric(self) -> str:
        """The one that counts, unless the recipe says otherwise."""
        return str(self.task.main_metric)

    def example_counts(self) -> dict[str, int]:
        """How many examples each split has."""
        found = {"train": len(self.train)}
        return found if self.validation is None else {**found, "validation": len(self.validation)}

    def _batch_size(self) -> int:
        return self.arguments.step_examples(self.engine.settings.world.size)

    def _is_due(self, strategy: str, every: int, step: int) -> bool:
        if strategy == "epoch":
            return step % self.order.steps_per_epoch == 0 or step == self.total
        return strategy == "steps" and (step % every == 0 or step == self.total)

    def plan(self) -> Plan:
        """What is about to be trained, for reports."""
        trained = [name for name, plan in self.engine.settings.plans.items() if plan.trained]
        shapes = self.engine.model.tensor_specs
        return Plan(
            total_steps=self.total,
            epochs=self.total / self.order.steps_per_epoch,
            examples=len(self.train),
            trainable_parameters=sum(math.prod(shapes[name].shape) for name in trained),
            backend=self.engine.backend,
            processes=self.engine.settings.world.size,
            resumed_step=self.step,
            metric=best_metric_name(self.arguments, self.main_metric),
        )

    def _record(self, kind: str, step: int, values: dict[str, float]) -> None:
        epoch = step / self.order.steps_per_epoch
        self.progress.history.append({"step": step, "epoch": epoch, **values})
        self._tell(kind, step, epoch, values)

    def _tell(self, kind: str, *facts: Any) -> None:
        for report in self.reports:
            getattr(report, kind)(*facts)


def best_metric_name(arguments: TrainingArguments, main_metric: str) -> str:
    """The metric that decides which model is best, as evaluations call it."""
    name = arguments.metric_for_best_model or main_metric
    return name if name.startswith("eval_") else f"eval_{name}"


def is_greater_better(arguments: TrainingArguments, name: str) -> bool:
    """Whether more of a metric is better: of losses and squared errors it is not."""
    if arguments.greater_is_better is not None:
        return arguments.greater_is_better
    return not name.endswith(("loss", "perplexity", "mse"))


class _Log:
    """What is said of the steps since the last line: means of the loss, and how fast they were."""

    def __init__(self, every: int) -> None:
        self.every = every
        self._begin()

    def _begin(self) -> None:
        self.terms: dict[str, list[float]] = {}
        self.norm = 0.0
        self.tokens = self.examples = 0
        self.started = time.monotonic()

    def add(self, result: StepResult, parts: Sequence[Batch]) -> None:
        for name, value in result.terms.items():
            self.terms.setdefault(name, []).append(value)
        self.norm = result.gradient_norm
        self.tokens += sum(int(part["attention_mask"].sum()) for part in parts)
        self.examples += sum(len(part["attention_mask"]) for part in parts)

    def is_due(self, step: int) -> bool:
        return step % self.every == 0

    def values(self) -> dict[str, float]:
        seconds = max(time.monotonic() - self.started, 1e-9)
        terms = {name: float(np.mean(values)) for name, values in self.terms.items()}
        if "loss" not in terms:
            terms = {"loss": sum(terms.values()), **terms}
        found = {
            **terms,
            "grad_norm": self.norm,
            "examples_per_second": self.examples / seconds,
            "tokens_per_second": self.tokens / seconds,
        }
        self._begin()
        return found
