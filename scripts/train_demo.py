# SPDX-License-Identifier: Apache-2.0
"""Train the checkpoint of `distilbert demo`: a small sentiment classifier of film reviews, in PyTorch on one thread.

    python scripts/train_demo.py [FOLDER]

It writes config.json, model.safetensors, the tokenizer's files and a model card to FOLDER (default: where the package
has its copy). The data is the sentence polarity set of Bo Pang and Lillian Lee as NLTK packs it, in the folder that
DISTILBERT_TEST_DATA names (nltk_corpora/sentence_polarity.zip). The same seed gives the same checkpoint on the same
machine.
"""

from __future__ import annotations

import copy
import math
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from distilbert import DistilBertConfig, DistilBertTokenizer
from distilbert.demo import MODEL
from distilbert.files import write_text
from distilbert.pt import DistilBertForSequenceClassification

SEED = 0
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, UNKNOWN = 0, 1
WORDS = 6000
MAX_LENGTH = 64  # tokens; 1 sentence in 100 is longer
LABELS = {0: "negative", 1: "positive"}

EPOCHS = 6
BATCH = 32
LEARNING_RATE = 1e-3
WARMUP = 0.1  # of all steps
WEIGHT_DECAY = 0.01
WORD_DROPOUT = 0.1  # words of a training sentence that are made unknown
AVERAGING = 0.999  # of the weights over the steps: what is evaluated and saved
