# SPDX-License-Identifier: Apache-2.0
"""What training asks of a framework: a step of the optimizer, an answer without dropout, and the state in between.

Framework-free. Each framework's engine is in `<backend>/training.py`; the three do the same in the same order. All
arrays that pass here are NumPy, by canonical name and in PyTorch's orientation, so that a state of one framework is
that of any other.

The optimizer is AdamW as its authors wrote it and PyTorch has it: the decay apart from the gradient, epsilon added
after the bias correction. (Keras's own adds epsilon before it, which differs by up to 4e-5 after ten steps.)
"""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from distilbert.convert.tensor import Array
from distilbert.outputs import ModelOutput
from distilbert.training.batch import Batch


@dataclass(frozen=True)
class World:
    """The processes that train together: which one this is, and how many there are."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return self.rank == 0


@dataclass(frozen=True)
class TensorPlan:
    """How one tensor is trained.

    Attributes:
        trained: False where it stays as it is.
        decay: of AdamW, per step and unit of the rate.
        rate_factor: on the learning rate.
    """

    trained: bool
    decay: float
    rate_factor: float


@dataclass(frozen=True)
class EngineSettings:
    """What an engine is told once.

    Attributes:
        plans: how each tensor is trained, by canonical name.
        beta1, beta2, epsilon: of AdamW.
        max_grad_norm: longest gradient over all tensors; 0 does not clip.
        bf16: compute in bfloat16, with weights, gradients' sums and optimizer in float32.
        gradient_checkpointing: compute layers twice rather than keep their intermediate values.
        seed: of dropout.
        world: the processes that train together.
        sharded: spread weights and optimizer over the processes (FSDP in PyTorch, a mesh axis in JAX).
    """

    plans: Mapping[str, TensorPlan]
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    bf16: bool = False
    gradient_checkpointing: bool = False
    seed: int = 0
    world: World = field(default_factory=World)
    sharded: bool = False


@dataclass(frozen=True)
class StepResult:
    """What a step found before it changed the weights, over all parts and processes.

    Attributes:
        terms: of the loss, which is their sum.
        gradient_norm: before clipping.
    """

    terms: dict[str, float]
    gradient_norm: float


@dataclass(frozen=True)
class State:
    """All that a training is after a step: what comes next follows from it and from the recipe.

    Attributes:
        step: how many steps were taken.
        weights: float32, by canonical name.
        first, second: AdamW's running means of gradients and of their squares, of the tensors that are trained.
    """

    step: int
    weights: dict[str, Array]
    first: dict[str, Array]
    second: dict[str, Array]


class Engine(ABC):
    """Trains a model of one framework.

    An engine's `objective` gives the terms of the loss for a part of a step, in the framework's own tensors.
    """

    backend: ClassVar[str]
    rows_multiple: int = 1  # parts of a step have a multiple of so many rows on each process
    computes_padding: bool = False  # outside attention too

    @classmethod
    def join(cls) -> World:
        """Meet the other processes, where a launcher has started several; before all else that the framework does."""
        return World()

    @classmethod
    def loading(cls, bf16: bool) -> AbstractContextManager[Any]:
        """While entered, models are made as an engine with this precision wants them."""
        return nullcontext()

    def __init__(self, model: Any, objective: Any, settings: EngineSettings) -> None:
        """Take a model with float32 weights; the engine owns it from here on."""
        self.model = model
        self.objective = objective
        self.settings = settings

    @property
    def accelerator(self) -> str:
        """What the model is trained on, as the framework names it; "" for a CPU."""
        return ""

    @abstractmethod
    def step(self, parts: Sequence[Batch], rate: float, number: int) -> StepResult:
        """Change the weights by the sum of the gradients of some parts.

        Args:
            parts: what this process has of the step; their weights add up to 1 over all processes.
            rate: the learning rate.
            number: of the step, from 0; with the seed it decides what dropout drops.
        """

    @abstractmethod
    def evaluate(self, batch: Batch) -> tuple[dict[str, float], ModelOutput]:
        """Terms of the loss and the answers for a batch, without dropout; only of this process."""

    @abstractmethod
    def state(self) -> State:
        """The state now; all processes must ask for it together."""

    @abstractmethod
    def load_state(self, state: State) -> None:
        """Go on from a state, of any framework."""

    def gathered(self, values: Array) -> list[Array]:
        """The arrays (equal in shape) of all processes, in order of rank; of this one where it is alone."""
        return [values]

    def gathered_objects(self, found: Any) -> list[Any]:
        """What each process has found, in order of rank: anything that can be pickled."""
        if self.settings.world.size == 1:
            return [found]
        data = pickle.dumps(found)
        sizes = [int(size[0]) for size in self.gathered(np.array([len(data)], np.int32))]
        room = np.zeros(1 << (max(sizes) - 1).bit_length(), np.uint8)  # few lengths, since each may be compiled
        room[: len(data)] = np.frombuffer(data, np.uint8)
        everyone = self.gathered(room.view(np.int32))
        return [pickle.loads(row.tobytes()[:size]) for row, size in zip(everyone, sizes, strict=True)]

    def close(self) -> None:  # noqa: B027  # most have nothing to do
        """Leave the other processes, if there are any."""


_LOST = "another process has ended or does not answer"


def lost_message(rank: int, size: int, found: str) -> str:
    """What is said where another process cannot be reached any more; `found` is what the framework says of it."""
    return (
        f"process {rank} of {size}: {_LOST}; start the same command again: "
        f"it goes on from the newest checkpoint\n  {found.splitlines()[0].partition('. ')[0]}"
    )


def is_about_lost(message: str) -> bool:
    """Whether a message is `lost_message`, so that another process may know more."""
    return _LOST in message


def step_seed(seed: int, number: int, part: int, rank: int) -> int:
    """The seed of what dropout drops in one part of a step on one process, from 0 to 2**31 - 1."""
    return int(np.random.SeedSequence([seed, number, part, rank]).generate_state(1)[0] >> 1)
