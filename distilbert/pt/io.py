# SPDX-License-Identifier: Apache-2.0
"""How PyTorch models get their values, give them back, and change shape; no mathematics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from distilbert.config import DistilBertConfig
from distilbert.convert.tensor import BFLOAT16, Array
from distilbert.errors import InputError
from distilbert.outputs import OUTPUT_CLASSES, ModelOutput
from distilbert.pretrained import PreTrained
from distilbert.pt.attention import DEFAULT, check_implementation


def _register_output(cls: type[ModelOutput]) -> None:
    def unflatten(values: Iterable[Any], names: Iterable[str]) -> ModelOutput:
        return cls(**dict(zip(names, values, strict=True)))

    _pytree.register_pytree_node(
        cls,
        lambda output: (list(output.values()), list(output)),
        unflatten,
        serialized_type_name=f"distilbert.{cls.__name__}",
    )


for _output_class in OUTPUT_CLASSES:
    _register_output(_output_class)


class PreTrainedModel(PreTrained, nn.Module):
    """Base of the PyTorch models."""

    backend: ClassVar[str] = "pt"

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.config = config
        self.attn_implementation = DEFAULT
        self.check_config()

    @classmethod
    def empty(cls, config: DistilBertConfig, dtype: str) -> Self:
        with torch.device("meta"):
            model = cls(config)
        return model.to(getattr(torch, dtype)).eval()

    def initialize(self, seed: int | None) -> None:
        """Draw the values of this class's own layers, and put the attention kernel in place."""
        if not any(parameter.is_meta for parameter in self.parameters()):
            self.load_tensors(self.fresh_tensors(seed))
        self.set_attn_implementation(self.attn_implementation)

    def load_tensors(self, tensors: Mapping[str, Array]) -> None:
        for name, values in tensors.items():
            parameter = self.get_parameter(name)
            value = to_torch(values).to(parameter.dtype)
            if parameter.is_meta:
                self._replace_parameter(name, nn.Parameter(value, parameter.requires_grad))
            else:
                parameter.data.copy_(value)
        self.tie_weights()

    def dump_tensors(self) -> dict[str, Array]:
        return {name: to_numpy(self.get_parameter(name)) for name in self.tensor_specs}

    def rebuild(self, config: DistilBertConfig, tensors: Mapping[str, Array]) -> None:
        dtype, device, training = self.dtype, self.device, self.training
        attention, checkpointing = self.attn_implementation, self.gradient_checkpointing
        with torch.device("meta"):
            type(self).__init__(self, config)  # type: ignore[misc]  # every model class takes (config)
        self.to(dtype)
        self.load_tensors(tensors)
        self.to(device).train(training)
        self.set_attn_implementation(attention)
        self.encoder.transformer.gradient_checkpointing = checkpointing

    def random_seed(self) -> int:
        return int(torch.randint(2**31, (), device="cpu"))

    def tie_weights(self) -> None:
        """Show the word embeddings as the weight of a tied projector too, where PyTorch users look for it."""
        projector = getattr(self, "vocab_projector", None)
        if projector is not None and projector.tied:
            projector.weight = self.get_input_embeddings().weight

    def set_attn_implementation(self, name: str) -> None:
        self.attn_implementation = check_implementation(name)
        for block in self.encoder.transformer.layer:
            block.attention.implementation = name

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
    def dtype(self) -> torch.dtype:
        """Float type of the parameters."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def get_input_embeddings(self) -> nn.Embedding:
        """The table of word vectors."""
        return self.encoder.embeddings.word_embeddings  # type: ignore[no-any-return]

    def set_input_embeddings(self, table: nn.Embedding) -> None:
        """Replace the table of word vectors by one of the same shape."""
        self.encoder.embeddings.word_embeddings = table
        self.tie_weights()

    def get_output_embeddings(self) -> nn.Module | None:
        """The vocabulary projector of a masked language model."""
        return getattr(self, "vocab_projector", None)

    def _replace_parameter(self, name: str, parameter: nn.Parameter) -> None:
        path, _, leaf = name.rpartition(".")
        setattr(self.get_submodule(path), leaf, parameter)


def to_torch(values: Array) -> Tensor:
    """A tensor over the memory of an array where possible."""
    values = np.ascontiguousarray(values).reshape(values.shape)
    if values.dtype == BFLOAT16:
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(values)


def to_numpy(tensor: Tensor) -> Array:
    """A NumPy copy of a tensor's values, from any device."""
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(BFLOAT16).copy()
    return tensor.numpy().copy()


def bounds(values: Tensor) -> tuple[int, int] | None:
    """Smallest and largest value, or None where the values cannot be looked at (compiling, tracing, no values)."""
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined]  # public, but not in the module's __all__
    if not isinstance(values, Tensor):
        raise InputError(f"inputs: expected torch tensors, found {type(values).__name__}; torch.tensor(...) makes one")
    if torch.compiler.is_compiling() or tracing or values.is_meta or values.numel() == 0:
        return None
    low, high = torch.aminmax(values)
    return int(low), int(high)
