# SPDX-License-Identifier: Apache-2.0
"""Models against the reference: the same calls, the error of every layer. Reading checkpoints is `certify.py`'s."""

from __future__ import annotations

import functools
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import ml_dtypes
import numpy as np

from distilbert.config import DistilBertConfig
from distilbert.errors import InputError
from distilbert.parity import tolerances
from distilbert.parity.inputs import Array, SampleCall
from distilbert.parity.measuring import Measurement, is_gradient, measure, worst
from distilbert.parity.running import Layers, ReferenceRunner, Runner, running

_DRAWS = 3  # of the effect of rounding; a single one can be small by chance, above all in outputs of few numbers


class Comparison:
    """What the reference answers to some calls, ready to be compared with models that run in `dtype`.

    With `only`, the layers and outputs of these names; default all.

    Raises:
        InputError: nothing can be compared in that float type, or there is no loss to take gradients of.
    """

    def __init__(
        self,
        task: str,
        config: DistilBertConfig,
        tensors: Mapping[str, Array],
        dtype: str,
        calls: Sequence[SampleCall],
        gradients: bool = False,
        only: Collection[str] | None = None,
    ) -> None:
        if gradients and task == "encoder":
            raise InputError("gradients: the bare encoder has no loss to take them of; compare a model with a head")
        self.bound = tolerances.for_outputs(dtype).bound
        self.gradient_bound = tolerances.for_gradients(dtype).bound if gradients else self.bound
        self.task, self.config, self.tensors, self.dtype = task, config, tensors, dtype
        self.calls = {call.name: call for call in calls}
        self.gradients = gradients
        oracle = self._oracle(tensors)
        runs = {call.name: self._run(oracle, call) for call in calls if not call.finite_only}
        expected = {name: functools.reduce(operator.or_, layers) for name, layers in runs.items()}
        self.expected = {
            name: {layer: values for layer, values in layers.items() if only is None or layer in only}
            for name, layers in expected.items()
        }

    def errors(self, backend: str, runner: Runner) -> list[Measurement]:
        """The error of every layer in every call; where one exceeds its bound, also what rounding explains."""
        found = [one for call in self.calls.values() for one in self._errors(backend, runner, call)]
        return [one if one.within_bound else self._with_rounding(one) for one in found]

    def _errors(self, backend: str, runner: Runner, call: SampleCall) -> list[Measurement]:
        runs = self._run(runner, call)
        errors = functools.partial(measure, backend=backend, call=call.name, bound=self._bound)
        if call.finite_only:  # what is finite equals itself
            return [one for run in runs for one in errors([run], run)]
        return errors(runs, self.expected[call.name])

    def _run(self, runner: Runner, call: SampleCall) -> list[Layers]:
        runs = runner.outputs(call.arguments)
        return [*runs, runner.gradients(call.arguments)] if self.gradients and not call.finite_only else runs

    def _bound(self, layer: str) -> float:
        return self.gradient_bound if is_gradient(layer) else self.bound

    def _with_rounding(self, found: Measurement) -> Measurement:
        effect = self._rounding_effects.get(found.layer, 0.0)
        return replace(found, rounding=tolerances.ROUNDINGS[self.dtype].bound * effect)

    # The reference.

    def _oracle(self, tensors: Mapping[str, Array]) -> ReferenceRunner:
        return ReferenceRunner(self.task, self.config, tensors, tolerances.REFERENCE_DTYPES[self.dtype])

    @functools.cached_property
    def _rounding_effects(self) -> dict[str, float]:
        """How far each layer moves when every weight is moved by one rounding; the largest of all calls."""
        effects: dict[str, float] = {}
        for seed in range(_DRAWS):
            oracle = self._oracle(nudged(self.tensors, self.dtype, seed))
            for name, expected in self.expected.items():
                runs = self._run(oracle, self.calls[name])
                for one in measure(runs, expected, backend="", call=name, bound=self._bound):
                    effects[one.layer] = max(one.error, effects.get(one.layer, 0.0))
        return effects


def nudged(tensors: Mapping[str, Array], dtype: str, seed: int) -> dict[str, Array]:
    """The tensors in float64 with every value moved up or down by as much as rounding to `dtype` may move it."""
    step = float(ml_dtypes.finfo(dtype).eps) / 2  # type: ignore[no-untyped-call]
    random = np.random.default_rng(seed)
    return {
        name: values.astype(np.float64) * (1.0 + step * random.choice([-1.0, 1.0], values.shape))
        for name, values in tensors.items()
    }


def compare(
    task: str,
    config: DistilBertConfig,
    tensors: Mapping[str, Array],
    backend: str,
    dtype: str,
    *calls: SampleCall,
    gradients: bool = False,
) -> list[Measurement]:
    """The worst error of every layer of one framework's model, in the order of computation.

    Args:
        task: a name in `spec.TASKS`.
        config: the model's configuration.
        tensors: its weights by canonical name, in any float type.
        backend: `pt`, `tf` or `flax`.
        dtype: float type in which the framework computes; the reference takes float64, or float32 for half precision.
        calls: what to call both with, see `sample_calls`.
        gradients: also compare the gradients of the loss.

    Raises:
        BackendError: the framework is not installed.
        InputError: nothing can be compared in that float type, or there is no loss to take gradients of.
    """
    comparison = Comparison(task, config, tensors, dtype, calls, gradients)
    with running(backend, task, config, tensors, dtype) as runner:
        return list(worst(comparison.errors(backend, runner)))
