# SPDX-License-Identifier: Apache-2.0
"""DistilBERT in PyTorch. Class names are the same in `distilbert.tf` and `distilbert.flax`."""

from __future__ import annotations

from distilbert.backend import require

require("pt", "distilbert.pt")

from distilbert.pt.heads import (  # noqa: E402
    DistilBertForMaskedLM,
    DistilBertForMultipleChoice,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
)
from distilbert.pt.io import PreTrainedModel  # noqa: E402
from distilbert.pt.modeling import DistilBertModel  # noqa: E402

__all__ = [
    "DistilBertForMaskedLM",
    "DistilBertForMultipleChoice",
    "DistilBertForQuestionAnswering",
    "DistilBertForSequenceClassification",
    "DistilBertForTokenClassification",
    "DistilBertModel",
    "PreTrainedModel",
]
