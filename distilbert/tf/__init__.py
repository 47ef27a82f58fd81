# SPDX-License-Identifier: Apache-2.0
"""DistilBERT in TensorFlow, as Keras 3 models. Class names are the same in `distilbert.pt` and `distilbert.flax`.

Keras runs on one framework for the whole process: TensorFlow is chosen here unless `keras` is imported already, and
then another choice is an error.
"""

from __future__ import annotations

import os
import sys

from distilbert.backend import require
from distilbert.errors import BackendError

require("tf", "distilbert.tf")

if "keras" not in sys.modules:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras  # noqa: E402

if keras.backend.backend() != "tensorflow":
    raise BackendError(
        f"distilbert.tf: expected Keras on TensorFlow, found Keras on {keras.backend.backend()}; "
        "set the environment variable KERAS_BACKEND=tensorflow before Python starts"
    )

from distilbert.tf.heads import (  # noqa: E402
    DistilBertForMaskedLM,
    DistilBertForMultipleChoice,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
)
from distilbert.tf.io import PreTrainedModel  # noqa: E402
from distilbert.tf.modeling import DistilBertModel  # noqa: E402

__all__ = [
    "DistilBertForMaskedLM",
    "DistilBertForMultipleChoice",
    "DistilBertForQuestionAnswering",
    "DistilBertForSequenceClassification",
    "DistilBertForTokenClassification",
    "DistilBertModel",
    "PreTrainedModel",
]
