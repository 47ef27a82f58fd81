# SPDX-License-Identifier: Apache-2.0
"""Flax models of transformers 4, under `jax.jit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distilbert.bench.contenders import jax_steps
from distilbert.bench.contenders.base import CLASSIFIER, Base, Call

if TYPE_CHECKING:
    from distilbert.bench.contenders.base import Predict, Step


class Contender(Base):
    """transformers on JAX."""

    statement = "from transformers import FlaxDistilBertModel"

    def predictor(self, class_name: str) -> Predict:
        """Compiled for each shape."""
        return jax_steps.predictor(self._load(class_name))

    def stepper(self) -> Step:
        """A compiled step; the model has no loss of its own."""
        model = self._load(CLASSIFIER)
        import optax

        def loss(params: Any, ids: Any, mask: Any, labels: Any, key: Any) -> Any:
            logits = model(ids, attention_mask=mask, params=params, dropout_rng=key, train=True).logits
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        return jax_steps.stepper(model.params, loss)

    def load(self) -> Call:
        """In float32."""
        return lambda: self._load(CLASSIFIER)

    def _load(self, class_name: str) -> Any:
        import transformers

        return getattr(transformers, f"Flax{class_name}").from_pretrained(self.model)
