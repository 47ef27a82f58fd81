# SPDX-License-Identifier: Apache-2.0
"""Fill a mask in TensorFlow, with hidden states."""

import sys

import tensorflow as tf
from transformers import DistilBertTokenizer, TFDistilBertForMaskedLM

tokenizer = DistilBertTokenizer.from_pretrained(sys.argv[1])
model = TFDistilBertForMaskedLM.from_pretrained(sys.argv[1])
inputs = tokenizer("the best [MASK] of the year", return_tensors="tf")
outputs = model(**inputs, output_hidden_states=True)
place = tf.where(inputs["input_ids"][0] == tokenizer.mask_token_id)[0, 0]
best = tf.math.top_k(outputs.logits[0, place], 5)
print(*best.values.numpy())
print(tokenizer.convert_ids_to_tokens(best.indices.numpy().tolist()), file=sys.stderr)
print(*(float(tf.norm(state)) for state in outputs.hidden_states))
labels = tf.where(inputs["input_ids"] == tokenizer.mask_token_id, 7, -100)
print(float(tf.reduce_mean(model(inputs, labels=labels).loss)))
