# SPDX-License-Identifier: Apache-2.0
"""The engine of training in JAX: a step of AdamW, an answer without dropout, and the state in between.

Read beside `pt/training.py` and `tf/training.py`; what they share is said in `distilbert/training/engine.py`.

Three programs make a step: the gradients of a part, which is compiled for each shape; their sum; the update. A batch is
one for all devices of all processes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from distilbert.convert.tensor import Array
from distilbert.flax.objectives import TaskObjective
from distilbert.flax.optimizer import Moments, Pace, adamw, clipped, pace
from distilbert.flax.params import nested
from distilbert.flax.processes import Devices, gathered, join, together
from distilbert.inference.compile_cache import use_compile_cache
from distilbert.outputs import ModelOutput
from distilbert.spec import native_name
from distilbert.training import engine
from distilbert.training.batch import WEIGHTS, Batch, share, with_token_places
from distilbert.training.engine import EngineSettings, State, StepResult, World, step_seed

__all__ = ["Engine", "TaskObjective"]

Tensors = dict[str, jax.Array]
Terms = dict[str, jax.Array]

TOKENS_MULTIPLE = 256  # of the tokens in a part: few shapes, since each is compiled


class Engine(engine.Engine):
    """Trains a JAX model."""

    backend: ClassVar[str] = "flax"
    rows_multiple: int = 8  # few shapes, since each is compiled

    @classmethod
    def join(cls) -> World:
        return join()

    def __init__(self, model: Any, objective: Any, settings: EngineSettings) -> None:
        use_compile_cache()
        super().__init__(_computing(model, settings), objective, settings)
        self.specs = model.tensor_specs
        self.dtype = model.dtype
        self.devices = Devices(settings.sharded)
        self.shared_objective = self.devices.everywhere(objective)
        self.computes_padding = jax.device_count() > 1  # the tokens of a batch do not divide as its rows do
        self.rows_multiple = math.lcm(self.rows_multiple, jax.local_device_count())
        self.shardings = {name: self.devices.sharding(tensor) for name, tensor in self.specs.items()}
        self.trained = [name for name in self.specs if settings.plans[name].trained]
        self.steps = 0
        self.weights: Tensors = {}
        self.frozen: Tensors = {}
        self.moments = Moments({}, {})
        self.local_weights: Tensors | None = None  # for answers, until the next step
        self.load_state(State(0, model.dump_tensors(), {}, {}))
        self._compile()

    @property
    def accelerator(self) -> str:
        found = jax.local_devices()
        return "" if found[0].platform == "cpu" else f"{len(found)} x {found[0].device_kind}"

    def step(self, parts: Sequence[Batch], rate: float, number: int) -> StepResult:
        self.local_weights = None
        gradients: Tensors = {}
        terms: list[Terms] = []
        with together():
            for place, part in enumerate(parts):
                seed = np.uint32(step_seed(self.settings.seed, number, place, rank=0))
                arrays = self.devices.put_rows(self._arrays(self._without_padding(part)))
                found, values = self.gradients(self.weights, self.frozen, self.shared_objective, arrays, seed)
                gradients = self.add(gradients, found) if gradients else found
                terms.append(jax.block_until_ready(values) if self.settings.world.size > 1 else values)  # see `whole`
            self.steps += 1
            self.weights, self.moments, norm = self.update(
                self.weights, self.moments, gradients, pace(self.settings, rate, self.steps)
            )
            return StepResult({name: sum(float(values[name]) for values in terms) for name in terms[0]}, float(norm))

    def evaluate(self, batch: Batch) -> tuple[dict[str, float], ModelOutput]:
        with together():
            if self.local_weights is None:
                self.local_weights = self.devices.whole(self.weights | self.frozen)
            arrays = self._arrays(self._without_padding(share(batch, 0, 1, self.rows_multiple)))
            terms, output = self.answers(self.local_weights, self.objective, arrays)
            rows = len(batch[WEIGHTS])
            answers = type(output)(**{name: np.array(value[:rows]) for name, value in output.items()})
            return {name: float(value) for name, value in terms.items()}, answers

    def state(self) -> State:
        moments = self.moments if self.steps else Moments({}, {})
        weights = {name: (self.weights | self.frozen)[name] for name in self.specs}
        return State(self.steps, self._to_numpy(weights), *map(self._to_numpy, moments))

    def load_state(self, state: State) -> None:
        weights = self._from_numpy(state.weights)
        self.weights = {name: weights.pop(name) for name in self.trained}
        self.frozen = weights  # what is left
        self.moments = Moments(*(self._from_numpy(found or self._zeros()) for found in (state.first, state.second)))
        self.steps = state.step
        self.local_weights = None

    def gathered(self, values: Array) -> list[Array]:
        with together():
            return gathered(values)

    # What is compiled.

    def _compile(self) -> None:
        trained = {name: self.shardings[name] for name in self.trained}
        everywhere = self.devices.replicated
        self.gradients = jax.jit(self._gradients, out_shardings=(trained, everywhere))
        self.add = jax.jit(functools.partial(jax.tree.map, jnp.add), donate_argnums=0, out_shardings=trained)
        self.update = jax.jit(
            self._update, donate_argnums=(0, 1), out_shardings=(trained, Moments(trained, trained), everywhere)
        )
        self.answers = jax.jit(self._answers)

    def _gradients(
        self, weights: Tensors, frozen: Tensors, objective: Any, part: Tensors, seed: jax.Array
    ) -> tuple[Tensors, Terms]:
        part = lax.with_sharding_constraint(part, self.devices.rows)

        def loss(weights: Tensors) -> tuple[jax.Array, Terms]:
            params = self._params(weights | frozen)
            model = functools.partial(self.model, params=params, dropout_rng=jax.random.key(seed), train=True)
            terms, _ = objective(model, part)
            return sum(terms.values()), terms

        return jax.grad(loss, has_aux=True)(weights)

    def _update(
        self, weights: Tensors, moments: Moments, gradients: Tensors, pace: Pace
    ) -> tuple[Tensors, Moments, jax.Array]:
        gradients, norm = clipped(gradients, self.settings.max_grad_norm)
        return *adamw(self.settings, weights, moments, gradients, pace), norm

    def _answers(self, weights: Tensors, objective: Any, part: Tensors) -> tuple[Terms, ModelOutput]:
        model = functools.partial(self.model, params=self._params(weights), train=False)
        terms, output = objective(model, part)
        return terms, jax.tree.map(lambda value: value.astype(self.dtype), output)

    def _params(self, weights: Tensors) -> dict[str, Any]:
        return nested({native_name(tensor, "flax"): weights[name] for name, tensor in self.specs.items()})

    # Between NumPy in PyTorch's orientation and the devices.

    def _without_padding(self, part: Batch) -> Batch:
        return part if self.computes_padding else with_token_places(part, TOKENS_MULTIPLE)

    def _arrays(self, part: Batch) -> Batch:
        return {
            name: values.astype(self.dtype) if values.dtype.kind == "f" else values for name, values in part.items()
        }

    def _zeros(self) -> dict[str, Array]:
        return {name: np.zeros(self.specs[name].shape, self.dtype) for name in self.trained}

    def _from_numpy(self, tensors: dict[str, Array]) -> Tensors:
        return {
            name: self.devices.put(
                np.asarray(values.T if self.specs[name].transposed else values, self.dtype), self.shardings[name]
            )
            for name, values in tensors.items()
        }

    def _to_numpy(self, tensors: Tensors) -> dict[str, Array]:
        with together():
            whole = self.devices.whole(tensors)
            return {
                name: np.array(values.T if self.specs[name].transposed else values, order="C")  # a copy: see above
                for name, values in whole.items()
            }


def _computing(model: Any, settings: EngineSettings) -> Any:
    """A model without values that computes in the precision asked for, with weights that are given in each call.

    In bfloat16 a CPU takes products alone, to float32 sums, which is twice as fast as float32; all in bfloat16 is
    slower than either there.
    """
    half = settings.bf16 and jax.default_backend() != "cpu"
    computing = type(model).empty(model.config, "bfloat16" if half else str(model.dtype))
    computing.set_attn_implementation(model.attn_implementation)
    computing.set_half_products(settings.bf16 and not half)
    if settings.gradient_checkpointing:
        computing.gradient_checkpointing_enable()
    return computing
