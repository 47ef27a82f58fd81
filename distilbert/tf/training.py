# SPDX-License-Identifier: Apache-2.0
"""The engine of training in TensorFlow: a step of AdamW, an answer without dropout, and the state in between.

Read beside `pt/training.py` and `flax/training.py`; what they share is said in `distilbert/training/engine.py`.
Graphs are made once for batches of all sizes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from distilbert.convert.tensor import Array
from distilbert.outputs import ModelOutput
from distilbert.tf.adamw import AdamW
from distilbert.tf.io import assign, to_numpy
from distilbert.tf.keras_model import dtype_policy
from distilbert.tf.objectives import TaskObjective
from distilbert.tf.processes import add_up, join
from distilbert.training import engine
from distilbert.training.batch import Batch, with_token_places
from distilbert.training.engine import EngineSettings, State, StepResult, World, step_seed

__all__ = ["Engine", "TaskObjective"]


class Engine(engine.Engine):
    """Trains a TensorFlow model."""

    backend: ClassVar[str] = "tf"

    @classmethod
    def join(cls) -> World:
        return join()

    @classmethod
    def loading(cls, bf16: bool) -> contextlib.AbstractContextManager[Any]:
        return dtype_policy(keras.DTypePolicy("mixed_bfloat16")) if bf16 else contextlib.nullcontext()

    def __init__(self, model: Any, objective: Any, settings: EngineSettings) -> None:
        super().__init__(model, objective, settings)
        model.name = "model"  # whichever of a process it is: graphs with the same names give the same bits
        self.parameters = {name: model.parameter(tensor) for name, tensor in model.tensor_specs.items()}
        self.trained = [name for name in self.parameters if settings.plans[name].trained]
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        self.optimizer = AdamW({name: self.parameters[name] for name in self.trained}, settings)

    @property
    def accelerator(self) -> str:
        found = tf.config.list_physical_devices("GPU")
        return tf.config.experimental.get_device_details(found[0]).get("device_name", "GPU") if found else ""

    def step(self, parts: Sequence[Batch], rate: float, number: int) -> StepResult:
        terms: dict[str, tf.Tensor] = {}
        gradients: list[tf.Tensor] = []
        for place, part in enumerate(map(with_token_places, parts)):
            seed = step_seed(self.settings.seed, number, place, self.settings.world.rank)
            graph = self._gradients.get_concrete_function(of_any_size(part), tf.TensorSpec((), tf.int64))
            found, added = graph(tensors(part), tf.constant(seed, tf.int64))
            terms = {name: terms.get(name, 0) + value for name, value in found.items()}
            add_to(gradients, added)
        sums = add_up([*terms.values(), *gradients], self.settings.world)
        norm = self.optimizer.apply(sums[len(terms) :], rate)
        return StepResult({name: float(value) for name, value in zip(terms, sums, strict=False)}, float(norm))

    def evaluate(self, batch: Batch) -> tuple[dict[str, float], ModelOutput]:
        batch = with_token_places(batch)
        terms, output = self._answers.get_concrete_function(of_any_size(batch))(tensors(batch))
        answers = type(output)(**{name: value.numpy() for name, value in output.items()})
        return {name: float(value) for name, value in terms.items()}, answers

    def state(self) -> State:
        specs, taken = self.model.tensor_specs, self.optimizer.taken
        return State(
            taken,
            self.model.dump_tensors(),
            *(
                {name: to_numpy(variable, specs[name]) for name, variable in moments.items() if taken}
                for moments in (self.optimizer.first, self.optimizer.second)
            ),
        )

    def load_state(self, state: State) -> None:
        self.model.load_tensors(state.weights)
        self.optimizer.taken = state.step
        for name in self.trained:
            tensor = self.model.tensor_specs[name]
            zeros = np.zeros(tensor.shape, np.float32)
            assign(self.optimizer.first[name], state.first.get(name, zeros), tensor)
            assign(self.optimizer.second[name], state.second.get(name, zeros), tensor)

    def gathered(self, values: Array) -> list[Array]:
        rank, size = self.settings.world.rank, self.settings.world.size
        rows = tf.scatter_nd([[rank]], values[None], (size, *values.shape))  # zeros but for the own
        return list(add_up([rows], self.settings.world)[0].numpy())

    @tf.function
    def _gradients(self, part: dict[str, tf.Tensor], seed: tf.Tensor) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
        variables = [self.parameters[name].value for name in self.trained]
        with (
            keras.StatelessScope(state_mapping=self._dropout_states(seed)),
            tf.GradientTape(watch_accessed_variables=False) as tape,
        ):
            tape.watch(variables)
            terms, _ = self.objective(self.model, part, training=True)
            loss = tf.add_n(list(terms.values()))  # ()
        gradients = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return terms, [tf.convert_to_tensor(gradient) for gradient in gradients]  # dense, also of embeddings

    @tf.function
    def _answers(self, batch: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], ModelOutput]:
        terms, output = self.objective(self.model, batch, training=False)
        return terms, type(output)(**{name: tf.cast(value, tf.float32) for name, value in output.items()})

    def _dropout_states(self, seed: tf.Tensor) -> list[tuple[keras.Variable, tf.Tensor]]:
        """The random states that each layer with dropout begins a part of a step with, far from each other's."""
        weights = {id(variable) for variable in self.model.weights}
        states = [variable for variable in self.model.variables if id(variable) not in weights]
        return [(state, tf.stack([seed, tf.constant(place << 16, tf.int64)])) for place, state in enumerate(states)]


def of_any_size(batch: Batch) -> dict[str, tf.TensorSpec]:
    """What a graph is told of a batch: its arrays, but not how many rows and tokens they have."""
    return {name: tf.TensorSpec([None] * values.ndim, values.dtype) for name, values in batch.items()}


def tensors(batch: Batch) -> dict[str, tf.Tensor]:
    """The arrays of a batch as tensors."""
    return {name: tf.convert_to_tensor(values) for name, values in batch.items()}


def add_to(sums: list[tf.Tensor], added: Sequence[tf.Tensor]) -> None:
    """Add tensors to others; none yet are zeros."""
    if not sums:
        sums.extend(added)
        return
    for place, tensor in enumerate(added):
        sums[place] += tensor
