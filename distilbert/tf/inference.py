# SPDX-License-Identifier: Apache-2.0
"""The fast path in TensorFlow: `modeling.py` and `heads.py` over packed tokens, in fewer, larger steps.

Read beside `pt/inference.py` and `flax/inference.py`. The whole model is compiled as a graph for any number of rows and
tokens; there are two of them, because oneDNN orders the weights differently for few and for many tokens.

Axes: R rows of L tokens, N all R*L tokens, D dim, H heads, K head size, S tokens of a row whose vectors are wanted.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from distilbert.config import DistilBertConfig
from distilbert.errors import InputError
from distilbert.inference import fast_model
from distilbert.inference.packing import Batch, Pack, row_packs
from distilbert.tf.io import bounds
from distilbert.tf.keras_model import as_tensor
from distilbert.tf.kernels import Int8Linear, LayerNorm, Linear, PlainLinear

Array = np.ndarray[Any, Any]

FEW_TOKENS = 64  # up to which oneDNN orders weights in one way
MAX_EMBEDDED_BYTES = 2**30  # a graph cannot have 2 GiB
MASKED = np.finfo(np.float32).min

_SIGNATURE = (
    tf.TensorSpec((None, None), tf.int32, "ids"),  # (R, L)
    tf.TensorSpec((None, None), tf.int32, "positions"),  # (R, L)
    tf.TensorSpec((None, 1, None, None), tf.float32, "mask"),  # (R, 1, 1 or L, L)
    tf.TensorSpec((None, None), tf.int32, "places"),  # (R, S)
)


class Weights:
    """A model's tensors by canonical name, ready to become layers in a number format."""

    def __init__(self, tensors: Mapping[str, Any], dtype: str, on_gpu: bool) -> None:
        self.tensors = tensors
        self.dtype = dtype
        self.float_dtype = tf.as_dtype("float32" if dtype == "int8" else dtype)
        self.on_gpu = on_gpu
        self.embedded = not on_gpu and sum(array.nbytes for array in tensors.values()) < MAX_EMBEDDED_BYTES

    def linear(self, *names: str) -> Linear:
        """The layers of these names as one, their outputs side by side."""
        weight, bias = (np.concatenate([self.value(f"{name}.{leaf}") for name in names]) for leaf in ("weight", "bias"))
        return self.layer(weight, bias)

    def projector(self, config: DistilBertConfig) -> Linear:
        """From a vector to one score per word."""
        tied = "distilbert.embeddings.word_embeddings" if config.tie_word_embeddings else "vocab_projector"
        return self.layer(self.value(f"{tied}.weight"), self.value("vocab_projector.bias"))

    def layer(self, weight: Array, bias: Array) -> Linear:
        """A layer of weight (out, in) and bias (out,)."""
        kernel = np.ascontiguousarray(weight.T)  # (in, out)
        if self.dtype == "int8":
            return Int8Linear(kernel, bias, self.on_gpu)
        return PlainLinear(self.constant(kernel, self.float_dtype), self.constant(bias, self.float_dtype))

    def norm(self, name: str) -> LayerNorm:
        weight, bias = (self.constant(self.value(f"{name}.{leaf}"), tf.float32) for leaf in ("weight", "bias"))
        return LayerNorm(weight, bias, self.on_gpu)

    def table(self, name: str) -> tf.Tensor:
        return tf.cast(self.value(name), self.float_dtype)

    def constant(self, values: Array, dtype: tf.DType) -> Any:
        """What a graph takes in as its own constant, or a tensor where that brings nothing."""
        return values.astype(dtype.as_numpy_dtype) if self.embedded else tf.cast(values, dtype)

    def value(self, name: str) -> Array:
        return np.asarray(self.tensors[name], np.float32)


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

    def __call__(
        self, hidden: tf.Tensor, shape: tf.Tensor, mask: tf.Tensor, places: tf.Tensor | None, large: bool
    ) -> tf.Tensor:
        """From (N, D) to (N, D), or with `places` (R, S) to the vectors of these tokens only: (R*S, D)."""
        qkv = self.qkv_lin(hidden)  # (N, 3*H*K)
        context = self.attend(qkv, shape, mask, places)  # (N or R*S, H*K)
        hidden = hidden if places is None else rows_of(hidden, shape, places)  # (N or R*S, D)
        hidden = self.sa_layer_norm(self.out_lin.added(context, hidden), large)  # (N or R*S, D)
        expanded = self.lin1.activated(hidden, self.activation)  # (N or R*S, F)
        return self.output_layer_norm(self.lin2.added(expanded, hidden), large)  # (N or R*S, D)

    def attend(self, qkv: tf.Tensor, shape: tf.Tensor, mask: tf.Tensor, places: tf.Tensor | None) -> tf.Tensor:
        """Each token looks at those of its row that the mask leaves: (N, 3*H*K) -> (N or R*S, H*K)."""
        split = tf.reshape(qkv, (shape[0], shape[1], 3, self.heads, self.head_dim))  # (R, L, 3, H, K)
        q, k, v = tf.unstack(tf.transpose(split, (2, 0, 3, 1, 4)))  # (R, H, L, K)
        if places is not None:
            q = tf.gather(q, places, axis=2, batch_dims=1)  # (R, H, S, K)
            seen = tf.minimum(places, tf.shape(mask)[2] - 1)  # the mask of a batch is one for all tokens of a row
            mask = tf.gather(mask, seen, axis=2, batch_dims=1)  # (R, 1, S, L)
        # In this order the compiler makes one kernel of the three steps.
        scores = tf.cast(tf.matmul(q, k, transpose_b=True), mask.dtype)  # (R, H, L or S, L)
        scores = scores * tf.constant(1 / math.sqrt(self.head_dim), mask.dtype) + mask  # (R, H, L or S, L)
        attentions = tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32)), qkv.dtype)  # (R, H, L or S, L)
        context = tf.transpose(tf.matmul(attentions, v), (0, 2, 1, 3))  # (R, L or S, H, K)
        return tf.reshape(context, (-1, self.heads * self.head_dim))


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
        self, ids: tf.Tensor, positions: tf.Tensor, mask: tf.Tensor, places: tf.Tensor | None, large: bool
    ) -> tf.Tensor:
        """Token ids (R, L) to vectors (N, D), or with `places` (R, S) to those of these tokens only: (R*S, D)."""
        hidden = tf.gather(self.words, ids) + tf.gather(self.positions, positions)  # (R, L, D)
        hidden = self.norm(tf.reshape(hidden, (-1, hidden.shape[-1])), large)  # (N, D)
        # Half precision holds the smallest float32 only as minus infinity; float16 cannot even be added to it.
        dtype = hidden.dtype if hidden.dtype == tf.bfloat16 else tf.float32
        mask = tf.cast(tf.maximum(mask, float(dtype.min)), dtype)  # (R, 1, 1 or L, L)
        *before, last = self.layers
        for layer in before:
            hidden = layer(hidden, tf.shape(ids), mask, None, large)  # (N, D)
        return last(hidden, tf.shape(ids), mask, places, large)  # (N or R*S, D)


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

    def __call__(self, hidden: tf.Tensor, large: bool) -> tuple[tf.Tensor, ...]:
        if self.task == "masked-lm":
            hidden = self.vocab_layer_norm(self.vocab_transform.activated(hidden, self.activation), large)
            return (self.vocab_projector(hidden),)  # (R*S, V)
        if self.task in ("sequence-classification", "multiple-choice"):
            return (self.classifier(self.pre_classifier.activated(hidden, "relu")),)  # (R*S, labels)
        if self.task == "token-classification":
            return (self.classifier(hidden),)  # (N, labels)
        if self.task == "question-answering":
            return tuple(tf.unstack(self.qa_outputs(hidden), 2, -1))  # (N,), (N,)
        return (hidden,)  # (N, D)


class FastModel(fast_model.FastModel):
    """The fast path of one model in TensorFlow."""

    backend = "tf"
    tokens_per_pack = 1024
    bounds = staticmethod(bounds)

    def __init__(self, model: Any, dtype: str) -> None:
        on_gpu = bool(tf.config.list_logical_devices("GPU"))
        super().__init__(model, dtype, on_gpu)
        weights = Weights(model.dump_tensors(), self.dtype, on_gpu)
        self.encoder = Encoder(weights, self.config, "" if self.task == "encoder" else "distilbert.")
        self.head = Head(weights, self.config, self.task)

    def tensor(self, value: Any) -> tf.Tensor:
        tensor = as_tensor("inputs", value)
        if not hasattr(tensor, "numpy"):
            raise InputError("inputs: the fast path is a compiled function; inside another one call the model itself")
        return tensor

    def reshape(self, value: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
        return tf.reshape(value, shape)

    def dense(
        self, input_ids: tf.Tensor, attention_mask: tf.Tensor | None, position_ids: tf.Tensor | None
    ) -> tuple[tf.Tensor, ...]:
        batch, length = input_ids.shape
        ids = input_ids.numpy().astype(np.int32)  # (B, T)
        positions = np.arange(length) if position_ids is None else position_ids.numpy()
        positions = np.broadcast_to(positions, ids.shape).astype(np.int32)  # (B, T)
        attended = np.ones(ids.shape) if attention_mask is None else attention_mask.numpy()  # (B, T)
        mask = np.where(attended == 0, MASKED, np.float32(0))[:, None, None]  # (B, 1, 1, T)
        places = np.zeros((batch, 1), np.int32) if self.first_only else everywhere(ids)  # (B, 1 or T)
        rows = max(self.tokens_per_pack // length, 1)
        pieces = (slice(start, start + rows) for start in range(0, batch, rows))
        parts = [self.compute(*(array[piece] for array in (ids, positions, mask, places))) for piece in pieces]
        fields = (field[0] if len(field) == 1 else tf.concat(field, 0) for field in zip(*parts, strict=True))
        return tuple(tf.squeeze(field, 1) if self.first_only else field for field in fields)

    def packed(self, batch: Batch) -> tuple[Array, ...]:
        segments = batch.segments
        apart = segments[:, :, None] != segments[:, None]  # (R, L, L)
        mask = np.where(apart, MASKED, np.float32(0))[:, None]  # (R, 1, L, L)
        if batch.places is None:
            fields = self.compute(batch.input_ids, batch.position_ids, mask, everywhere(segments))
            return tuple(tf.reshape(field, (-1, *field.shape[2:])).numpy() for field in fields)
        places, wanted = batch.places_in_rows()  # (R, S)
        fields = self.compute(batch.input_ids, batch.position_ids, mask, places)
        return tuple(field.numpy()[wanted] for field in fields)

    def packs(self, lengths: Sequence[int]) -> Iterator[Pack]:
        return row_packs(lengths, self.tokens_per_pack)

    def compute(self, ids: Array, positions: Array, mask: Array, places: Array) -> tuple[tf.Tensor, ...]:
        """The answer in float32 for ids (R, L), positions (R, L), mask (R, 1, 1 or L, L) and places (R, S)."""
        graph = self.few if ids.size <= FEW_TOKENS else self.many
        return graph(*map(tf.constant, (ids, positions, mask, places)))

    @functools.cached_property
    def few(self) -> Any:
        """The graph for few tokens."""
        return self.compiled(large=False)

    @functools.cached_property
    def many(self) -> Any:
        """The graph for many tokens."""
        return self.compiled(large=True)

    def compiled(self, large: bool) -> Any:
        """A graph that computes the fields of the answer, for many tokens or for few."""

        # One graph for all tokens and for some: beside the product with all words, to gather all costs nothing.
        gathers = self.first_only or self.task == "masked-lm"

        def compute(ids: tf.Tensor, positions: tf.Tensor, mask: tf.Tensor, places: tf.Tensor) -> tuple[tf.Tensor, ...]:
            fields = self.head(self.encoder(ids, positions, mask, places if gathers else None, large), large)
            shape = tf.unstack(tf.shape(places if gathers else ids))  # R, S or L
            return tuple(tf.reshape(tf.cast(field, tf.float32), (*shape, *field.shape[1:])) for field in fields)

        return tf.function(compute, input_signature=_SIGNATURE, autograph=False).get_concrete_function()


def everywhere(ids: Array) -> Array:
    """Every token of each row as its place (R, L)."""
    return np.broadcast_to(np.arange(ids.shape[1], dtype=np.int32), ids.shape)


def rows_of(hidden: tf.Tensor, shape: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """The vectors of the tokens at `places` (R, S) of their rows: (N, D) -> (R*S, D)."""
    numbers = places + tf.expand_dims(tf.range(shape[0]) * shape[1], 1)  # (R, S)
    return tf.gather(hidden, tf.reshape(numbers, (-1,)))
