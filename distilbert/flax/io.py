# SPDX-License-Identifier: Apache-2.0
"""How Flax models get their values, give them back, and change shape; no mathematics."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import tree_util

from distilbert.config import DistilBertConfig
from distilbert.convert.tensor import Array
from distilbert.errors import InputError
from distilbert.flax.attention import DEFAULT, check_implementation
from distilbert.flax.layers import Embedding, Linear
from distilbert.flax.params import Params, cast, fitting, float_type, nested, path_name, variables
from distilbert.outputs import OUTPUT_CLASSES, ModelOutput
from distilbert.pretrained import PreTrained
from distilbert.spec import native_name


def _register_output(cls: type[ModelOutput]) -> None:
    def unflatten(names: tuple[str, ...], values: Any) -> ModelOutput:
        output = cls()
        output.update(zip(names, values, strict=True))  # JAX fills containers with None too, which cls(...) would drop
        return output

    tree_util.register_pytree_with_keys(
        cls,
        lambda output: ([(tree_util.DictKey(name), value) for name, value in output.items()], tuple(output)),
        unflatten,
        lambda output: (list(output.values()), tuple(output)),
    )


for _output_class in OUTPUT_CLASSES:
    _register_output(_output_class)


class PreTrainedModel(PreTrained, nnx.Module):
    """Base of the Flax models.

    A model is a Flax NNX module, and so a pytree of its parameters. It can also be called as Linen models are, with the
    parameters given apart (`params`). It holds no random state: dropout takes its key from the call.

    Compile functions that take the model or its params, as in `jax.jit(lambda model, ids: model(ids))`. Also
    `jax.jit(model)` runs, but makes the weights constants of the program: slow to compile, and blind to later changes.

    Every class is made from a config, with these options:

        seed: of the new values, which are the same in every framework; default 0.
        dtype: float type of the parameters and the computation; default float32.
        _do_init: False for a model without values, to be called with `params`.
        input_shape: accepted for code written for Linen models, and ignored: no shape depends on it.
    """

    backend: ClassVar[str] = "flax"

    def __init__(self, config: DistilBertConfig) -> None:
        self.config = config
        self.deterministic = True
        self.attn_implementation = DEFAULT
        self.check_config()

    @classmethod
    def empty(cls, config: DistilBertConfig, dtype: str) -> Self:
        return cls(config, dtype=dtype, _do_init=False)  # type: ignore[call-arg]  # every model class takes these

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], *, _do_init: bool = True, **options: Any) -> Any:
        """As `PreTrained.from_pretrained`; with `_do_init=False` a model without values and, beside it, the params."""
        loaded = super().from_pretrained(name_or_path, **options)
        if _do_init:
            return loaded
        model, *info = loaded if isinstance(loaded, tuple) else (loaded,)
        params = model.params
        empty_values(variables(model).values(), model.dtype)
        return model, params, *info

    def save_pretrained(self, folder: str | os.PathLike[str], params: Params | None = None, **options: Any) -> None:
        """As `PreTrained.save_pretrained`; with `params` it saves these in place of the model's own."""
        model = self if params is None else self.with_params(params)
        super(PreTrainedModel, model).save_pretrained(folder, **options)

    # Values.

    def initialize(
        self, seed: int | None, dtype: Any = "float32", input_shape: Any = None, _do_init: bool = True
    ) -> None:
        """Draw the values of this class's own layers (unless `_do_init` is false), and set the attention kernel."""
        empty = [variable for variable in variables(self).values() if is_empty(variable)]
        empty_values(empty, float_type(dtype))
        if _do_init:
            self.load_tensors(self.fresh_tensors(seed))
        self.set_attn_implementation(self.attn_implementation)

    def load_tensors(self, tensors: Mapping[str, Array]) -> None:
        own, specs = variables(self), self.tensor_specs
        for name, values in tensors.items():
            variable = own[native_name(specs[name], "flax")]
            values = values.T if specs[name].transposed else values
            variable.set_value(jnp.array(np.asarray(values, variable.dtype)))  # a copy: JAX may share memory unasked

    def dump_tensors(self) -> dict[str, Array]:
        self.check_values()
        own, dumped = variables(self), {}
        for name, tensor in self.tensor_specs.items():
            values = np.asarray(own[native_name(tensor, "flax")].get_value())
            dumped[name] = values.T if tensor.transposed else values
        return dumped

    def rebuild(self, config: DistilBertConfig, tensors: Mapping[str, Array]) -> None:
        dtype, deterministic = self.dtype, self.deterministic
        attention, checkpointing = self.attn_implementation, self.gradient_checkpointing
        type(self).__init__(self, config, dtype=dtype, _do_init=False)  # type: ignore[call-arg]
        self.load_tensors(tensors)
        self.set_attributes(deterministic=deterministic)
        self.set_attn_implementation(attention)
        self.encoder.transformer.gradient_checkpointing = checkpointing

    def random_seed(self) -> int:
        """JAX has no global random state; without a seed it is 0, as in Hugging Face's Flax models."""
        return 0

    # Parameters apart from the model.

    @property
    def params(self) -> dict[str, Any]:
        """The parameters as nested dicts, with the paths of flax_model.msgpack; set it to replace all of them."""
        self.check_values()
        return nested({name: variable.get_value() for name, variable in variables(self).items()})

    @params.setter
    def params(self, params: Params) -> None:
        own = variables(self)
        for name, value in fitting(params, own).items():
            own[name].set_value(value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "params":  # NNX would take the dict for a part of the module
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def params_shape_tree(self) -> dict[str, Any]:
        """Shape and float type of every parameter, nested as in `params`."""
        return nested({name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in variables(self).items()})

    def with_params(self, params: Params) -> Self:
        """A model like this one that holds `params`; works under jit and grad, and leaves this one as it is."""
        leaves, structure = tree_util.tree_flatten_with_path(self)
        own = {path_name(path[:-1]): leaf for path, leaf in leaves}  # the last step is from a variable to its value
        values = fitting(params, own)
        return structure.unflatten([values[name] for name in own])  # type: ignore[attr-defined,no-any-return]

    def init_weights(self, rng: jax.Array, input_shape: tuple[int, ...] | None = None) -> dict[str, Any]:
        """New params for a model that was made with `_do_init=False`; `input_shape` is of no consequence."""
        seed = int(jax.random.bits(rng, dtype=jnp.uint32))
        return type(self)(self.config, seed=seed, dtype=self.dtype).params  # type: ignore[call-arg,no-any-return]

    def to_bf16(self, params: Params) -> Any:
        """`params` in bfloat16. The model converts what it is called with to its own float type."""
        return cast(params, jnp.bfloat16)

    def to_fp16(self, params: Params) -> Any:
        """`params` in float16."""
        return cast(params, jnp.float16)

    def to_fp32(self, params: Params) -> Any:
        """`params` in float32."""
        return cast(params, jnp.float32)

    # Settings.

    def set_view(self, deterministic: bool | None = None) -> None:
        """Called by `nnx.view(model, deterministic=...)`, which makes a model like this one without or with dropout."""
        if deterministic is not None:
            self.deterministic = deterministic

    def set_attn_implementation(self, name: str) -> None:
        self.attn_implementation = check_implementation(name)
        for block in self.encoder.transformer.layer:
            block.attention.implementation = name

    def set_half_products(self, enabled: bool) -> None:
        """Round the factors of the linear layers' products to bfloat16; all other numbers stay as they are."""
        for _, module in nnx.iter_modules(self):
            if isinstance(module, Linear | Embedding):
                module.half_products = enabled

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None) -> None:
        """Compute the blocks again in the backward pass instead of keeping their intermediate values."""
        self.encoder.transformer.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Keep intermediate values for the backward pass."""
        self.encoder.transformer.gradient_checkpointing = False

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether blocks are computed again in the backward pass."""
        return bool(self.encoder.transformer.gradient_checkpointing)

    @property
    def encoder(self) -> Any:
        """The bare encoder inside this model, or the model itself."""
        return getattr(self, self.base_model_prefix, self)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Float type of the parameters and the computation."""
        return np.dtype(self.get_input_embeddings().embedding.dtype)

    @property
    def is_empty(self) -> bool:
        """Whether the parameters have shapes but no values."""
        return is_empty(self.get_input_embeddings().embedding)

    def get_input_embeddings(self) -> Any:
        """The table of word vectors."""
        return self.encoder.embeddings.word_embeddings

    def set_input_embeddings(self, table: nnx.Module) -> None:
        """Replace the table of word vectors by one of the same shape."""
        self.encoder.embeddings.word_embeddings = table

    def get_output_embeddings(self) -> nnx.Module | None:
        """The vocabulary projector of a masked language model."""
        return getattr(self, "vocab_projector", None)

    def check_values(self) -> None:
        """Raise InputError when the model has shapes but no values."""
        if self.is_empty:
            raise InputError(
                "params: this model was made with _do_init=False and has none; "
                "pass params=..., or set model.params, from a file or from model.init_weights(key)"
            )

    def check_ready(self, dropout_rng: jax.Array | None, train: bool) -> None:
        """Raise InputError when values, or a key for dropout, are missing for a call."""
        self.check_values()
        head = getattr(self, "dropout", None)
        rates = self.config.dropout, self.config.attention_dropout, 0 if head is None else head.rate
        if train and dropout_rng is None and any(rates):
            raise InputError("dropout_rng: training needs a random key for dropout; pass dropout_rng=jax.random.key(0)")


def is_empty(variable: nnx.Variable[Any]) -> bool:
    """Whether a variable has a shape but no value."""
    return isinstance(variable.get_value(), jax.ShapeDtypeStruct)


def empty_values(empty: Any, dtype: np.dtype[Any]) -> None:
    """Leave variables with their shapes and this float type, and no values."""
    for variable in empty:
        variable.set_value(jax.ShapeDtypeStruct(variable.shape, dtype))
