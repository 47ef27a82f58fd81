# SPDX-License-Identifier: Apache-2.0
"""Training in any framework: `finetune.finetune(FinetuneRecipe(...))`. Nothing here imports a framework.

Each name is looked up when it is first used: the options of the command line are made from the recipes, and `--help`
must not cost NumPy. (The function is not among them, for the module has its name.)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distilbert.training.arguments import TrainingArguments
    from distilbert.training.recipes import FinetuneRecipe

__all__ = ["FinetuneRecipe", "TrainingArguments"]

_MODULES = {"FinetuneRecipe": "recipes", "TrainingArguments": "arguments"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'distilbert.training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"distilbert.training.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
