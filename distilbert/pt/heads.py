# SPDX-License-Identifier: Apache-2.0
"""The five task heads on DistilBERT's encoder in PyTorch.

Read line by line beside `tf/heads.py` and `flax/heads.py`. Arguments that all models share are explained once, at
`DistilBertModel.forward`; the losses are in `losses.py`.

Axes: B batch, T tokens, D dim, V vocabulary, C choices, L labels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distilbert.config import DistilBertConfig
from distilbert.inputs import check_choices, check_places
from distilbert.outputs import (
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from distilbert.pt.activations import ACTIVATIONS
from distilbert.pt.io import PreTrainedModel, bounds
from distilbert.pt.layers import Dropout, Embedding, LayerNorm, Linear, empty_parameter, linear
from distilbert.pt.losses import classification_loss, span_loss, token_loss
from distilbert.pt.modeling import DistilBertModel


class VocabProjector(nn.Module):
    """From a vector to one score per word; tied, its matrix is the word embeddings, and only the bias is its own."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.tied = config.tie_word_embeddings
        self.weight = None if self.tied else empty_parameter(config.vocab_size, config.dim)
        self.bias = empty_parameter(config.vocab_size)

    def forward(self, hidden: Tensor, word_embeddings: Embedding) -> Tensor:
        return linear(hidden, word_embeddings.weight if self.tied else self.weight, self.bias)  # (B, T, V)


class DistilBertForMaskedLM(PreTrainedModel):
    """Which word stands at a masked place?"""

    task = "masked-lm"

    def __init__(self, config: DistilBertConfig, *, seed: int | None = None) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config, seed=seed)
        self.activation = ACTIVATIONS[config.activation]
        self.vocab_transform = Linear(config.dim, config.dim)
        self.vocab_layer_norm = LayerNorm(config.dim)
        self.vocab_projector = VocabProjector(config)
        self.initialize(seed)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        position_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        token_places: Tensor | None = None,
        places: Tensor | None = None,
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


def at_places(hidden: Tensor, places: Tensor | None) -> Tensor:
    """The vectors at some places of each row: hidden (B, T, D), places (B, P) -> (B, P, D); all of them without."""
    if places is None:
        return hidden
    check_places(places, tuple(hidden.shape), bounds(places))
    return hidden[torch.arange(len(hidden), device=hidden.device)[:, None], places.long()]  # (B, P, D)


class DistilBertForSequenceClassification(PreTrainedModel):
    """Which class, or which value, has the whole text?"""

    task = "sequence-classification"

    def __init__(self, config: DistilBertConfig, *, seed: int | None = None) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config, seed=seed)
        self.pre_classifier = Linear(config.dim, config.dim)
        self.classifier = Linear(config.dim, config.num_labels)
        self.dropout = Dropout(config.seq_classif_dropout)
        self.initialize(seed)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        position_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        token_places: Tensor | None = None,
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
        )
        hidden = encoded.last_hidden_state  # (B, 1 or T, D)
        hidden = self.pre_classifier(hidden[:, 0])  # (B, D)
        hidden = F.relu(hidden)  # (B, D)
        hidden = self.dropout(hidden)  # (B, D)
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

    def __init__(self, config: DistilBertConfig, *, seed: int | None = None) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config, seed=seed)
        self.pre_classifier = Linear(config.dim, config.dim)
        self.classifier = Linear(config.dim, 1)
        self.dropout = Dropout(config.seq_classif_dropout)
        self.initialize(seed)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        position_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        token_places: Tensor | None = None,
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
        )
        hidden = encoded.last_hidden_state  # (B*C, 1 or T, D)
        hidden = self.pre_classifier(hidden[:, 0])  # (B*C, D)
        hidden = F.relu(hidden)  # (B*C, D)
        hidden = self.dropout(hidden)  # (B*C, D)
        logits = self.classifier(hidden).reshape(-1, choices)  # (B, C)
        loss = None if labels is None else token_loss(logits, labels)  # ()
        output = MultipleChoiceModelOutput(
            loss=loss,
            logits=logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return self.finish(output, return_dict)


def flatten_choices(x: Tensor | None, rank: int) -> Tensor | None:
    """(B, C, ...) of at least `rank` axes -> (B*C, ...); what has fewer axes is shared by all choices."""
    if x is None or x.ndim < rank:
        return x
    return x.reshape(-1, *x.shape[2:])


class DistilBertForTokenClassification(PreTrainedModel):
    """Which class has each token?"""

    task = "token-classification"

    def __init__(self, config: DistilBertConfig, *, seed: int | None = None) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config, seed=seed)
        self.dropout = Dropout(config.dropout)
        self.classifier = Linear(config.dim, config.num_labels)
        self.initialize(seed)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        position_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        token_places: Tensor | None = None,
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
        )
        hidden = encoded.last_hidden_state  # (B, T, D)
        hidden = self.dropout(hidden)  # (B, T, D)
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

    def __init__(self, config: DistilBertConfig, *, seed: int | None = None) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config, seed=seed)
        self.dropout = Dropout(config.qa_dropout)
        self.qa_outputs = Linear(config.dim, config.num_labels)
        self.initialize(seed)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        position_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        token_places: Tensor | None = None,
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
        )
        hidden = encoded.last_hidden_state  # (B, T, D)
        hidden = self.dropout(hidden)  # (B, T, D)
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
