# SPDX-License-Identifier: Apache-2.0
"""One model run on NumPy arguments and read back as NumPy values: of a framework, or the reference itself.

Frameworks are imported only when a model of theirs is made.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from distilbert import backend as backends
from distilbert import reference, spec
from distilbert.config import DistilBertConfig
from distilbert.parity.measuring import layers_of_gradients, layers_of_output

Array = NDArray[Any]
Arguments = Mapping[str, Array]
Layers = dict[str, Array]


class Runner(Protocol):
    """A model with weights, in evaluation mode."""

    def outputs(self, arguments: Arguments) -> list[Layers]:
        """The layers and outputs of a call, once for each way to compute them."""

    def gradients(self, arguments: Arguments) -> Layers:
        """The gradients of the loss, by layer."""


class ReferenceRunner:
    """The NumPy reference with these weights, in a float type."""

    def __init__(self, task: str, config: DistilBertConfig, tensors: Mapping[str, Array], dtype: str) -> None:
        self.task = task
        self.config = config
        self.weights = {name: values.astype(dtype) for name, values in tensors.items()}

    def outputs(self, arguments: Arguments) -> list[Layers]:
        """One run."""
        return [layers_of_output(reference.forward(self.task, self.config, self.weights, **arguments))]

    def gradients(self, arguments: Arguments) -> Layers:
        """The gradients of the loss, by layer."""
        return layers_of_gradients(reference.gradients(self.task, self.config, self.weights, **arguments))


class FrameworkRunner(ABC):
    """A model of one of the frameworks, through its public class."""

    backend: str

    def __init__(self, task: str, config: DistilBertConfig, tensors: Mapping[str, Array], dtype: str) -> None:
        module = backends.load(self.backend, "comparing the frameworks")
        self.specs = spec.tensors(config, task)
        self.model = getattr(module, spec.TASKS[task].class_name).empty(config.replace(dtype=dtype), dtype)
        self.model.load_tensors(tensors)

    def tensors(self) -> dict[str, Array]:
        """The weights the model holds, by canonical name."""
        return dict(self.model.dump_tensors())

    def outputs(self, arguments: Arguments) -> list[Layers]:
        """Three runs: with the hidden states, with the attention probabilities too, and with neither.

        Fast kernels return no probabilities, so the second run is one of the plain kernel. In the third, a model of
        which only the first token counts leaves out the others in its last layer.
        """
        wanted = ((True, False), (True, True), (False, False))
        return [
            layers_of_output(
                self._plain(self.call(arguments, output_hidden_states=states, output_attentions=attentions))
            )
            for states, attentions in wanted
        ]

    def gradients(self, arguments: Arguments) -> Layers:
        """The gradients of the loss, by layer."""
        return layers_of_gradients(self.loss_gradients(arguments))

    @abstractmethod
    def call(self, arguments: Arguments, **options: bool) -> Mapping[str, Any]:
        """The model's output, as the framework gives it."""

    @abstractmethod
    def loss_gradients(self, arguments: Arguments) -> dict[str, Array]:
        """The gradient of the loss by canonical name, in PyTorch's orientation; absent for what is not trained."""

    def to_numpy(self, value: Any) -> Array:
        """A float64 copy of a tensor."""
        return np.array(value, np.float64)

    def turned(self, name: str, gradient: Any) -> Array:
        """A gradient in PyTorch's orientation."""
        values = self.to_numpy(gradient)
        return values.T if self.specs[name].transposed else values

    def _plain(self, output: Mapping[str, Any]) -> dict[str, Any]:
        many = (tuple, list)
        return {
            name: [self.to_numpy(item) for item in value] if isinstance(value, many) else self.to_numpy(value)
            for name, value in output.items()
        }


class TorchRunner(FrameworkRunner):
    """A model of `distilbert.pt`."""

    backend = "pt"

    def call(self, arguments: Arguments, **options: bool) -> Mapping[str, Any]:
        """Without a graph for gradients."""
        import torch

        with torch.no_grad():
            output: Mapping[str, Any] = self.model(**self._tensors(arguments), **options, return_dict=True)
        return output

    def loss_gradients(self, arguments: Arguments) -> dict[str, Array]:
        """By one backward pass."""
        self.model.zero_grad()
        self.model(**self._tensors(arguments), return_dict=True).loss.backward()
        found = {name: self.model.get_parameter(name).grad for name in self.specs}
        return {name: self.to_numpy(gradient) for name, gradient in found.items() if gradient is not None}

    def to_numpy(self, value: Any) -> Array:
        """A float64 copy of a tensor."""
        return np.array(value.detach().cpu().double().numpy())

    def _tensors(self, arguments: Arguments) -> dict[str, Any]:
        import torch

        return {name: torch.from_numpy(np.array(value)) for name, value in arguments.items()}


class TensorFlowRunner(FrameworkRunner):
    """A model of `distilbert.tf`."""

    backend = "tf"

    def call(self, arguments: Arguments, **options: bool) -> Mapping[str, Any]:
        """As a function of NumPy arrays."""
        output: Mapping[str, Any] = self.model(**arguments, **options, return_dict=True)
        return output

    def loss_gradients(self, arguments: Arguments) -> dict[str, Array]:
        """By one backward pass."""
        import tensorflow as tf

        trained = {name: variable for name in self.specs if (variable := self._variable(name)).trainable}
        with tf.GradientTape() as tape:
            loss = self.call(arguments)["loss"]
        found = tape.gradient(loss, [variable.value for variable in trained.values()])
        return {name: self.turned(name, tf.convert_to_tensor(g)) for name, g in zip(trained, found, strict=True)}

    def _variable(self, name: str) -> Any:
        return self.model.parameter(self.specs[name])


class FlaxRunner(FrameworkRunner):
    """A model of `distilbert.flax`."""

    backend = "flax"

    def call(self, arguments: Arguments, **options: bool) -> Mapping[str, Any]:
        """As a function of NumPy arrays."""
        output: Mapping[str, Any] = self.model(**arguments, **options, return_dict=True)
        return output

    def loss_gradients(self, arguments: Arguments) -> dict[str, Array]:
        """By one backward pass over `model.params`."""
        import jax

        found = jax.grad(lambda params: self.call(arguments, params=params)["loss"])(self.model.params)
        return {name: self.turned(name, self._leaf(found, name)) for name in self.specs}

    def _leaf(self, tree: Any, name: str) -> Any:
        for part in spec.native_name(self.specs[name], "flax").split("/"):
            tree = tree[part]
        return tree


_RUNNERS: dict[str, type[FrameworkRunner]] = {
    runner.backend: runner for runner in (TorchRunner, TensorFlowRunner, FlaxRunner)
}


@contextmanager
def running(
    backend: str, task: str, config: DistilBertConfig, tensors: Mapping[str, Array], dtype: str
) -> Iterator[FrameworkRunner]:
    """A model of a framework with these weights, ready to run in `dtype` while the context lasts.

    Raises:
        BackendError: the framework is not installed.
    """
    with _float64_allowed(backend, dtype):
        yield _RUNNERS[backend](task, config, tensors, dtype)


def _float64_allowed(backend: str, dtype: str) -> contextlib.AbstractContextManager[Any]:
    """JAX computes in float32 unless told otherwise; this tells it for a while, and only where it is needed."""
    if backend != "flax" or dtype != "float64":
        return contextlib.nullcontext()
    backends.require(backend, "comparing the frameworks")
    import jax

    allowed: contextlib.AbstractContextManager[Any] = jax.enable_x64(True)
    return allowed
