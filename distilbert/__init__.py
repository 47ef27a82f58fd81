# SPDX-License-Identifier: Apache-2.0
"""Any DistilBERT (or BERT-shaped) checkpoint in PyTorch, TensorFlow and JAX, provably with the same numbers.

Importing this package imports no framework: each public name is looked up when it is first used. Type checkers and
editors read the same names in `__init__.pyi`.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_MODELS = (
    "DistilBertModel",
    "DistilBertForMaskedLM",
    "DistilBertForSequenceClassification",
    "DistilBertForMultipleChoice",
    "DistilBertForTokenClassification",
    "DistilBertForQuestionAnswering",
)

# Public name -> (module, name in it).
_NAMES = {
    "BatchEncoding": ("tokenizer", "BatchEncoding"),
    "DistilBertConfig": ("config", "DistilBertConfig"),
    "DistilBertTokenizer": ("tokenizer", "DistilBertTokenizer"),
    "DistilBertTokenizerFast": ("tokenizer", "DistilBertTokenizerFast"),
    "choose_backend": ("backend", "choose"),
    "convert_checkpoint": ("convert", "convert"),
    "head_importance": ("pruning.importance", "head_importance"),
    "export_checkpoint": ("export.exporting", "export_checkpoint"),
    "load": ("loading", "load"),
    "DistillRecipe": ("training.distillation.recipe", "DistillRecipe"),
    "distill": ("training.distillation.distilling", "distill"),
    "FinetuneRecipe": ("training.recipes", "FinetuneRecipe"),
    "finetune": ("training.finetuning", "finetune"),
    "open_checkpoint": ("convert", "open_checkpoint"),
    "pipeline": ("pipelines", "pipeline"),
    "predict_files": ("predict", "predict_files"),
    "prune": ("pruning.pruning", "prune"),
    "push_to_hub": ("publishing", "push_to_hub"),
    "rescue": ("rescuing", "rescue"),
    "quantize": ("quantization.quantizing", "quantize"),
    "register_auto_classes": ("auto_classes", "register_auto_classes"),
    "set_threads": ("threads", "set_threads"),
    "tune": ("training.tuning", "tune"),
    **{name: ("pt", name) for name in _MODELS},
    **{f"TF{name}": ("tf", name) for name in _MODELS},
    **{f"Flax{name}": ("flax", name) for name in _MODELS},
}

__all__ = ["__version__", *_NAMES]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'distilbert' has no attribute {name!r}")
    module, attribute = _NAMES[name]
    if module in ("pt", "tf", "flax"):
        from distilbert.backend import load as load_backend

        value = getattr(load_backend(module, name), attribute)
    else:
        value = getattr(importlib.import_module(f"distilbert.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
