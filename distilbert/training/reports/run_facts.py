# SPDX-License-Identifier: Apache-2.0
"""What reports are told of a training, as plain data. No framework, and nothing of how it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from distilbert.model_cards.parity import Parity
from distilbert.training.arguments import TrainingArguments


@dataclass(frozen=True)
class Plan:
    """What is about to be trained.

    Attributes:
        total_steps: of the optimizer, in the whole training.
        epochs: how often all data is seen.
        examples: to learn from.
        trainable_parameters: numbers that change.
        backend: short name of the framework.
        processes: that train together.
        resumed_step: steps that were taken before this process began.
        metric: that decides which model is best, as evaluations call it.
    """

    total_steps: int
    epochs: float
    examples: int
    trainable_parameters: int
    backend: str
    processes: int = 1
    resumed_step: int = 0
    metric: str = "eval_loss"


@dataclass(frozen=True)
class DataFile:
    """A file that was learned from or evaluated on.

    Attributes:
        name: without its folders, for a card is public and they are not.
        split: `train` or `validation`.
        sha256: of its bytes.
    """

    name: str
    split: str
    sha256: str


@dataclass(frozen=True)
class RunFacts:
    """A training that has ended, for its card.

    Attributes:
        name: of the model, as of its folder.
        model_task: of `spec.TASKS`.
        base_model: what it started from, as it was named.
        recipe: what was asked for.
        plan: as it was at the beginning.
        steps: taken.
        examples: of each split, after limits, as counted by the task.
        files: of all splits.
        metrics: of the model that was kept, by name; `eval_` in front is not shown.
        main_metric: the one that counts.
        environment: versions by name.
        hardware: in one line.
        parity: the same numbers in every framework?
    """

    name: str
    model_task: str
    base_model: str
    recipe: TrainingArguments
    plan: Plan
    steps: int
    files: tuple[DataFile, ...]
    metrics: Mapping[str, float]
    main_metric: str
    environment: Mapping[str, str]
    hardware: str
    examples: Mapping[str, int] = field(default_factory=dict)
    parity: Parity = field(default_factory=Parity)
