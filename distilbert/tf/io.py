# SPDX-License-Identifier: Apache-2.0
"""How TensorFlow models get their values, give them back, and change shape; no mathematics."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

import keras
import optree
import tensorflow as tf

from distilbert.config import DistilBertConfig
from distilbert.convert.tensor import Array
from distilbert.outputs import OUTPUT_CLASSES, ModelOutput
from distilbert.pretrained import PreTrained
from distilbert.spec import TensorSpec
from distilbert.tf.attention import DEFAULT, check_implementation
from distilbert.tf.keras_model import KerasModel, dtype_policy
from distilbert.tf.layers import Embedding


def _register_output(cls: type[ModelOutput]) -> None:
    def flatten(output: Any) -> tuple[Any, ...]:
        return list(output.values()), tuple(output), tuple(output)

    def unflatten(names: Any, values: Any) -> Any:
        return cls(**dict(zip(names, values, strict=True)))

    optree.register_pytree_node(cls, flatten, unflatten, namespace="keras")


for _output_class in OUTPUT_CLASSES:
    _register_output(_output_class)

_values_follow = contextvars.ContextVar("values_follow", default=False)


class PreTrainedModel(PreTrained, KerasModel):
    """Base of the TensorFlow models."""

    backend: ClassVar[str] = "tf"

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(autocast=False)
        self.config = config
        self.attn_implementation = DEFAULT
        self.check_config()

    @classmethod
    def empty(cls, config: DistilBertConfig, dtype: str) -> Self:
        """As in every backend; a mixed global policy whose variables are of this type stays, so it computes in half."""
        policy = keras.config.dtype_policy()
        with dtype_policy(policy if policy.variable_dtype == dtype else keras.DTypePolicy(dtype)), without_values():
            return cls(config)

    def initialize(self, seed: int | None) -> None:
        """Draw the values of this class's own layers, and put the attention kernel in place."""
        self.built = True
        name_layers(self)
        if not _values_follow.get():
            self.load_tensors(self.fresh_tensors(seed))
        self.set_attn_implementation(self.attn_implementation)

    def load_tensors(self, tensors: Mapping[str, Array]) -> None:
        specs = self.tensor_specs
        for name, values in tensors.items():
            assign(self.parameter(specs[name]), values, specs[name])

    def dump_tensors(self) -> dict[str, Array]:
        return {name: to_numpy(self.parameter(tensor), tensor) for name, tensor in self.tensor_specs.items()}

    def parameter(self, tensor: TensorSpec) -> Any:
        """The Keras variable of a tensor, in Keras's orientation."""
        layer: Any = self
        for part in tensor.path.split("."):
            layer = layer[int(part)] if part.isdigit() else getattr(layer, part)
        return getattr(layer, tensor.attribute("tf"))

    def rebuild(self, config: DistilBertConfig, tensors: Mapping[str, Array]) -> None:
        """As in every backend; an optimizer does not fit the new variables, so `compile` again before `fit`."""
        with dtype_policy(self.dtype_policy), without_values():
            model = type(self)(config)
        model.load_tensors(tensors)
        model.set_attn_implementation(self.attn_implementation)
        encoder_of(model).transformer.gradient_checkpointing = self.gradient_checkpointing
        model.name = self.name
        object.__setattr__(self, "__dict__", vars(model))

    def random_seed(self) -> int:
        return int(keras.random.randint((), 0, 2**31 - 1))

    def set_attn_implementation(self, name: str) -> None:
        self.attn_implementation = check_implementation(name)
        for block in encoder_of(self).transformer.layer:
            block.attention.implementation = name
        self.forget_compiled_steps()

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None) -> None:
        """Compute the blocks again in the backward pass instead of keeping their intermediate values."""
        encoder_of(self).transformer.gradient_checkpointing = True
        self.forget_compiled_steps()

    def gradient_checkpointing_disable(self) -> None:
        """Keep intermediate values for the backward pass."""
        encoder_of(self).transformer.gradient_checkpointing = False
        self.forget_compiled_steps()

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether blocks are computed again in the backward pass."""
        return bool(encoder_of(self).transformer.gradient_checkpointing)

    def get_input_embeddings(self) -> Embedding:
        """The table of word vectors."""
        return encoder_of(self).embeddings.word_embeddings

    def set_input_embeddings(self, table: Any) -> None:
        """Give the table of word vectors the values of a layer, or an array, of the same shape."""
        self.get_input_embeddings().embeddings.assign(getattr(table, "embeddings", table))

    def get_output_embeddings(self) -> keras.Layer | None:
        """The vocabulary projector of a masked language model."""
        return getattr(self, "vocab_projector", None)


def encoder_of(model: PreTrainedModel) -> Any:
    """The bare encoder inside a model, or the model itself; no attribute, which Keras would save a second time."""
    return getattr(model, model.base_model_prefix, model)


@contextlib.contextmanager
def without_values() -> Iterator[None]:
    """While entered, new models draw no values."""
    token = _values_follow.set(True)
    try:
        yield
    finally:
        _values_follow.reset(token)


def name_layers(layer: keras.Layer) -> None:
    """Call the layers by their attributes: a summary can be read, and the same model gives the same graph.

    TensorFlow's optimization of graphs looks at names, so with other names sums could be taken in another order.
    """
    for attribute, child in vars(layer).items():
        children = child if isinstance(child, list) else [child]
        for place, found in enumerate(children):
            if isinstance(found, keras.Layer):
                found.name = f"{attribute}_{place}" if isinstance(child, list) else attribute
                name_layers(found)


def to_numpy(variable: Any, tensor: TensorSpec) -> Array:
    """A NumPy copy of a variable's values in PyTorch's orientation."""
    values: Array = tf.convert_to_tensor(variable).numpy()
    return values.T if tensor.transposed else values


def assign(variable: Any, values: Array, tensor: TensorSpec) -> None:
    """Give a variable the values of a NumPy array in PyTorch's orientation."""
    value = tf.cast(tf.convert_to_tensor(values), variable.dtype)
    variable.assign(tf.transpose(value) if tensor.transposed else value)


def bounds(values: tf.Tensor) -> tuple[int, int] | None:
    """Smallest and largest value, or None where the values cannot be looked at (graphs, no values)."""
    if not tf.executing_eagerly() or not hasattr(values, "numpy") or 0 in values.shape:
        return None
    numbers = values.numpy()
    return int(numbers.min()), int(numbers.max())
