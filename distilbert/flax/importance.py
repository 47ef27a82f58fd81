# SPDX-License-Identifier: Apache-2.0
"""How the loss of each example changes with a factor on each attention head, in JAX.

Read beside `pt/importance.py` and `tf/importance.py`; what the numbers are for is said in
`distilbert/pruning/importance.py`. The derivatives are compiled for each shape of a batch.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from distilbert.convert.tensor import Array
from distilbert.training.batch import Batch


class Derivatives:
    """Derivatives of the loss by factors on the heads of a JAX model, all of a batch in one backward pass."""

    def __init__(self, model: Any, objective: Any) -> None:
        """Take a model and a `TaskObjective`."""
        self.model = model
        self.objective = objective
        self.compiled = jax.jit(self.derivatives)

    def __call__(self, batch: Batch, head_mask: Array) -> Array:
        """The derivatives (n_layers, B, H) at the factors `head_mask` (n_layers, B, H)."""
        return np.asarray(self.compiled(batch, head_mask, self.model.params))

    def derivatives(self, part: dict[str, jax.Array], head_mask: jax.Array, params: Any) -> jax.Array:
        def loss(head_mask: jax.Array) -> jax.Array:
            model = functools.partial(self.model, head_mask=head_mask, params=params, train=False)
            terms, _ = self.objective(model, part)
            return sum(terms.values())  # ()

        return jax.grad(loss)(head_mask)  # (n_layers, B, H)
