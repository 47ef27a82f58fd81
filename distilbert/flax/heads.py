# SPDX-License-Identifier: Apache-2.0
"""The five task heads on DistilBERT's encoder in JAX with Flax NNX.

Read line by line beside `pt/heads.py` and `tf/heads.py`. Arguments that all models share are explained once, at
`DistilBertModel.__call__`; the losses are in `losses.py`.

Axes: B batch, T tokens, D dim, V vocabulary, C choices, L labels.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from distilbert.config import DistilBertConfig
from distilbert.flax.activations import ACTIVATIONS
from distilbert.flax.calls import bounds, model_call
from distilbert.flax.io import PreTrainedModel
from distilbert.flax.layers import Dropout, Embedding, LayerNorm, Linear, add_bias, empty_parameter, subkey
from distilbert.flax.losses import classification_loss, span_loss, token_loss
from distilbert.flax.modeling import DistilBertModel
from distilbert.flax.params import Params
from distilbert.inputs import check_choices, check_places
from distilbert.outputs import (
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)


class VocabProjector(nnx.Module):
    """From a vector to one score per word; tied, its matrix is the word embeddings, and only the bias is its own.

    A pytree holds each parameter once, so the word embeddings come with the call.
    """

    def __init__(self, config: DistilBertConfig) -> None:
        self.tied = config.tie_word_embeddings
        self.kernel = None if self.tied else empty_parameter(config.dim, config.vocab_size)
        self.bias = empty_parameter(config.vocab_size)

    def __call__(self, hidden: Array, word_embeddings: Embedding) -> Array:
        return add_bias(
            word_embeddings.attend(hidden) if self.tied else hidden @ self.kernel[...], self.bias[...]
        )  # (B, T, V)


class DistilBertForMaskedLM(PreTrainedModel):
    """Which word stands at a masked place?"""

    task = "masked-lm"

    def __init__(self, config: DistilBertConfig, *, seed: int | None = None, **options: Any) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config, seed=seed, **options)
        self.activation = ACTIVATIONS[config.activation]
        self.vocab_transform = Linear(config.dim, config.dim)
        self.vocab_layer_norm = LayerNorm(config.dim)
        self.vocab_projector = VocabProjector(config)
        self.initialize(seed, **options)

    @model_call
    def __call__(
        self,
        input_ids: Array | None = None,
        attention_mask: Array | None = None,
        head_mask: Array | None = None,
        inputs_embeds: Array | None = None,
        labels: Array | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        position_ids: Array | None = None,
        token_type_ids: Array | None = None,
        token_places: Array | None = None,
        places: Array | None = None,
        params: Params | None = None,
        dropout_rng: Array | None = None,
        train: bool | None = None,
    ) -> MaskedLMOutput | tuple[Any, ...]:
        """Score every word at every place; labels (B, T) are word ids, -100 where there is nothing to learn.

        With `places` (B, P), whole numbers from 0 to T - 1, only these are scored: logits (B, P, V), labels (B, P).
        """
        encoded = self.distilbert(
            input_ids,
            attention_mask,
            head_mask,
            inputs_embeds,
            output_attentions,
            output_hidden_states,
            return_dict=True,
            position_ids=position_ids,
            token_places=token_places,
            dropout_rng=subkey(dropout_rng, 0),
            train=train,
        )
        hidden = at_places(encoded.last_hidden_state, places)  # (B, T or P, D)
        hidden = self.vocab_transform(hidden)  # (B, T or P, D)
        hidden = self.activation(hidden)  # (B, T or P, D)
        hidden = self.vocab_layer_norm(hidden)  # (B, T or P, D)
        logits = self.vocab_projector(hidden, self.distilbert.embeddings.word_embeddings)  # (B, T or P, V)
        loss = None if labels is None else token_loss(logits, labels)  # ()
        output = MaskedLMOutput(
            loss=loss,
            logits=logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return self.finish(output, return_dict)


def at_places(hidden: Array, places: Array | None) -> Array:
    """The vectors at some places of each row: hidden (B, T, D), places (B, P) -> (B, P, D); all of them without."""
    if places is None:
        return hidden
    check_places(places, tuple(hidden.shape), bounds(places))
    return jnp.take_along_axis(hidden, places[..., None], 1, mode="clip")  # (B, P, D)


class DistilBertForSequenceClassification(PreTrainedModel):
    """Which class, or which value, has the whole text?"""

    task = "sequence-classification"

    def __init__(self, config: DistilBertConfig, *, seed: int | None = None, **options: Any) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config, seed=seed, **options)
        self.pre_classifier = Linear(config.dim, config.dim)
        self.classifier = Linear(config.dim, config.num_labels)
        self.dropout = Dropout(config.seq_classif_dropout)
        self.initialize(seed, **options)

    @model_call
    def __call__(
        self,
        input_ids: Array | None = None,
        attention_mask: Array | None = None,
        head_mask: Array | None = None,
        inputs_embeds: Array | None = None,
        labels: Array | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        position_ids: Array | None = None,
        token_type_ids: Array | None = None,
        token_places: Array | None = None,
        params: Params | None = None,
        dropout_rng: Array | None = None,
        train: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """Score every label; labels are classes (B,), or values (B, L) or (B,), by `config.problem_type`.

        Without a problem_type it is inferred: one label is regression, whole numbers (B,) are classes, anything else is
        one yes or no per label.
        """
        encoded = self.distilbert(
            input_ids,
            attention_mask,
            head_mask,
            inputs_embeds,
            output_attentions,
            output_hidden_states,
            return_dict=True,
            position_ids=position_ids,
            token_places=token_places,
            first_only=True,
            dropout_rng=subkey(dropout_rng, 0),
            train=train,
        )
        hidden = encoded.last_hidden_state  # (B, 1 or T, D)
        hidden = self.pre_classifier(hidden[:, 0])  # (B, D)
        hidden = jax.nn.relu(hidden)  # (B, D)
        hidden = self.dropout(hidden, subkey(dropout_rng, 1))  # (B, D)
        logits = self.classifier(hidden)  # (B, L)
        loss = None if labels is None else classification_loss(self.config, logits, labels)  # ()
        output = SequenceClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return self.finish(output, return_dict)


class DistilBertForMultipleChoice(PreTrainedModel):
    """Which of several texts fits best?"""

    task = "multiple-choice"

    def __init__(self, config: DistilBertConfig, *, seed: int | None = None, **options: Any) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config, seed=seed, **options)
        self.pre_classifier = Linear(config.dim, config.dim)
        self.classifier = Linear(config.dim, 1)
        self.dropout = Dropout(config.seq_classif_dropout)
        self.initialize(seed, **options)

    @model_call
    def __call__(
        self,
        input_ids: Array | None = None,
        attention_mask: Array | None = None,
        head_mask: Array | None = None,
        inputs_embeds: Array | None = None,
        labels: Array | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        position_ids: Array | None = None,
        token_type_ids: Array | None = None,
        token_places: Array | None = None,
        params: Params | None = None,
        dropout_rng: Array | None = None,
        train: bool | None = None,
    ) -> MultipleChoiceModelOutput | tuple[Any, ...]:
        """Score every choice; inputs have an axis of choices after the batch, labels (B,) say which is right.

        `token_places` are among the B*C*T places of all choices.
        """
        check_choices(input_ids, inputs_embeds)
        choices = input_ids.shape[1] if inputs_embeds is None else inputs_embeds.shape[1]
        encoded = self.distilbert(
            flatten_choices(input_ids, 3),
            flatten_choices(attention_mask, 3),
            head_mask,
            flatten_choices(inputs_embeds, 4),
            output_attentions,
            output_hidden_states,
            return_dict=True,
            position_ids=flatten_choices(position_ids, 3),
            token_places=token_places,
            first_only=True,
            dropout_rng=subkey(dropout_rng, 0),
            train=train,
        )
        hidden = encoded.last_hidden_state  # (B*C, 1 or T, D)
        hidden = self.pre_classifier(hidden[:, 0])  # (B*C, D)
        hidden = jax.nn.relu(hidden)  # (B*C, D)
        hidden = self.dropout(hidden, subkey(dropout_rng, 1))  # (B*C, D)
        logits = self.classifier(hidden).reshape(-1, choices)  # (B, C)
        loss = None if labels is None else token_loss(logits, labels)  # ()
        output = MultipleChoiceModelOutput(
            loss=loss,
            logits=logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return self.finish(output, return_dict)


def flatten_choices(x: Array | None, rank: int) -> Array | None:
    """(B, C, ...) of at least `rank` axes -> (B*C, ...); what has fewer axes is shared by all choices."""
    if x is None or x.ndim < rank:
        return x
    return x.reshape(-1, *x.shape[2:])


class DistilBertForTokenClassification(PreTrainedModel):
    """Which class has each token?"""

    task = "token-classification"

    def __init__(self, config: DistilBertConfig, *, seed: int | None = None, **options: Any) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config, seed=seed, **options)
        self.dropout = Dropout(config.dropout)
        self.classifier = Linear(config.dim, config.num_labels)
        self.initialize(seed, **options)

    @model_call
    def __call__(
        self,
        input_ids: Array | None = None,
        attention_mask: Array | None = None,
        head_mask: Array | None = None,
        inputs_embeds: Array | None = None,
        labels: Array | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        position_ids: Array | None = None,
        token_type_ids: Array | None = None,
        token_places: Array | None = None,
        params: Params | None = None,
        dropout_rng: Array | None = None,
        train: bool | None = None,
    ) -> TokenClassifierOutput | tuple[Any, ...]:
        """Score every label at every token; labels (B, T) are classes, -100 where there is nothing to learn."""
        encoded = self.distilbert(
            input_ids,
            attention_mask,
            head_mask,
            inputs_embeds,
            output_attentions,
            output_hidden_states,
            return_dict=True,
            position_ids=position_ids,
            token_places=token_places,
            dropout_rng=subkey(dropout_rng, 0),
            train=train,
        )
        hidden = encoded.last_hidden_state  # (B, T, D)
        hidden = self.dropout(hidden, subkey(dropout_rng, 1))  # (B, T, D)
        logits = self.classifier(hidden)  # (B, T, L)
        loss = None if labels is None else token_loss(logits, labels)  # ()
        output = TokenClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return self.finish(output, return_dict)


class DistilBertForQuestionAnswering(PreTrainedModel):
    """Where in the text does the answer start and end?"""

    task = "question-answering"

    def __init__(self, config: DistilBertConfig, *, seed: int | None = None, **options: Any) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config, seed=seed, **options)
        self.dropout = Dropout(config.qa_dropout)
        self.qa_outputs = Linear(config.dim, config.num_labels)
        self.initialize(seed, **options)

    @model_call
    def __call__(
        self,
        input_ids: Array | None = None,
        attention_mask: Array | None = None,
        head_mask: Array | None = None,
        inputs_embeds: Array | None = None,
        start_positions: Array | None = None,
        end_positions: Array | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        position_ids: Array | None = None,
        token_type_ids: Array | None = None,
        token_places: Array | None = None,
        params: Params | None = None,
        dropout_rng: Array | None = None,
        train: bool | None = None,
    ) -> QuestionAnsweringModelOutput | tuple[Any, ...]:
        """Score every token as start and as end; both positions (B,) or (B, 1), one beyond the text does not count.

        The loss compares all T places, padding too, as transformers does, so `token_places` change it: for a loss
        without padding leave the scores out where `attention_mask` is 0, as `distilbert finetune` does.
        """
        encoded = self.distilbert(
            input_ids,
            attention_mask,
            head_mask,
            inputs_embeds,
            output_attentions,
            output_hidden_states,
            return_dict=True,
            position_ids=position_ids,
            token_places=token_places,
            dropout_rng=subkey(dropout_rng, 0),
            train=train,
        )
        hidden = encoded.last_hidden_state  # (B, T, D)
        hidden = self.dropout(hidden, subkey(dropout_rng, 1))  # (B, T, D)
        logits = self.qa_outputs(hidden)  # (B, T, 2)
        start_logits = logits[..., 0]  # (B, T)
        end_logits = logits[..., 1]  # (B, T)
        loss = span_loss(start_logits, end_logits, start_positions, end_positions)  # ()
        output = QuestionAnsweringModelOutput(
            loss=loss,
            start_logits=start_logits,
            end_logits=end_logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return self.finish(output, return_dict)
