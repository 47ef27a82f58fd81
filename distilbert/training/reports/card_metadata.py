# SPDX-License-Identifier: Apache-2.0
"""The front matter of a model card, as the hub reads it. What is not known is left out."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from distilbert.model_cards.names import hub_name, hub_task
from distilbert.training.reports.run_facts import RunFacts

# What metrics are called on the hub; others are called the same. Losses and counts are no metrics there.
_HUB_METRICS = {"f1_macro": "f1", "f1_micro": "f1", "pearson": "pearsonr", "em": "exact_match"}
_NO_METRICS = re.compile(r"loss|examples|samples|steps|runtime|seconds|count|.*_per_second")


def metadata(facts: RunFacts) -> dict[str, Any]:
    """The front matter as plain data, in the order in which it is written."""
    base = hub_name(facts.base_model)
    results = _results(facts)
    found = {
        "library_name": "distilbert",
        "pipeline_tag": hub_task(facts.model_task),
        "base_model": base,
        "metrics": list(dict.fromkeys(kind for kind, _, _ in _metrics(facts))),
        "tags": ["distilbert", *(["fine-tuned"] if base else [])],
        "model-index": [{"name": facts.name, "results": results}] if results else None,
    }
    return {name: value for name, value in found.items() if value}


def _metrics(facts: RunFacts) -> list[tuple[str, str, float]]:
    """What the hub calls each metric, what we call it, and its value."""
    found = []
    for name, value in facts.metrics.items():
        known = name.removeprefix("eval_")
        if math.isfinite(value) and not _NO_METRICS.fullmatch(known):
            found.append((_HUB_METRICS.get(known, known), known, value))
    return found


def _results(facts: RunFacts) -> list[dict[str, Any]]:
    metrics = [{"type": kind, "value": value, "name": known} for kind, known, value in _metrics(facts)]
    if not metrics:
        return []
    task = hub_task(facts.model_task)
    files = [file.name for file in facts.files if file.split == "validation"]
    names = ", ".join(files) or "validation data"
    kind = Path(files[0]).suffix.removeprefix(".") if files else ""
    dataset = {"name": names, "type": kind or "text", "split": "validation"}
    return [{"task": {"type": task, "name": task.replace("-", " ").title()}, "dataset": dataset, "metrics": metrics}]
