# SPDX-License-Identifier: Apache-2.0
"""Padding left out of what PyTorch computes for each token by itself, and put back where tokens look at each other.

Read beside `tf/padding.py` and `flax/padding.py`.
"""

from __future__ import annotations

from torch import Tensor


class Padding:
    """Where the tokens of a padded batch are; nothing is left out where this is not known."""

    def __init__(self, token_places: Tensor | None, shape: tuple[int, int]) -> None:
        """Take the places (N,) of the tokens among the B*T of a batch of `shape` (B, T); the place B*T is none."""
        self.shape = shape
        self.places = None if token_places is None else token_places.long()  # (N,)

    def removed(self, x: Tensor) -> Tensor:
        """(B, T, ...), (1, T) or (T,) -> (N, ...), the tokens alone; as it is where nothing is left out."""
        if self.places is None:
            return x
        x = x.expand(*self.shape, *x.shape[2:]).flatten(0, 1)  # (B*T, ...)
        return x.index_select(0, self.places.clamp(max=len(x) - 1))

    def restored(self, x: Tensor) -> Tensor:
        """(N, ...) -> (B, T, ...), with zeros where there is no token; as it is where nothing is left out."""
        if self.places is None:
            return x
        rows, length = self.shape
        padded = x.new_zeros(rows * length + 1, *x.shape[1:]).index_copy_(0, self.places, x)  # (B*T + 1, ...)
        return padded[:-1].unflatten(0, self.shape)
