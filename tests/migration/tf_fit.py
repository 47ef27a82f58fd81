# SPDX-License-Identifier: Apache-2.0
"""Sentiment in TensorFlow: fit on a tf.data dataset with the model's own loss, then predict."""

import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tensorflow as tf
from transformers import DistilBertTokenizerFast, TFDistilBertForSequenceClassification

TEXTS = ["a fine film", "a dull film", "the best of the year", "the worst of the year"]
LABELS = [1, 0, 1, 0]

tokenizer = DistilBertTokenizerFast.from_pretrained(sys.argv[1])
batch = tokenizer(TEXTS, padding=True, truncation=True, max_length=16, return_tensors="tf")
dataset = tf.data.Dataset.from_tensor_slices((dict(batch), LABELS)).batch(2)

model = TFDistilBertForSequenceClassification.from_pretrained(sys.argv[1])
optimizer = tf.keras.optimizers.Adam(learning_rate=1e-3)
model.compile(optimizer=optimizer, loss=model.hf_compute_loss, metrics=["accuracy"])
history = model.fit(dataset, epochs=3, verbose=0)
print(*history.history["loss"])
print(*model.predict(dataset, verbose=0).logits.ravel())
