# SPDX-License-Identifier: Apache-2.0
"""`distilbert.flax`: the plain model under `jax.jit`, and the fast one made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distilbert.bench.contenders import jax_steps
from distilbert.bench.contenders.base import CLASSIFIER
from distilbert.bench.contenders.ours import Ours

if TYPE_CHECKING:
    from distilbert.bench.contenders.base import Ids, Predict, Step


class Contender(Ours):
    """Ours in JAX."""

    backend = "flax"

    def predictor(self, class_name: str) -> Predict:
        """The plain model under `jax.jit`; the fast one as it is."""
        model = self.ready(class_name)
        return _direct(model) if self.fast else jax_steps.predictor(model)

    def stepper(self) -> Step:
        """A compiled step."""
        model = self.plain(CLASSIFIER)

        def loss(params: Any, ids: Any, mask: Any, labels: Any, key: Any) -> Any:
            return model(ids, attention_mask=mask, labels=labels, params=params, dropout_rng=key, train=True).loss

        return jax_steps.stepper(model.params, loss)


def _direct(model: Any) -> Predict:
    import numpy as np

    def predict(ids: Ids, mask: Ids) -> Any:
        return np.asarray(model(ids, attention_mask=mask)[0])

    return predict
