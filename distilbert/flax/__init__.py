# SPDX-License-Identifier: Apache-2.0
"""DistilBERT in JAX with Flax NNX. Class names are the same in `distilbert.pt` and `distilbert.tf`."""

from __future__ import annotations

if __name__ == "flax":  # a file of the package run as a script puts the package's folder first on the search path
    raise ImportError("distilbert/flax was found in place of flax; run `python -m distilbert...`, not a file inside it")

from distilbert.backend import require

require("flax", "distilbert.flax")

from distilbert.flax.heads import (  # noqa: E402
    DistilBertForMaskedLM,
    DistilBertForMultipleChoice,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
)
from distilbert.flax.io import PreTrainedModel  # noqa: E402
from distilbert.flax.modeling import DistilBertModel  # noqa: E402

__all__ = [
    "DistilBertForMaskedLM",
    "DistilBertForMultipleChoice",
    "DistilBertForQuestionAnswering",
    "DistilBertForSequenceClassification",
    "DistilBertForTokenClassification",
    "DistilBertModel",
    "PreTrainedModel",
]
