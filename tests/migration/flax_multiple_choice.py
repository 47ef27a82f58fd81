# SPDX-License-Identifier: Apache-2.0
"""Which of two endings, in JAX."""

import sys

import jax.numpy as jnp
import numpy as np

try:
    from transformers import DistilBertTokenizerFast as Tokenizer
    from transformers import FlaxDistilBertForMultipleChoice
except ImportError as error:
    raise SystemExit("this needs transformers before version 5") from error

tokenizer = Tokenizer.from_pretrained(sys.argv[1])
model = FlaxDistilBertForMultipleChoice.from_pretrained(sys.argv[1])
prompts = ["the best film", "the worst film"]
choices = [["a fine film", "a dull film"], ["of the year", "is a film"]]
pairs = [(prompt, choice) for prompt, both in zip(prompts, choices, strict=True) for choice in both]
encoded = tokenizer(pairs, padding=True, return_tensors="np")
inputs = {name: np.reshape(values, (2, 2, -1)) for name, values in encoded.items()}
logits = model(**inputs).logits
print(*np.asarray(logits).ravel())
print(*np.asarray(jnp.argmax(logits, axis=-1)))
