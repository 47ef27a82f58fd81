# SPDX-License-Identifier: Apache-2.0
"""Sentiment in JAX: a train state, optax and a loss of one's own."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training import train_state
from transformers import FlaxDistilBertForSequenceClassification

model = FlaxDistilBertForSequenceClassification.from_pretrained(sys.argv[1], num_labels=2)
state = train_state.TrainState.create(
    apply_fn=model.__call__, params=model.params, tx=optax.adamw(1e-3, weight_decay=0.01)
)
random = np.random.default_rng(0)
batch = {"input_ids": random.integers(5, 30, (4, 9)), "attention_mask": np.ones((4, 9), np.int32)}
labels = np.array([0, 1, 1, 0])


@jax.jit
def train_step(state, batch, labels, dropout_rng):
    dropout_rng, new_rng = jax.random.split(dropout_rng)

    def loss_function(params):
        logits = state.apply_fn(**batch, params=params, dropout_rng=dropout_rng, train=True)[0]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    loss, gradients = jax.value_and_grad(loss_function)(state.params)
    return state.apply_gradients(grads=gradients), loss, new_rng


rng = jax.random.PRNGKey(0)
for _ in range(5):
    state, loss, rng = train_step(state, batch, labels, rng)
    print(float(loss))
print(*np.asarray(model(**batch, params=state.params, train=False).logits).ravel())
model.save_pretrained(sys.argv[1] + "-trained", params=state.params)
print(float(jnp.abs(state.params["classifier"]["kernel"]).mean()))
