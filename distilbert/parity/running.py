# SPDX-License-Identifier: Apache-2.0
"""One model of one framework, run on NumPy arguments and read back as NumPy values. All a user could get is asked for.

Frameworks are imported only when a model of theirs is made.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert import backend as backends
from distilbert import spec
from distilbert.config import DistilBertConfig
from distilbert.parity.measuring import layers_of_gradients, layers_of_output

Array = NDArray[Any]


class Runner(ABC):
    """A model with weights, in evaluation mode."""

    def __init__(
        self, backend: str, task: str, config: DistilBertConfig, tensors: Mapping[str, Array], dtype: str
    ) -> None:
        module = backends.load(backend, "comparing the frameworks")
        self.specs = spec.tensors(config, task)
        self.model = getattr(module, spec.TASKS[task].class_name).empty(config.replace(dtype=dtype), dtype)
        self.model.load_tensors(tensors)

    def tensors(self) -> dict[str, Array]:
        """The weights the model holds, by canonical name."""
        return dict(self.model.dump_tensors())

    def outputs(self, arguments: Mapping[str, Array]) -> list[dict[str, Array]]:
        """The layers of a call, once with the model's own attention kernel and once with attention probabilities.

        The fast kernels return no probabilities, so that the second run is one of the plain kernel.
        """
        return [
            layers_of_output(self._plain(self.call(arguments, output_hidden_states=True, output_attentions=wanted)))
            for wanted in (False, True)
        ]

    def gradients(self, arguments: Mapping[str, Array]) -> dict[str, Array]:
        """The gradients of the loss, grouped by layer."""
        found = self.loss_gradients(arguments)
        turned = {name: found[name].T if self.stored_transposed(name) else found[name] for name in found}
        return layers_of_gradients(turned)

    def stored_transposed(self, name: str) -> bool:
        """Whether the framework holds a matrix the other way round than its canonical tensor."""
        return self.specs[name].transposed

    @abstractmethod
    def call(self, arguments: Mapping[str, Array], **options: bool) -> Mapping[str, Any]:
        """The model's output, as the framework gives it."""

    @abstractmethod
    def loss_gradients(self, arguments: Mapping[str, Array]) -> dict[str, Array]:
        """The gradient of the loss by canonical name, in the framework's own orientation."""

    @abstractmethod
    def to_numpy(self, value: Any) -> Array:
        """A float64 copy of a tensor."""

    def _plain(self, output: Mapping[str, Any]) -> dict[str, Any]:
        many = (tuple, list)
        return {
            name: [self.to_numpy(item) for item in value] if isinstance(value, many) else self.to_numpy(value)
            for name, value in output.items()
        }


class TorchRunner(Runner):
    """A model of `distilbert.pt`."""

    def call(self, arguments: Mapping[str, Array], **options: bool) -> Mapping[str, Any]:
        import torch

        with torch.no_grad():
            output: Mapping[str, Any] = self.model(**self._tensors(arguments), **options, return_dict=True)
        return output

    def loss_gradients(self, arguments: Mapping[str, Array]) -> dict[str, Array]:
        self.model.zero_grad()
        self.model(**self._tensors(arguments), return_dict=True).loss.backward()
        parameters = {name: self.model.get_parameter(name) for name in self.specs}
        return {name: self.to_numpy(value.grad) for name, value in parameters.items() if value.grad is not None}

    def stored_transposed(self, name: str) -> bool:
        return False

    def to_numpy(self, value: Any) -> Array:
        return np.asarray(value.detach().cpu().double().numpy())

    def _tensors(self, arguments: Mapping[str, Array]) -> dict[str, Any]:
        import torch

        return {name: torch.from_numpy(np.array(value)) for name, value in arguments.items()}


class TensorFlowRunner(Runner):
    """A model of `distilbert.tf`."""

    def call(self, arguments: Mapping[str, Array], **options: bool) -> Mapping[str, Any]:
        import tensorflow as tf

        tensors = {name: tf.constant(value) for name, value in arguments.items()}
        output: Mapping[str, Any] = self.model(**tensors, **options, return_dict=True)
        return output

    def loss_gradients(self, arguments: Mapping[str, Array]) -> dict[str, Array]:
        import tensorflow as tf

        variables = {name: self._variable(name) for name in self.specs}
        trained = {name: variable for name, variable in variables.items() if variable.trainable}
        with tf.GradientTape() as tape:
            loss = self.call(arguments)["loss"]
        found = tape.gradient(loss, [variable.value for variable in trained.values()])
        return {name: self.to_numpy(tf.convert_to_tensor(value)) for name, value in zip(trained, found, strict=True)}

    def to_numpy(self, value: Any) -> Array:
        return np.asarray(value, np.float64)

    def _variable(self, name: str) -> Any:
        layer = self.model
        for part in self.specs[name].path.split("."):
            layer = layer[int(part)] if part.isdigit() else getattr(layer, part)
        return getattr(layer, self.specs[name].attribute("tf"))


class FlaxRunner(Runner):
    """A model of `distilbert.flax`."""

    def call(self, arguments: Mapping[str, Array], **options: bool) -> Mapping[str, Any]:
        output: Mapping[str, Any] = self.model(**arguments, **options, return_dict=True)
        return output

    def loss_gradients(self, arguments: Mapping[str, Array]) -> dict[str, Array]:
        import jax

        found = jax.grad(lambda params: self.model(**arguments, params=params, return_dict=True)["loss"])(
            self.model.params
        )
        return {name: self.to_numpy(self._leaf(found, name)) for name in self.specs}

    def to_numpy(self, value: Any) -> Array:
        return np.asarray(value, np.float64)

    def _leaf(self, tree: Any, name: str) -> Any:
        for part in spec.native_name(self.specs[name], "flax").split("/"):
            tree = tree[part]
        return tree


_RUNNERS: dict[str, type[Runner]] = {"pt": TorchRunner, "tf": TensorFlowRunner, "flax": FlaxRunner}


@contextmanager
def running(
    backend: str, task: str, config: DistilBertConfig, tensors: Mapping[str, Array], dtype: str
) -> Iterator[Runner]:
    """A model of a framework with these weights, ready to run in `dtype` while the context lasts.

    Raises:
        BackendError: the framework is not installed.
    """
    with _float64_allowed(backend, dtype):
        yield _RUNNERS[backend](backend, task, config, tensors, dtype)


def _float64_allowed(backend: str, dtype: str) -> contextlib.AbstractContextManager[Any]:
    """JAX computes in float32 unless told otherwise; this tells it for a while, and only where it is needed."""
    if backend != "flax" or dtype != "float64":
        return contextlib.nullcontext()
    import jax

    enable_x64 = getattr(jax, "enable_x64", None)
    if enable_x64 is None:  # JAX before 0.8
        from jax.experimental import enable_x64
    return enable_x64(True)  # type: ignore[no-any-return]
