# SPDX-License-Identifier: Apache-2.0
"""Any DistilBERT (or BERT-shaped) checkpoint in PyTorch, TensorFlow and JAX, provably with the same numbers.

Importing this package imports no framework: each public name is looked up when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distilbert.backend import choose as choose_backend  # noqa: F401  # for type checkers and editors
    from distilbert.config import DistilBertConfig  # noqa: F401
    from distilbert.convert import convert, open_checkpoint  # noqa: F401
    from distilbert.loading import load  # noqa: F401
    from distilbert.tokenizer import BatchEncoding, DistilBertTokenizer, DistilBertTokenizerFast  # noqa: F401

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
    "convert": ("convert", "convert"),
    "load": ("loading", "load"),
    "open_checkpoint": ("convert", "open_checkpoint"),
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
