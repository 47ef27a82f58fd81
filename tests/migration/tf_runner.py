# SPDX-License-Identifier: Apache-2.0
"""Sentiment in TensorFlow by a class that gets its parts, with arguments by position."""

import argparse

import tensorflow as tf
import tf_keras as keras
from transformers import AutoConfig, AutoTokenizer, TFAutoModelForSequenceClassification

TEXTS = ["the best film of the year.", "is dull", "a fine film", "the worst film of the year?"]


def load(name, labels):
    config = AutoConfig.from_pretrained(name, num_labels=labels)
    model = TFAutoModelForSequenceClassification.from_pretrained(name, config=config)
    return model, AutoTokenizer.from_pretrained(name)


def encode(tokenizer, texts):
    return tokenizer.batch_encode_plus(texts, padding="max_length", max_length=12, return_tensors="tf")


def losses_of(model, batch, labels):
    outputs = model(batch["input_ids"], batch["attention_mask"], None, None, False, False, False, labels, True)
    return tf.reduce_mean(outputs[0]), outputs[1]


class Runner:
    def __init__(self, model, tokenizer, rate=0.05):
        self.model, self.tokenizer = model, tokenizer
        self.optimizer = keras.optimizers.SGD(rate)

    def train(self, texts, labels):
        batch = encode(self.tokenizer, texts)
        with tf.GradientTape() as tape:
            loss, _ = losses_of(self.model, batch, labels)
        weights = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return float(loss)

    def predict(self, texts):
        batch = encode(self.tokenizer, texts)
        return tf.nn.softmax(self.model(batch["input_ids"], batch["attention_mask"], None, None, False).logits)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    model, tokenizer = load(parser.parse_args().model, 3)
    runner = Runner(model, tokenizer)
    for _ in range(3):
        print(runner.train(TEXTS, tf.constant([2, 0, 1, 0])))
    for row in runner.predict(TEXTS).numpy():
        print(*row)


if __name__ == "__main__":
    main()
