# SPDX-License-Identifier: Apache-2.0
"""Models against the reference: the same calls, the error of every layer. Reading checkpoints is `certify.py`'s."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from distilbert.config import DistilBertConfig
from distilbert.errors import InputError
from distilbert.parity import tolerances
from distilbert.parity.inputs import Array, SampleCall
from distilbert.parity.measuring import Measurement, measure, worst
from distilbert.parity.running import ReferenceRunner, Runner, running


class Comparison:
    """What the reference answers to some calls, ready to be compared with models that run in `dtype`.

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
    ) -> None:
        if gradients and task == "encoder":
            raise InputError("gradients: the bare encoder has no loss to take them of; compare a model with a head")
        self.output_bound = tolerances.for_outputs(dtype).bound
        self.gradient_bound = tolerances.for_gradients(dtype).bound if gradients else None
        self.calls = calls
        oracle = ReferenceRunner(task, config, tensors, tolerances.REFERENCE_DTYPES[dtype])
        judged = [call for call in calls if not call.finite_only]
        self.outputs = {call.name: oracle.outputs(call.arguments)[0] for call in judged}
        self.gradients = {call.name: oracle.gradients(call.arguments) for call in judged if gradients}

    def errors(self, backend: str, runner: Runner) -> list[Measurement]:
        """The error of every layer in every call."""
        return [found for call in self.calls for found in self._errors(backend, runner, call)]

    def _errors(self, backend: str, runner: Runner, call: SampleCall) -> list[Measurement]:
        errors = functools.partial(measure, backend=backend, call=call.name)
        runs = runner.outputs(call.arguments)
        if call.finite_only:  # what is finite equals itself
            return [found for run in runs for found in errors([run], run, bound=self.output_bound)]
        found = errors(runs, self.outputs[call.name], bound=self.output_bound)
        if self.gradient_bound is not None:
            runs = [runner.gradients(call.arguments)]
            found += errors(runs, self.gradients[call.name], bound=self.gradient_bound)
        return found


def compare(
    task: str,
    config: DistilBertConfig,
    tensors: Mapping[str, Array],
    backend: str,
    dtype: str,
    *calls: SampleCall,
    gradients: bool = False,
) -> list[Measurement]:
    """The largest error of every layer of one framework's model, in the order of computation.

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
