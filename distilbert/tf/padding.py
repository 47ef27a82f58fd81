# SPDX-License-Identifier: Apache-2.0
"""Padding left out of what TensorFlow computes for each token by itself, and put back where tokens look at each other.

Read beside `pt/padding.py` and `flax/padding.py`. Both ways are look-ups, and so are both gradients: TensorFlow writes
to scattered rows several times more slowly than it reads them.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import ops


class Padding:
    """Where the tokens of a padded batch are; nothing is left out where this is not known."""

    def __init__(self, token_places: tf.Tensor | None, shape: tuple[Any, ...]) -> None:
        """Take the places (N,) of the tokens among the B*T of a batch of `shape` (B, T); the place B*T is none."""
        self.shape = shape
        self.places = None if token_places is None else tf.cast(token_places, tf.int32)  # (N,)
        self.order = None if self.places is None else self._order(self.places)  # (B*T,)

    def removed(self, x: tf.Tensor) -> tf.Tensor:
        """(B, T, ...), (1, T) or (T,) -> (N, ...), the tokens alone; as it is where nothing is left out."""
        if self.places is None:
            return x
        features = ops.shape(x)[2:]
        x = tf.broadcast_to(x, (*self.shape, *features))  # (B, T, ...)
        return rows_of(tf.reshape(x, (-1, *features)), self.places, self.order)

    def restored(self, x: tf.Tensor) -> tf.Tensor:
        """(N, ...) -> (B, T, ...), with zeros where there is no token; as it is where nothing is left out."""
        if self.places is None:
            return x
        return tf.reshape(rows_of(x, self.order, self.places), (*self.shape, *ops.shape(x)[1:]))

    def _order(self, places: tf.Tensor) -> tf.Tensor:
        """(B*T,) which of the N tokens is at each place; N where there is none."""
        rows, length = self.shape
        count = tf.size(places)
        nowhere = tf.fill([rows * length + 1], count)  # (B*T + 1,)
        return tf.tensor_scatter_nd_update(nowhere, places[:, None], tf.range(count))[:-1]


@tf.custom_gradient
def rows_of(x: tf.Tensor, rows: tf.Tensor, inverse: tf.Tensor) -> Any:
    """Rows of x (R, ...): rows (S,) -> (S, ...), 0 where R stands; `inverse` (R,) says what went where."""
    padded = tf.pad(x, [[0, 1], *[[0, 0]] * (x.ndim - 1)])  # (R + 1, ...)
    return tf.gather(padded, rows), lambda gradient: (rows_of(gradient, inverse, rows), None, None)
