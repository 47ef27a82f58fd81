# SPDX-License-Identifier: Apache-2.0
"""What tasks and models are called where others read of them."""

from __future__ import annotations

from pathlib import Path

from distilbert.errors import HubError
from distilbert.hub import parse_name

# Task of the model classes -> what the hub and the pipelines call it; others are called the same.
_HUB_TASKS = {
    "masked-lm": "fill-mask",
    "sequence-classification": "text-classification",
    "encoder": "feature-extraction",
}


def hub_task(model_task: str) -> str:
    """The name of a task on the hub and of its pipeline."""
    return _HUB_TASKS.get(model_task, model_task)


def hub_name(model: str) -> str | None:
    """The repository that a model is from, without its revision; None for a folder or file."""
    try:
        repository, _ = parse_name(model)
    except HubError:
        return None
    return None if Path(model).exists() else repository


def base_name(model: str) -> str:
    """What a reader may know of where a model was: its name on the hub, or the last part of its path."""
    return model if hub_name(model) else Path(model).resolve().name
