# SPDX-License-Identifier: Apache-2.0
"""Which examples make a step: a function of the seed and the step alone, so that nothing has to be remembered.

The data is seen once per epoch, in a new order each time; the last step of an epoch may be smaller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from distilbert.training.arguments import TrainingArguments

_MEGABATCH = 50  # steps whose examples are sorted by length together, as in transformers


@dataclass(frozen=True)
class Order:
    """The order of all examples in all steps.

    Attributes:
        lengths: (N,) tokens of each example.
        batch: examples of a step, over all processes and accumulated parts.
        seed: of the order.
        by_length: whether steps are of examples of similar length.
    """

    lengths: NDArray[np.int64]
    batch: int
    seed: int
    by_length: bool
    _epochs: dict[int, NDArray[np.int64]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which all data is seen once."""
        return -(-len(self.lengths) // self.batch)

    def total_steps(self, arguments: TrainingArguments) -> int:
        """Steps of the whole training."""
        if arguments.max_steps > 0:
            return arguments.max_steps
        return math.ceil(arguments.num_train_epochs * self.steps_per_epoch)

    def rows(self, step: int) -> NDArray[np.int64]:
        """The examples of a step, from 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return self._epoch(epoch)[place * self.batch : (place + 1) * self.batch]

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._epochs:
            self._epochs.clear()
            self._epochs[epoch] = self._ordered(epoch)
        return self._epochs[epoch]

    def _ordered(self, epoch: int) -> NDArray[np.int64]:
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(len(self.lengths))
        return self._sorted(order, random) if self.by_length else order

    def _sorted(self, order: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Steps of similar length, themselves in random order, but that the last one stays the smaller one."""
        size = self.batch * _MEGABATCH
        pieces = [order[start : start + size] for start in range(0, len(order), size)]
        ordered = np.concatenate([piece[np.argsort(-self.lengths[piece], kind="stable")] for piece in pieces])
        full = len(ordered) // self.batch
        steps = ordered[: full * self.batch].reshape(full, self.batch)
        return np.concatenate([random.permutation(steps).reshape(-1), ordered[full * self.batch :]])
