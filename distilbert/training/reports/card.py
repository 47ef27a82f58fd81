# SPDX-License-Identifier: Apache-2.0
"""The card of a trained model, `README.md`: how to use it, what it was trained on and how, and how well it does.

A card is public: files go by their names, and nothing in it says where on a disk they were.
"""

from __future__ import annotations

import dataclasses
import math
import re

from distilbert.backend import BACKENDS
from distilbert.model_cards.markdown import code, grid
from distilbert.model_cards.names import base_name, hub_task
from distilbert.model_cards.parity import parity_section
from distilbert.model_cards.use import usage
from distilbert.spec import TASKS
from distilbert.training.arguments import FREE
from distilbert.training.reports.card_metadata import metadata
from distilbert.training.reports.run_facts import RunFacts
from distilbert.training.settings import Settings
from distilbert.yaml_text import to_yaml

_ALWAYS = (
    "learning_rate",
    "lr_scheduler_type",
    "warmup_ratio",
    "weight_decay",
    "num_train_epochs",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "max_seq_length",
    "seed",
)


def card(facts: RunFacts, curves: str | None = None) -> str:
    """The whole text; `curves` is the name of the picture, if there is one.

    Raises:
        BackendError: PyYAML is not installed.
    """
    parts = [
        f"---\n{to_yaml(metadata(facts))}---",
        f"# {facts.name}",
        _summary(facts),
        "## Use",
        usage(facts.name, facts.model_task),
        "## Results",
        *_results(facts),
        *([f"![Loss and metrics over the steps of the training]({curves})"] if curves else []),
        "## Data",
        _data(facts),
        "## Training",
        *_training(facts),
        "## Parity",
        *parity_section(facts.parity),
        "## Versions",
        grid(("", ""), list(facts.environment.items()), "ll"),
        f"Hardware: {facts.hardware}.",
    ]
    return "\n\n".join(parts) + "\n"


def _summary(facts: RunFacts) -> str:
    plan = facts.plan
    name, title = TASKS[facts.model_task].class_name, BACKENDS[plan.backend].title
    main = facts.metrics.get(f"eval_{facts.main_metric}", facts.metrics.get(facts.main_metric))
    reached = "" if main is None else f", which reaches {_metric_name(facts.main_metric)} {_number(main)}"
    return (
        f"A `{name}` for {hub_task(facts.model_task)}{reached}. "
        f"It was trained from {code(base_name(facts.base_model))} with `{facts.recipe.COMMAND}` in {title}, "
        "and runs in PyTorch, TensorFlow and JAX."
    )


def _results(facts: RunFacts) -> list[str]:
    if not facts.metrics:
        return ["There was no data to evaluate on."]
    names = ", ".join(code(file.name) for file in facts.files if file.split == "validation")
    rows = [(_metric_name(name), _number(value)) for name, value in facts.metrics.items()]
    return [f"On {names or 'the validation data'}:", grid(("metric", "value"), rows, "lr")]


def _data(facts: RunFacts) -> str:
    rows = [(code(file.name), file.split, code(file.sha256)) for file in facts.files]
    counts = ", ".join(f"{count:,} for {split}" for split, count in facts.examples.items())
    windows = " (each window of a long text is one)" if facts.model_task == "question-answering" else ""
    lines = [grid(("file", "for", "SHA-256"), rows, "lll")] if rows else []
    return "\n\n".join([*lines, *([f"Examples{windows}: {counts}."] if counts else [])])


def _training(facts: RunFacts) -> list[str]:
    plan = facts.plan
    processes = f" on {plan.processes} processes" if plan.processes > 1 else ""
    early = "" if facts.steps >= plan.total_steps else f" of {plan.total_steps:,} (stopped early)"
    said = (
        f"{facts.steps:,} steps{early}{processes}; {plan.trainable_parameters:,} parameters were trained. "
        "`recipe.yaml` holds all settings; these are the usual ones and those that are not the defaults:"
    )
    rows = [(code(name), code(value)) for name, value in _settings(facts.recipe)]
    return [said, grid(("setting", "value"), rows, "ll")]


def _settings(recipe: Settings) -> list[tuple[str, str]]:
    """Names and values, without what the model does not depend on and what is said elsewhere, such as its files."""
    found = []
    for entry in dataclasses.fields(recipe):
        value, default = getattr(recipe, entry.name), entry.default
        is_said = default is dataclasses.MISSING or entry.name == "validation_file" or entry.name in FREE
        if not is_said and (entry.name in _ALWAYS or value != default):
            found.append((entry.name, ", ".join(map(_public, value if isinstance(value, tuple) else (value,)))))
    return found


def _public(value: object) -> str:
    """A value as in YAML; of a path only its last part."""
    if isinstance(value, bool):
        return str(value).lower()
    return base_name(value) if isinstance(value, str) and "/" in value else str(value)


def _metric_name(name: str) -> str:
    return re.sub("_", " ", name.removeprefix("eval_"))


def _number(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) and abs(value) < 1000 else f"{value:,.1f}"
