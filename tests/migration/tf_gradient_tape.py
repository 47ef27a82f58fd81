# SPDX-License-Identifier: Apache-2.0
"""Named entities in TensorFlow with a loop of one's own."""

import sys

import numpy as np
import tensorflow as tf
import tf_keras as keras
from transformers import TFDistilBertForTokenClassification

model = TFDistilBertForTokenClassification.from_pretrained(sys.argv[1])
optimizer = keras.optimizers.SGD(learning_rate=0.05, momentum=0.9)
random = np.random.default_rng(0)
ids = tf.constant(random.integers(5, 30, (4, 9)))
labels = tf.constant(random.integers(0, 3, (4, 9)))
mask = tf.ones_like(ids)


@tf.function
def step(ids, mask, labels):
    with tf.GradientTape() as tape:
        outputs = model(ids, attention_mask=mask, labels=labels, training=True)
        loss = tf.reduce_mean(outputs.loss)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    return loss


for _ in range(5):
    print(float(step(ids, mask, labels)))
