# SPDX-License-Identifier: Apache-2.0
"""A Keras model of one's own around the encoder, which stays as it is."""

import sys

import numpy as np
import tf_keras
from tf_keras.layers import Dense, Input
from transformers import TFDistilBertModel


def build(path):
    ids = Input(shape=(8,), dtype="int32", name="ids")
    mask = Input(shape=(8,), dtype="int32", name="mask")
    encoder = TFDistilBertModel.from_pretrained(path)
    encoder.trainable = False
    hidden = encoder(ids, attention_mask=mask).last_hidden_state
    answer = Dense(1, activation="sigmoid", kernel_initializer="ones")(hidden[:, 0, :])
    return tf_keras.Model(inputs=[ids, mask], outputs=answer)


model = build(sys.argv[1])
model.compile(optimizer=tf_keras.optimizers.SGD(0.1), loss="binary_crossentropy")
ids = np.random.default_rng(0).integers(5, 30, (4, 8)).astype("int32")
mask = np.ones_like(ids)
print(*model.predict([ids, mask], verbose=0).ravel())
print(*model.fit([ids, mask], np.array([0.0, 1.0, 1.0, 0.0]), epochs=3, shuffle=False, verbose=0).history["loss"])
