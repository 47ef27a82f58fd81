# SPDX-License-Identifier: Apache-2.0
# The public names for type checkers and editors; at run time `__init__.py` looks them up when they are used.

from distilbert.auto_classes import register_auto_classes
from distilbert.backend import choose as choose_backend
from distilbert.config import DistilBertConfig
from distilbert.convert import convert as convert_checkpoint
from distilbert.convert import open_checkpoint
from distilbert.export.exporting import export_checkpoint
from distilbert.flax import DistilBertForMaskedLM as FlaxDistilBertForMaskedLM
from distilbert.flax import DistilBertForMultipleChoice as FlaxDistilBertForMultipleChoice
from distilbert.flax import DistilBertForQuestionAnswering as FlaxDistilBertForQuestionAnswering
from distilbert.flax import DistilBertForSequenceClassification as FlaxDistilBertForSequenceClassification
from distilbert.flax import DistilBertForTokenClassification as FlaxDistilBertForTokenClassification
from distilbert.flax import DistilBertModel as FlaxDistilBertModel
from distilbert.loading import load
from distilbert.pipelines import pipeline
from distilbert.predict import predict_files
from distilbert.pruning.importance import head_importance
from distilbert.pruning.pruning import prune
from distilbert.pt import (
    DistilBertForMaskedLM,
    DistilBertForMultipleChoice,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    DistilBertModel,
)
from distilbert.publishing import push_to_hub
from distilbert.quantization.quantizing import quantize
from distilbert.rescuing import rescue
from distilbert.tf import DistilBertForMaskedLM as TFDistilBertForMaskedLM
from distilbert.tf import DistilBertForMultipleChoice as TFDistilBertForMultipleChoice
from distilbert.tf import DistilBertForQuestionAnswering as TFDistilBertForQuestionAnswering
from distilbert.tf import DistilBertForSequenceClassification as TFDistilBertForSequenceClassification
from distilbert.tf import DistilBertForTokenClassification as TFDistilBertForTokenClassification
from distilbert.tf import DistilBertModel as TFDistilBertModel
from distilbert.threads import set_threads
from distilbert.tokenizer import BatchEncoding, DistilBertTokenizer, DistilBertTokenizerFast
from distilbert.training.distillation.distilling import distill
from distilbert.training.distillation.recipe import DistillRecipe
from distilbert.training.finetuning import finetune
from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.tuning import tune

__version__: str

__all__ = [
    "BatchEncoding",
    "DistilBertConfig",
    "DistilBertForMaskedLM",
    "DistilBertForMultipleChoice",
    "DistilBertForQuestionAnswering",
    "DistilBertForSequenceClassification",
    "DistilBertForTokenClassification",
    "DistilBertModel",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "DistillRecipe",
    "FinetuneRecipe",
    "FlaxDistilBertForMaskedLM",
    "FlaxDistilBertForMultipleChoice",
    "FlaxDistilBertForQuestionAnswering",
    "FlaxDistilBertForSequenceClassification",
    "FlaxDistilBertForTokenClassification",
    "FlaxDistilBertModel",
    "TFDistilBertForMaskedLM",
    "TFDistilBertForMultipleChoice",
    "TFDistilBertForQuestionAnswering",
    "TFDistilBertForSequenceClassification",
    "TFDistilBertForTokenClassification",
    "TFDistilBertModel",
    "__version__",
    "choose_backend",
    "convert_checkpoint",
    "distill",
    "export_checkpoint",
    "finetune",
    "head_importance",
    "load",
    "open_checkpoint",
    "pipeline",
    "predict_files",
    "prune",
    "push_to_hub",
    "quantize",
    "register_auto_classes",
    "rescue",
    "set_threads",
    "tune",
]
