# SPDX-License-Identifier: Apache-2.0
"""Padding left out of what JAX computes for each token by itself, and put back where tokens look at each other.

Read beside `pt/padding.py` and `tf/padding.py`. Both ways are look-ups, and so are both gradients: XLA writes to
scattered rows far more slowly than it reads them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


@functools.partial(jax.tree_util.register_dataclass, data_fields=["places"], meta_fields=["shape"])
@dataclass(frozen=True)
class Padding:
    """Where the tokens of a padded batch are; nothing is left out where this is not known.

    Attributes:
        places: (N,) of the tokens among the B*T of the batch; the place B*T is none.
        shape: (B, T) of the batch.
    """

    places: Array | None
    shape: tuple[int, ...]

    def removed(self, x: Array) -> Array:
        """(B, T, ...) or (1, T) -> (N, ...), the tokens alone; as it is where nothing is left out."""
        if self.places is None:
            return x
        x = jnp.broadcast_to(x, (*self.shape, *x.shape[2:])).reshape(-1, *x.shape[2:])  # (B*T, ...)
        return rows_of(x, self.places, self._order(self.places))

    def restored(self, x: Array) -> Array:
        """(N, ...) -> (B, T, ...), with zeros where there is no token; as it is where nothing is left out."""
        if self.places is None:
            return x
        return rows_of(x, self._order(self.places), self.places).reshape(*self.shape, *x.shape[1:])

    def _order(self, places: Array) -> Array:
        """(B*T,) which of the N tokens is at each place; N where there is none."""
        rows, length = self.shape
        nowhere = jnp.full(rows * length, len(places))  # (B*T,)
        return nowhere.at[places].set(jnp.arange(len(places)), mode="drop")


@jax.custom_vjp
def rows_of(x: Array, rows: Array, inverse: Array) -> Array:
    """Rows of x (R, ...): rows (S,) -> (S, ...), 0 where R stands; `inverse` (R,) says what went where."""
    return x.at[rows].get(mode="fill", fill_value=0)


def _forward(x: Array, rows: Array, inverse: Array) -> tuple[Array, tuple[Array, Array]]:
    return rows_of(x, rows, inverse), (rows, inverse)


def _backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Any, Any]:
    rows, inverse = kept
    return rows_of(gradient, inverse, rows), None, None


rows_of.defvjp(_forward, _backward)
