# SPDX-License-Identifier: Apache-2.0
"""The encoder in JAX, compiled; the parameters go their own way, and some arguments by position."""

import sys

import jax
import numpy as np
from transformers import DistilBertConfig, DistilBertTokenizerFast, FlaxDistilBertModel

config = DistilBertConfig.from_pretrained(sys.argv[1])
tokenizer = DistilBertTokenizerFast.from_pretrained(sys.argv[1])
model, params = FlaxDistilBertModel.from_pretrained(sys.argv[1], config=config, _do_init=False)


@jax.jit
def encode(params, ids, mask):
    return model(ids, mask, None, params, None, False, False, True).hidden_states


batch = tokenizer(
    ["a fine film", "the worst film of the year"], padding="max_length", max_length=12, return_tensors="np"
)
for state in encode(params, batch["input_ids"], batch["attention_mask"]):
    print(*np.asarray(state)[:, 0, :3].ravel(), float(np.abs(state[1]).mean()))
