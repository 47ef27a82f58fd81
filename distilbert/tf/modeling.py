# SPDX-License-Identifier: Apache-2.0
"""DistilBERT's encoder in TensorFlow.

Read line by line beside `pt/modeling.py` and `flax/modeling.py`: same classes, methods, names and operations.
Loading, saving and surgery are in `io.py`, the attention kernels in `attention.py`, the heads in `heads.py`; layers
that have their variables from the start in `layers.py`, what `fit` and `export` need in `keras_model.py`.

Axes: B batch, T tokens, D dim, H heads, K head size, F hidden_dim. Where padding is removed (see `padding.py`), what is
computed for each token by itself has one axis N, the tokens that are left, in place of B and T.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops
from keras.layers import Dropout

from distilbert.config import DistilBertConfig
from distilbert.inputs import check_call
from distilbert.outputs import BaseModelOutput
from distilbert.tf.activations import ACTIVATIONS
from distilbert.tf.attention import IMPLEMENTATIONS, additive_mask, eager
from distilbert.tf.io import PreTrainedModel, bounds
from distilbert.tf.layers import Embedding, Layer, LayerNorm, Linear, checkpoint
from distilbert.tf.padding import Padding


class Embeddings(Layer):
    """Words plus positions, normalised."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.word_embeddings = Embedding(config.vocab_size, config.dim, padding_idx=config.pad_token_id)
        self.position_embeddings = Embedding(
            config.max_position_embeddings, config.dim, trained=not config.sinusoidal_pos_embds
        )
        self.LayerNorm = LayerNorm(config.dim)
        self.dropout = Dropout(config.dropout)

    def call(
        self,
        input_ids: tf.Tensor | None,
        inputs_embeds: tf.Tensor | None,
        position_ids: tf.Tensor,
        padding: Padding,
        training: bool | None,
    ) -> tf.Tensor:
        tokens = padding.removed(input_ids if inputs_embeds is None else inputs_embeds)  # (B, T) or (B, T, D)
        words = self.word_embeddings(tokens) if inputs_embeds is None else tokens  # (B, T, D)
        positions = self.position_embeddings(padding.removed(position_ids))  # (B or 1, T, D)
        hidden = self.LayerNorm(tf.cast(words, positions.dtype) + positions)  # (B, T, D)
        return self.dropout(hidden, training=training)  # (B, T, D)


class MultiHeadSelfAttention(Layer):
    """Tokens that ask look at every token, through several heads; `asking` are all, or the first of each text."""

    def __init__(self, config: DistilBertConfig, layer: int) -> None:
        super().__init__()
        self.n_heads = config.heads_in_layer(layer)
        self.head_dim = config.head_dim
        self.dropout = Dropout(config.attention_dropout)
        self.implementation = "eager"
        self.q_lin = Linear(config.dim, self.n_heads * self.head_dim)
        self.k_lin = Linear(config.dim, self.n_heads * self.head_dim)
        self.v_lin = Linear(config.dim, self.n_heads * self.head_dim)
        self.out_lin = Linear(self.n_heads * self.head_dim, config.dim)

    def call(
        self,
        hidden: tf.Tensor,
        asking: tf.Tensor,
        mask: tf.Tensor | None,
        head_mask: tf.Tensor | None,
        output_attentions: bool,
        padding: Padding,
        training: bool | None,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        attend = eager if output_attentions else IMPLEMENTATIONS[self.implementation]
        dropout = self.dropout if training else None
        q = self.split(padding.restored(self.q_lin(asking)))  # (B, H, 1 or T, K)
        k = self.split(padding.restored(self.k_lin(hidden)))  # (B, H, T, K)
        v = self.split(padding.restored(self.v_lin(hidden)))  # (B, H, T, K)
        context, attentions = attend(q, k, v, mask, head_mask, dropout)  # (B, H, 1 or T, K), (B, H, 1 or T, T)
        return self.out_lin(padding.removed(self.join(context))), attentions  # (B, 1 or T, D), (B, H, 1 or T, T)

    def split(self, x: tf.Tensor) -> tf.Tensor:
        x = tf.reshape(x, (*ops.shape(x)[:2], self.n_heads, self.head_dim))  # (B, T, H, K)
        return tf.transpose(x, (0, 2, 1, 3))  # (B, H, T, K)

    def join(self, x: tf.Tensor) -> tf.Tensor:
        x = tf.transpose(x, (0, 2, 1, 3))  # (B, T, H, K)
        return tf.reshape(x, (*ops.shape(x)[:2], self.n_heads * self.head_dim))  # (B, T, H*K)


class FFN(Layer):
    """The same small network for every token."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.lin1 = Linear(config.dim, config.hidden_dim)
        self.lin2 = Linear(config.hidden_dim, config.dim)
        self.activation = ACTIVATIONS[config.activation]
        self.dropout = Dropout(config.dropout)

    def call(self, hidden: tf.Tensor, training: bool | None) -> tf.Tensor:
        hidden = self.lin1(hidden)  # (B, T, F)
        hidden = self.activation(hidden)  # (B, T, F)
        hidden = self.lin2(hidden)  # (B, T, D)
        return self.dropout(hidden, training=training)  # (B, T, D)


class TransformerBlock(Layer):
    """Attention and feed-forward, each added to its input and normalised."""

    def __init__(self, config: DistilBertConfig, layer: int) -> None:
        super().__init__()
        self.attention = MultiHeadSelfAttention(config, layer)
        self.sa_layer_norm = LayerNorm(config.dim)
        self.ffn = FFN(config)
        self.output_layer_norm = LayerNorm(config.dim)

    def call(
        self,
        hidden: tf.Tensor,
        mask: tf.Tensor | None,
        head_mask: tf.Tensor | None,
        output_attentions: bool,
        padding: Padding,
        first_only: bool,
        training: bool | None,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        asking = hidden[:, :1] if first_only else hidden  # (B, 1 or T, D)
        attended, attentions = self.attention(
            hidden, asking, mask, head_mask, output_attentions, padding, training
        )  # (B, 1 or T, D), (B, H, 1 or T, T)
        # Not `+`: its gradient asks for shapes, so that TensorFlow would join it to the product before it in evaluation
        # alone, and bfloat16 would round a teacher otherwise than its student.
        hidden = self.sa_layer_norm(tf.add_n([attended, asking]))  # (B, 1 or T, D)
        hidden = self.output_layer_norm(tf.add_n([self.ffn(hidden, training), hidden]))  # (B, 1 or T, D)
        return hidden, attentions


class Transformer(Layer):
    """The stack of blocks."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.layer = [TransformerBlock(config, i) for i in range(config.n_layers)]
        self.gradient_checkpointing = False

    def call(
        self,
        hidden: tf.Tensor,
        mask: tf.Tensor | None,
        head_mask: tf.Tensor | None,
        output_attentions: bool,
        output_hidden_states: bool,
        padding: Padding,
        first_only: bool,
        training: bool | None,
    ) -> BaseModelOutput:
        hidden_states = [hidden]
        attentions = []
        for i, block in enumerate(self.layer):
            layer_mask = layer_head_mask(head_mask, i, hidden.dtype)  # (H, 1, 1) or (B, H, 1, 1)
            run = self.checkpointed(block) if self.gradient_checkpointing and training else block
            first = first_only and i == len(self.layer) - 1
            if first:
                hidden = padding.restored(hidden)  # (B, T, D)
                padding = Padding(None, padding.shape)
                mask = first_row(mask)  # (B, 1, 1, T) or (B, H, 1, T)
            hidden, attention = run(
                hidden, mask, layer_mask, output_attentions, padding, first, training
            )  # (B, 1 or T, D), (B, H, 1 or T, T)
            hidden_states.append(hidden)
            attentions.append(attention)
        return BaseModelOutput(
            last_hidden_state=padding.restored(hidden),
            hidden_states=tuple(map(padding.restored, hidden_states)) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )

    def checkpointed(self, block: keras.Layer) -> Any:
        return lambda *arguments: checkpoint(block, *arguments, dropouts=(block.attention.dropout, block.ffn.dropout))


def layer_head_mask(head_mask: tf.Tensor | None, layer: int, dtype: tf.DType) -> tf.Tensor | None:
    """The factor (H, 1, 1) or (B, H, 1, 1) on a layer's attentions, from (H,), (n_layers, H) or (n_layers, B, H)."""
    if head_mask is None:
        return None
    factors = head_mask if head_mask.ndim == 1 else head_mask[layer]  # (H,) or (B, H)
    return tf.cast(factors, dtype)[..., None, None]  # (H, 1, 1) or (B, H, 1, 1)


def first_row(mask: tf.Tensor | None) -> tf.Tensor | None:
    """What the first token may look at: (B, H, T, T) -> (B, H, 1, T); None and (B, 1, 1, T) as they are."""
    return None if mask is None else mask[:, :, :1]


@keras.saving.register_keras_serializable("distilbert")
class DistilBertModel(PreTrainedModel):
    """The bare encoder: token ids in, one vector per token out."""

    task = "encoder"

    def __init__(self, config: DistilBertConfig, *, seed: int | None = None) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.transformer = Transformer(config)
        self.initialize(seed)

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        position_ids: tf.Tensor | None = None,
        token_type_ids: tf.Tensor | None = None,
        token_places: tf.Tensor | None = None,
        first_only: bool = False,
        training: bool | None = None,
    ) -> BaseModelOutput | tuple[Any, ...]:
        """Encode a batch.

        Args:
            input_ids: token ids (B, T); give either these or `inputs_embeds`.
            attention_mask: (B, T), 1 to attend and 0 for padding, or (B or 1, H or 1, T, T): bool and whole numbers
                attend where not zero, real numbers are added to the scores.
            head_mask: (H,), (n_layers, H) or (n_layers, B, H), a factor on the attention of each head.
            inputs_embeds: word vectors (B, T, D) in place of ids.
            output_attentions: return the attention probabilities; default `config.output_attentions`.
            output_hidden_states: return all hidden states; default `config.output_hidden_states`.
            return_dict: False for a tuple; default `config.return_dict`.
            position_ids: (B, T), (1, T) or (T,); default 0, 1, 2, ...
            token_type_ids: accepted for callers that pass them, and ignored: DistilBERT has none.
            token_places: (N,), the places among the B*T of the batch that are computed, each once, in any order: at
                least all that `attention_mask` (B, T) attends to, and first tokens where a class is read from them. The
                place B*T is none. Vectors elsewhere are 0.
            first_only: the vector of each first token is all that is wanted, which saves most of the last layer; not
                where attentions or hidden states are returned.
            training: True for dropout; default as in the call around this one, if any, else False.

        Returns:
            BaseModelOutput with last_hidden_state (B, T, D), or (B, 1, D) of first tokens.

        Raises:
            InputError: lists everything in the call that does not fit.
        """
        check_call(
            self.config,
            {
                "input_ids": input_ids,
                "attention_mask": attention_mask,
                "head_mask": head_mask,
                "inputs_embeds": inputs_embeds,
                "position_ids": position_ids,
                "token_places": token_places,
            },
            bounds,
        )
        settings = self.output_settings(output_attentions, output_hidden_states, return_dict)
        if position_ids is None:
            position_ids = self.default_positions(input_ids, inputs_embeds)  # (1, T)
        mask = additive_mask(attention_mask, self.dtype)  # (B, 1, 1, T) or (B, H, T, T)
        padding = Padding(token_places, ops.shape(input_ids if inputs_embeds is None else inputs_embeds)[:2])
        hidden = self.embeddings(input_ids, inputs_embeds, position_ids, padding, training)  # (B, T, D)
        first_only = first_only and not (settings.attentions or settings.hidden_states)
        output = self.transformer(
            hidden, mask, head_mask, settings.attentions, settings.hidden_states, padding, first_only, training
        )
        return output if settings.return_dict else output.to_tuple()

    def default_positions(self, input_ids: tf.Tensor | None, inputs_embeds: tf.Tensor | None) -> tf.Tensor:
        tokens = input_ids if inputs_embeds is None else inputs_embeds
        return tf.expand_dims(tf.range(ops.shape(tokens)[1]), 0)  # (1, T)
