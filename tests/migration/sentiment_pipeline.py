# SPDX-License-Identifier: Apache-2.0
"""Sentiment in TensorFlow from a PyTorch checkpoint."""

import sys

import transformers

PATH = sys.argv[1]

tokenizer = transformers.AutoTokenizer.from_pretrained(PATH, use_fast=True)
model = transformers.TFAutoModelForSequenceClassification.from_pretrained(PATH, from_pt=True)
classify = transformers.pipeline("sentiment-analysis", model=model, tokenizer=tokenizer, framework="tf")
for result in classify(["a fine film", "the worst film of the year"], top_k=None):
    print(*(entry["score"] for entry in sorted(result, key=lambda entry: entry["label"])))
