# SPDX-License-Identifier: Apache-2.0
"""The learning rate of a step, as a function of its number alone."""

from __future__ import annotations

import math

from distilbert.training.arguments import TrainingArguments


def learning_rate(arguments: TrainingArguments, step: int, total: int) -> float:
    """The rate of a step, as transformers' schedules have it.

    Args:
        arguments: of the training.
        step: from 0; the first step of a warm-up has rate 0.
        total: how many steps there are.
    """
    kind, highest = arguments.lr_scheduler_type, arguments.learning_rate
    warmup = 0 if kind == "constant" else warmup_steps(arguments, total)
    if step < warmup:
        return highest * step / warmup
    if kind.startswith("constant"):
        return highest
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return highest * (1 - done) if kind == "linear" else highest * (1 + math.cos(math.pi * done)) / 2


def warmup_steps(arguments: TrainingArguments, total: int) -> int:
    """Steps in which the rate rises."""
    return arguments.warmup_steps or math.ceil(total * arguments.warmup_ratio)
