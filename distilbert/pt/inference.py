# SPDX-License-Identifier: Apache-2.0
"""The fast path in PyTorch: the arithmetic of `modeling.py` and `heads.py` over packed tokens, in fewer steps.

Read beside `tf/inference.py` and `flax/inference.py`. Nothing is compiled: on a CPU each step is one kernel of oneDNN
or PyTorch that takes any shape.

Axes: N tokens of all sequences together, P of them whose vectors alone are wanted, D dim, H heads, K head size,
B sequences of one length T.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from distilbert.config import DistilBertConfig
from distilbert.errors import InputError
from distilbert.inference import fast_model
from distilbert.inference.packing import Batch, Pack, flat_packs, padded_places
from distilbert.pt.attention import additive_mask
from distilbert.pt.io import bounds, to_torch
from distilbert.pt.kernels import Linear, linear
from distilbert.reference import LAYER_NORM_EPS


class Block(NamedTuple):
    """Sequences of one length that lie one after another."""

    sequences: int
    tokens: int


class Weights:
    """A model's tensors by canonical name, ready to become layers on a device in a number format."""

    def __init__(self, tensors: Mapping[str, Any], dtype: str, device: torch.device) -> None:
        self.tensors = tensors
        self.dtype = dtype
        self.float_dtype = torch.float32 if dtype == "int8" else getattr(torch, dtype)
        self.device = device

    def linear(self, *names: str) -> Linear:
        """The layers of these names as one, their outputs side by side."""
        weight, bias = (torch.cat([self.value(f"{name}.{leaf}") for name in names]) for leaf in ("weight", "bias"))
        return linear(weight, bias, self.dtype)

    def projector(self, config: DistilBertConfig) -> Linear:
        """From a vector to one score per word."""
        tied = "distilbert.embeddings.word_embeddings" if config.tie_word_embeddings else "vocab_projector"
        return linear(self.value(f"{tied}.weight"), self.value("vocab_projector.bias"), self.dtype)

    def norm(self, name: str) -> LayerNorm:
        return LayerNorm(self.table(f"{name}.weight"), self.table(f"{name}.bias"))

    def table(self, name: str) -> Tensor:
        return self.value(name).to(self.float_dtype)

    def value(self, name: str) -> Tensor:
        return to_torch(self.tensors[name]).to(self.device, torch.float32)


class LayerNorm:
    """Mean 0 and variance 1 along D, scaled and shifted."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = weight
        self.bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, LAYER_NORM_EPS)


class TransformerBlock:
    """Attention and feed-forward over packed tokens."""

    def __init__(self, weights: Weights, name: str, config: DistilBertConfig, layer: int) -> None:
        self.heads = config.heads_in_layer(layer)
        self.head_dim = config.head_dim
        self.activation = config.activation
        self.qkv_lin = weights.linear(*(f"{name}.attention.{part}_lin" for part in "qkv"))
        self.out_lin = weights.linear(f"{name}.attention.out_lin")
        self.sa_layer_norm = weights.norm(f"{name}.sa_layer_norm")
        self.lin1 = weights.linear(f"{name}.ffn.lin1")
        self.lin2 = weights.linear(f"{name}.ffn.lin2")
        self.output_layer_norm = weights.norm(f"{name}.output_layer_norm")

    def __call__(self, hidden: Tensor, blocks: Sequence[Block], mask: Tensor | None, places: Tensor | None) -> Tensor:
        """From (N, D) to (N, D), or with `places` (P,) to the vectors of these tokens only: (P, D)."""
        qkv = self.qkv_lin(hidden)  # (N, 3*H*K)
        context = self.attend(qkv, blocks, mask, places)  # (N or P, H*K)
        hidden = hidden if places is None else hidden[places]  # (N or P, D)
        hidden = self.sa_layer_norm(self.out_lin.added(context, hidden))  # (N or P, D)
        expanded = self.lin1.activated(hidden, self.activation)  # (N or P, F)
        return self.output_layer_norm(self.lin2.added(expanded, hidden))  # (N or P, D)

    def attend(self, qkv: Tensor, blocks: Sequence[Block], mask: Tensor | None, places: Tensor | None) -> Tensor:
        """Each sequence looks at itself alone: (N, 3*H*K) -> (N or P, H*K)."""
        if mask is None and has_varlen(qkv):
            context = self.attend_varlen(qkv, blocks)  # (N, H*K)
        else:
            context = self.attend_blocks(qkv, blocks, mask)  # (N, H*K)
        return context if places is None else context[places]

    def attend_blocks(self, qkv: Tensor, blocks: Sequence[Block], mask: Tensor | None) -> Tensor:
        """By a kernel that takes sequences of one length."""
        contexts = []
        start = 0
        for sequences, tokens in blocks:
            end = start + sequences * tokens
            split = qkv[start:end].view(sequences, tokens, 3, self.heads, self.head_dim)  # (B, T, 3, H, K)
            q, k, v = split.permute(2, 0, 3, 1, 4).unbind()  # (B, H, T, K)
            context = F.scaled_dot_product_attention(q, k, v, mask)  # (B, H, T, K)
            contexts.append(context.transpose(1, 2).reshape(-1, self.heads * self.head_dim))
            start = end
        return contexts[0] if len(contexts) == 1 else torch.cat(contexts)

    def attend_varlen(self, qkv: Tensor, blocks: Sequence[Block]) -> Tensor:
        """By a GPU's kernel that takes sequences of many lengths."""
        from torch.nn.attention.varlen import varlen_attn

        lengths = [block.tokens for block in blocks for _ in range(block.sequences)]
        starts = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=qkv.device)  # (B + 1,)
        q, k, v = qkv.view(-1, 3, self.heads, self.head_dim).unbind(1)  # (N, H, K)
        context: Any = varlen_attn(q, k, v, starts, starts, max(lengths), max(lengths))  # (N, H, K)
        return context.flatten(1)  # type: ignore[no-any-return]


def has_varlen(x: Tensor) -> bool:
    """Whether PyTorch has a kernel for sequences of many lengths that takes numbers like these."""
    half = x.dtype in (torch.float16, torch.bfloat16)
    return x.is_cuda and half and importlib.util.find_spec("torch.nn.attention.varlen") is not None


class Encoder:
    """Embeddings and blocks."""

    def __init__(self, weights: Weights, config: DistilBertConfig, prefix: str) -> None:
        embeddings = f"{prefix}embeddings"
        self.words = weights.table(f"{embeddings}.word_embeddings.weight")
        self.positions = weights.table(f"{embeddings}.position_embeddings.weight")
        self.norm = weights.norm(f"{embeddings}.LayerNorm")
        self.layers = [
            TransformerBlock(weights, f"{prefix}transformer.layer.{i}", config, i) for i in range(config.n_layers)
        ]

    def __call__(
        self, ids: Tensor, positions: Tensor, blocks: Sequence[Block], mask: Tensor | None, places: Tensor | None
    ) -> Tensor:
        """Token ids (N,) to vectors (N, D), or with `places` (P,) to those of these tokens only: (P, D)."""
        hidden = self.norm(F.embedding(ids, self.words) + F.embedding(positions, self.positions))  # (N, D)
        *before, last = self.layers
        for layer in before:
            hidden = layer(hidden, blocks, mask, None)  # (N, D)
        return last(hidden, blocks, mask, places)  # (N or P, D)


class Head:
    """What follows the encoder for each task: from vectors (..., D) to the fields of the answer."""

    def __init__(self, weights: Weights, config: DistilBertConfig, task: str) -> None:
        self.task = task
        self.activation = config.activation
        if task == "masked-lm":
            self.vocab_transform = weights.linear("vocab_transform")
            self.vocab_layer_norm = weights.norm("vocab_layer_norm")
            self.vocab_projector = weights.projector(config)
        elif task in ("sequence-classification", "multiple-choice"):
            self.pre_classifier = weights.linear("pre_classifier")
            self.classifier = weights.linear("classifier")
        elif task == "token-classification":
            self.classifier = weights.linear("classifier")
        elif task == "question-answering":
            self.qa_outputs = weights.linear("qa_outputs")

    def __call__(self, hidden: Tensor) -> tuple[Tensor, ...]:
        if self.task == "masked-lm":
            hidden = self.vocab_layer_norm(self.vocab_transform.activated(hidden, self.activation))
            return (self.vocab_projector(hidden),)  # (N or P, V)
        if self.task in ("sequence-classification", "multiple-choice"):
            return (self.classifier(self.pre_classifier.activated(hidden, "relu")),)  # (P, L)
        if self.task == "token-classification":
            return (self.classifier(hidden),)  # (N, L)
        if self.task == "question-answering":
            return self.qa_outputs(hidden).unbind(-1)  # (N,), (N,)
        return (hidden,)  # (N, D)


class FastModel(fast_model.FastModel):
    """The fast path of one model in PyTorch."""

    backend = "pt"
    tokens_per_pack = 1024

    def __init__(self, model: Any, dtype: str) -> None:
        super().__init__(model, dtype, model.device.type == "cuda")
        self.device = model.device
        weights = Weights(model.dump_tensors(), self.dtype, self.device)
        self.encoder = Encoder(weights, self.config, "" if self.task == "encoder" else "distilbert.")
        self.head = Head(weights, self.config, self.task)
        self.run_dense = captured(self.compute) if self.device.type == "cuda" else self.compute

    @staticmethod
    def bounds(values: Any) -> tuple[int, int] | None:
        return bounds(values)

    def tensor(self, value: Any) -> Tensor:
        try:
            return torch.as_tensor(value, device=self.device)
        except (TypeError, ValueError, RuntimeError):
            raise InputError(
                "inputs: expected tensors, arrays or lists of numbers in rows of one length, "
                f"found {type(value).__name__}; pad the rows"
            ) from None

    @torch.no_grad()
    def dense(
        self, input_ids: Tensor, attention_mask: Tensor | None, position_ids: Tensor | None
    ) -> tuple[Tensor, ...]:
        batch, length = input_ids.shape
        if position_ids is None:
            position_ids = torch.arange(length, device=self.device)  # (T,)
        position_ids = position_ids.expand(batch, length)  # (B, T)
        rows = max(self.tokens_per_pack // length, 1)
        parts = []
        for start in range(0, batch, rows):
            part = slice(start, start + rows)
            mask = None if attention_mask is None else additive_mask(attention_mask[part], self.encoder.words.dtype)
            block = Block(len(input_ids[part]), length)
            places = torch.arange(block.sequences, device=self.device) * length if self.first_only else None
            fields = self.run_dense(input_ids[part].flatten(), position_ids[part].flatten(), [block], mask, places)
            parts.append([field if self.first_only else field.view(-1, length, *field.shape[1:]) for field in fields])
        return tuple(field[0] if len(field) == 1 else torch.cat(field) for field in zip(*parts, strict=True))

    @torch.no_grad()
    def packed(self, batch: Batch) -> tuple[np.ndarray[Any, Any], ...]:
        used, row = sum(batch.lengths), batch.input_ids.shape[1]
        lengths = [*batch.lengths, row - used] if used < row else batch.lengths  # what is free is one more sequence
        blocks = [Block(len(list(equal)), length) for length, equal in groupby(lengths)]
        ids, positions = self.tensor(batch.input_ids[0]), self.tensor(batch.position_ids[0])
        places = None if batch.places is None else self.tensor(padded_places(batch.places))
        fields = self.compute(ids, positions, blocks, None, places)
        return tuple(field.cpu().numpy() for field in fields)

    def packs(self, lengths: Sequence[int]) -> Iterator[Pack]:
        return flat_packs(lengths, self.tokens_per_pack)

    def compute(
        self, ids: Tensor, positions: Tensor, blocks: Sequence[Block], mask: Tensor | None, places: Tensor | None
    ) -> tuple[Tensor, ...]:
        """The fields of the answer in float32 for packed tokens (N,), or for those at `places` (P,)."""
        if mask is not None:
            mask = mask.clamp(min=torch.finfo(self.encoder.words.dtype).min).to(self.encoder.words.dtype)
        fields = self.head(self.encoder(ids, positions, blocks, mask, places))
        return tuple(field.float() for field in fields)


def captured(compute: Any) -> Any:
    """`compute` compiled for a GPU and replayed as one CUDA graph for each shape, so that small batches are not held up
    by launching kernels one by one; after a few shapes PyTorch compiles no more and runs it as it stands.
    """
    compiled = torch.compile(compute, mode="reduce-overhead")

    def run(*arguments: Any) -> tuple[Tensor, ...]:
        torch.compiler.cudagraph_mark_step_begin()
        return tuple(field.clone() for field in compiled(*arguments))  # the next replay writes over its outputs

    return run
