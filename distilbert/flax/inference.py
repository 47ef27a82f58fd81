# SPDX-License-Identifier: Apache-2.0
"""The fast path in JAX: the arithmetic of `modeling.py` and `heads.py` over packed tokens, compiled for few shapes.

Read beside `pt/inference.py` and `tf/inference.py`. Vectors stand in columns, features first: `kernels.py` says why.

Axes: N tokens of all rows together, D dim, H heads, K head size, B rows of one length T, M tokens of a row whose
vectors are wanted.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from distilbert.config import DistilBertConfig
from distilbert.errors import InputError
from distilbert.flax.calls import as_array, bounds, float32_precision
from distilbert.flax.kernels import Layer, Linear, attention, linear, segment_mask
from distilbert.inference import fast_model
from distilbert.inference.compile_cache import use_compile_cache
from distilbert.inference.huge_pages import use_huge_pages
from distilbert.inference.packing import (
    SHORTEST_ROW,
    USUAL_ROW,
    Batch,
    Pack,
    next_power,
    powers_of_two,
    row_length,
    row_packs,
    shortened_row,
)
from distilbert.reference import LAYER_NORM_EPS

Numbers = np.ndarray[Any, Any]

SHORTEST_BATCH = 8  # tokens that a batch is padded to at least


class Weights:
    """A model's tensors by canonical name, ready to become layers in a number format."""

    def __init__(self, tensors: Mapping[str, Any], dtype: str, on_gpu: bool) -> None:
        self.tensors = tensors
        self.dtype = dtype
        self.float_dtype = "float32" if dtype == "int8" else dtype
        self.on_gpu = on_gpu

    def linear(self, *names: str) -> Linear:
        """The layers of these names as one, their outputs side by side."""
        weight, bias = (np.concatenate([self.value(f"{name}.{leaf}") for name in names]) for leaf in ("weight", "bias"))
        return linear(jnp.asarray(weight), jnp.asarray(bias), self.dtype)

    def qkv_linear(self, name: str, head_dim: int) -> Linear:
        """Queries, keys and values as one, with the scale of the scores in the queries."""
        scale = np.float32(1 / math.sqrt(head_dim))
        weight, bias = (
            np.concatenate([self.value(f"{name}.{part}_lin.{leaf}") * (scale if part == "q" else 1) for part in "qkv"])
            for leaf in ("weight", "bias")
        )
        return linear(jnp.asarray(weight), jnp.asarray(bias), self.dtype)

    def projector(self, config: DistilBertConfig) -> Linear:
        """From a vector to one score per word."""
        tied = "distilbert.embeddings.word_embeddings" if config.tie_word_embeddings else "vocab_projector"
        weight, bias = self.value(f"{tied}.weight"), self.value("vocab_projector.bias")
        return linear(jnp.asarray(weight), jnp.asarray(bias), self.dtype)

    def norm(self, name: str) -> LayerNorm:
        return LayerNorm(jnp.asarray(self.value(f"{name}.weight")), jnp.asarray(self.value(f"{name}.bias")))

    def table(self, name: str) -> Array:
        return jnp.asarray(self.value(name), self.float_dtype)

    def value(self, name: str) -> Numbers:
        return np.asarray(self.tensors[name], np.float32)


class LayerNorm(Layer):
    """Mean 0 and variance 1 along D, in float32, scaled and shifted."""

    def __init__(self, weight: Array, bias: Array) -> None:
        self.weight = weight[:, None]  # (D, 1)
        self.bias = bias[:, None]  # (D, 1)

    def __call__(self, x: Array) -> Array:
        wide = x.astype(jnp.float32)
        centered = wide - wide.mean(0, keepdims=True)
        variance = jnp.square(centered).mean(0, keepdims=True)
        normal = centered * jax.lax.rsqrt(variance + LAYER_NORM_EPS)
        return (normal * self.weight + self.bias).astype(x.dtype)


class TransformerBlock(Layer):
    """Attention and feed-forward over packed tokens."""

    static = ("heads", "head_dim", "activation", "dtype", "on_gpu")

    def __init__(self, weights: Weights, name: str, config: DistilBertConfig, layer: int) -> None:
        self.heads = config.heads_in_layer(layer)
        self.head_dim = config.head_dim
        self.activation = config.activation
        self.dtype = weights.float_dtype
        self.on_gpu = weights.on_gpu
        self.qkv_lin = weights.qkv_linear(f"{name}.attention", self.head_dim)
        self.out_lin = weights.linear(f"{name}.attention.out_lin")
        self.sa_layer_norm = weights.norm(f"{name}.sa_layer_norm")
        self.lin1 = weights.linear(f"{name}.ffn.lin1")
        self.lin2 = weights.linear(f"{name}.ffn.lin2")
        self.output_layer_norm = weights.norm(f"{name}.output_layer_norm")

    def __call__(self, hidden: Array, rows: int, mask: Array, places: Array | None) -> Array:
        """From (D, N) to (D, N), or with `places` (B, M) to the vectors of these tokens of the rows only: (D, B*M)."""
        qkv = self.qkv_lin(hidden)  # (3*H*K, N)
        context = self.attend(qkv, rows, mask, places)  # (H*K, N or B*M)
        if places is not None:
            hidden = _at(hidden.reshape(-1, rows, hidden.shape[1] // rows), places).reshape(len(hidden), -1)  # (D, B*M)
        hidden = self.sa_layer_norm(self.out_lin.added(context, hidden))  # (D, N or B*M)
        expanded = self.lin1.activated(hidden, self.activation)  # (F, N or B*M)
        return self.output_layer_norm(self.lin2.added(expanded, hidden))  # (D, N or B*M)

    def attend(self, qkv: Array, rows: int, mask: Array, places: Array | None) -> Array:
        """Each sequence looks at itself alone: (3*H*K, N) -> (H*K, N or B*M)."""
        split = qkv.astype(self.dtype).reshape(3, self.heads, self.head_dim, rows, -1)  # (3, H, K, B, T)
        q, k, v = split.transpose(0, 3, 1, 2, 4)  # (B, H, K, T)
        if places is not None:
            q = _at(q, places[:, None, None])  # (B, H, K, M)
            mask = _at(mask, places[:, None, None])  # (B, 1, T, M)
        context = attention(q, k, v, mask, self.on_gpu)  # (B, H, K, T or M)
        return context.transpose(1, 2, 0, 3).reshape(self.heads * self.head_dim, -1).astype(qkv.dtype)


class Encoder(Layer):
    """Embeddings and blocks."""

    static = ("dtype",)

    def __init__(self, weights: Weights, config: DistilBertConfig, prefix: str) -> None:
        embeddings = f"{prefix}embeddings"
        self.dtype = weights.float_dtype if weights.on_gpu else "float32"
        self.words = weights.table(f"{embeddings}.word_embeddings.weight")
        self.positions = weights.table(f"{embeddings}.position_embeddings.weight")
        self.norm = weights.norm(f"{embeddings}.LayerNorm")
        self.layers = [
            TransformerBlock(weights, f"{prefix}transformer.layer.{i}", config, i) for i in range(config.n_layers)
        ]

    def __call__(self, ids: Array, positions: Array, segments: Array, places: Array | None) -> Array:
        """Token ids (B, T) to vectors (D, N), or with `places` (B, M) to those of these tokens only: (D, B*M)."""
        mask = segment_mask(segments, self.dtype)  # (B, 1, T, T)
        words, placed = (
            jnp.take(table, x.ravel(), axis=0, mode="clip").astype(self.dtype)
            for table, x in ((self.words, ids), (self.positions, positions))
        )
        hidden = self.norm((words + placed).T)  # (D, N)
        *before, last = self.layers
        for layer in before:
            hidden = layer(hidden, len(ids), mask, None)  # (D, N)
        return last(hidden, len(ids), mask, places)  # (D, N or B*M)


class Head(Layer):
    """What follows the encoder for each task: from vectors (D, N) to the fields of the answer, vectors in rows."""

    static = ("task", "activation")

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

    def __call__(self, hidden: Array) -> tuple[Array, ...]:
        if self.task == "masked-lm":
            hidden = self.vocab_layer_norm(self.vocab_transform.activated(hidden, self.activation))
            return (self.vocab_projector(hidden).T,)  # (N, V)
        if self.task in ("sequence-classification", "multiple-choice"):
            return (self.classifier(self.pre_classifier.activated(hidden, "relu")).T,)  # (B*M, L)
        if self.task == "token-classification":
            return (self.classifier(hidden).T,)  # (N, L)
        if self.task == "question-answering":
            return tuple(self.qa_outputs(hidden))  # (N,), (N,)
        return (hidden.T,)  # (N, D)


class Network(Layer):
    """Encoder and head."""

    def __init__(self, encoder: Encoder, head: Head) -> None:
        self.encoder = encoder
        self.head = head


@functools.partial(jax.jit, static_argnums=0)
def compute(
    structure: Any, leaves: list[Array], ids: Array, positions: Array, segments: Array, places: Array | None
) -> tuple[Array, ...]:
    """The fields of the answer in float32: (B, T, ...) each, or (B, M, ...) with `places`.

    Args:
        structure: of a Network, flattened ahead of the call, in which it would take longer than the rest.
        leaves: its arrays.
        ids: (B, T).
        positions: (B, T).
        segments: (B, T) as for `segment_mask`.
        places: (B, M), tokens of the rows whose vectors alone are wanted.
    """
    network: Network = jax.tree_util.tree_unflatten(structure, leaves)
    with float32_precision(network.encoder.dtype):
        hidden = network.encoder(ids, positions, segments, places)  # (D, N or B*M)
        fields = network.head(hidden)
    return tuple(field.astype(jnp.float32).reshape(len(ids), -1, *field.shape[1:]) for field in fields)


class FastModel(fast_model.FastModel):
    """The fast path of one model in JAX.

    On a CPU bfloat16 and float16 are the factors of products whose sums, and all numbers between them, are float32; on
    a GPU all but norms and softmax is computed in them. Answers are float32 always. float16 is slower than float32 on a
    CPU; bfloat16 and int8 are faster where the CPU has instructions for them.

    Attributes:
        on_gpu: whether the model's arrays are on an NVIDIA GPU.
    """

    backend = "flax"
    tokens_per_pack = 512
    bounds = staticmethod(bounds)

    def __init__(self, model: Any, dtype: str) -> None:
        model.check_values()
        self.on_gpu = _platform(model) == "gpu"
        super().__init__(model, dtype, self.on_gpu)
        if self.on_gpu:  # whose caches hold nothing anyway, and which wants much to do at once
            self.tokens_per_pack = 16384
        use_compile_cache()
        weights = Weights(model.dump_tensors(), self.dtype, self.on_gpu)
        self.encoder = Encoder(weights, self.config, "" if self.task == "encoder" else "distilbert.")
        self.head = Head(weights, self.config, self.task)
        self.leaves, self.structure = jax.tree.flatten(Network(self.encoder, self.head))
        if not self.on_gpu:
            use_huge_pages((leaf.unsafe_buffer_pointer(), leaf.nbytes) for leaf in self.leaves)

    def tensor(self, value: Any) -> Numbers:
        if isinstance(value, jax.core.Tracer):
            raise InputError(
                "inputs: expected arrays, found a value that jax is tracing; the fast path compiles itself"
            )
        return np.asarray(as_array(value))

    def dense(
        self, input_ids: Numbers, attention_mask: Numbers | None, position_ids: Numbers | None
    ) -> tuple[Array, ...]:
        batch, length = input_ids.shape
        shape = batch, padded_length(length)
        ids, positions = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        segments = np.full(shape, -1, np.int32)
        ids[:, :length] = input_ids
        positions[:, :length] = np.arange(length) if position_ids is None else position_ids
        segments[:, :length] = True if attention_mask is None else attention_mask != 0
        parts = []
        start = 0
        for rows in powers_of_two(batch, max(self.tokens_per_pack // shape[1], 1)):
            part = slice(start, start + rows)
            places = np.zeros((rows, 1), np.int32) if self.first_only else None
            parts.append(self.compute(ids[part], positions[part], segments[part], places))
            start += rows
        return tuple(self._joined(field, length) for field in zip(*parts, strict=True))

    def packed(self, batch: Batch) -> tuple[Numbers, ...]:
        if batch.places is None:
            fields = self.compute(batch.input_ids, batch.position_ids, batch.segments, None)
            return tuple(np.asarray(field).reshape(-1, *field.shape[2:]) for field in fields)
        places, wanted = batch.places_in_rows()  # (B, M)
        most = max(next_power(places.shape[1]), self.usual_places(batch.input_ids.shape[1]))
        places = np.pad(places, ((0, 0), (0, most - places.shape[1])))
        fields = self.compute(batch.input_ids, batch.position_ids, batch.segments, places)
        return tuple(np.asarray(field)[wanted] for field in fields)

    def packs(self, lengths: Sequence[int]) -> Iterator[Pack]:
        return row_packs(lengths, self.tokens_per_pack)

    def warm_up(self, lengths: Sequence[int] | None = None, places: int | None = None) -> None:
        """Compile ahead, some seconds for each program at base size; those kept on disk are only read.

        The model is not compiled again for calls with texts of these lengths, in batches of any size, nor for runs over
        any number of texts none of which is shorter than the shortest or longer than the longest of these lengths. Not
        covered are the small steps that cut and join a batch's answers on a GPU, or group those of multiple choice.

        Args:
            lengths: the number of tokens of texts to come; default all that the model takes, which are some 45 programs
                on a CPU, or 110 where each text has one answer, and far more on a GPU: name those that you need.
            places: for runs with `places` alone: how many of them a text will have at most.
        """
        longest = self.config.max_position_embeddings
        chosen = {min(max(length, 1), longest) for length in lengths or range(1, longest + 1)}
        for rows, length, most in sorted(set(self.shapes(chosen, places))):
            tokens = np.zeros((rows, length), np.int32)
            at = np.zeros((rows, most), np.int32) if most else None
            jax.block_until_ready(self.compute(tokens, tokens, tokens, at))

    def shapes(self, lengths: Collection[int], places: int | None = None) -> Iterator[tuple[int, int, int]]:
        """Rows B, tokens T and places M (0 for all tokens) of what `warm_up` has to compile."""
        for length in set(map(padded_length, lengths)) if places is None else ():
            for rows in powers_between(1, max(self.tokens_per_pack // length, 1)):
                yield rows, length, int(self.first_only)
        each = 1 if self.first_only else places
        shortest, longest = min(lengths), max(max(lengths), USUAL_ROW)
        tokens = range(shortest, longest + 1)
        for length in {*map(row_length, tokens), *map(shortened_row, tokens)}:
            # A last row holds all the tokens that are left, so there is one of its length at most.
            is_last = length < USUAL_ROW or length != row_length(length)
            most_rows = 1 if is_last else max(self.tokens_per_pack // length, 1)
            usual_places = self.usual_places(length)
            most_places = max(usual_places, next_power(max(length // shortest * (each or 0), 1)))
            for rows in powers_between(1, most_rows):
                if each is None:
                    yield rows, length, 0
                else:
                    yield from ((rows, length, count) for count in powers_between(usual_places, most_places))

    def usual_places(self, length: int) -> int:
        """Places M of a row of tokens at least."""
        # XLA multiplies a single column in half precision by a loop that takes several times as long as for two.
        fewest = 2 if self.dtype in ("bfloat16", "float16") and not self.on_gpu else 1
        return max(fewest, next_power(max(length // SHORTEST_ROW, 1)))

    def compute(self, ids: Numbers, positions: Numbers, segments: Numbers, places: Numbers | None) -> tuple[Array, ...]:
        """The fields of the answer for rows of tokens (B, T)."""
        return compute(self.structure, self.leaves, ids, positions, segments, places)

    def _joined(self, parts: Sequence[Array], length: int) -> Array:
        """Parts of a batch (B, T, ...) as one without padding, or (B, 1, ...) with `first_only` as (B, ...)."""
        if len(parts) == 1 and not self.first_only and parts[0].shape[1] == length:
            return parts[0]
        # On a CPU NumPy reads the parts where they are, and has nothing to compile for each length.
        library: Any = jnp if self.on_gpu else np
        cut = [library.asarray(part)[:, 0 if self.first_only else slice(length)] for part in parts]
        return jax.device_put(cut[0] if len(cut) == 1 else library.concatenate(cut))  # `jnp.asarray` would compile


def padded_length(length: int) -> int:
    """The smallest number of tokens that programs are compiled for and that holds so many: 8, 16, 24, 32, 48, ..."""
    return SHORTEST_BATCH if length <= SHORTEST_BATCH else shortened_row(length)


def powers_between(first: int, last: int) -> Iterator[int]:
    """`first`, a power of two, and those that follow up to `last`."""
    while first <= last:
        yield first
        first *= 2


def _at(x: Array, places: Array) -> Array:
    """The numbers at places (..., M) of the last axis."""
    places = jnp.expand_dims(places, range(x.ndim - places.ndim))
    return jnp.take_along_axis(x, places, -1, mode="clip")


def _platform(model: Any) -> str:
    (device, *_) = model.get_input_embeddings().embedding.get_value().devices()
    return str(device.platform)
