# SPDX-License-Identifier: Apache-2.0
"""What a model returns: a dict with attribute access whose absent fields are left out.

Each backend registers these classes once as containers of its arrays (in `<backend>/io.py`), so that they pass through
compiled functions. Field order is the order of the tuple form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar


class ModelOutput(dict[str, Any]):
    """A dict whose fields are also attributes, and items by position; a field given as None is absent.

    `output.loss` is None when there is no loss; `output["loss"]` is then a KeyError. `output[0]` is the first field
    that is present, and `output[:2]` a tuple of the first two. Like any dict it can be made from pairs, as TensorFlow
    does when a compiled function returns one.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, pairs: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), /, **fields: Any) -> None:
        fields = {**dict(pairs), **fields}
        unknown = [name for name in fields if name not in self.FIELDS]
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(unknown)}; it has {', '.join(self.FIELDS)}")
        super().__init__({name: fields[name] for name in self.FIELDS if fields.get(name) is not None})

    def __getattr__(self, name: str) -> Any:
        if name in self.FIELDS:
            return self.get(name)
        raise AttributeError(f"{type(self).__name__} has no field {name!r}; it has {', '.join(self.FIELDS)}")

    def __getitem__(self, key: str | int | slice) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), dict(self))

    def to_tuple(self) -> tuple[Any, ...]:
        """The present fields in order: what a model returns with `return_dict=False`."""
        return tuple(self.values())


def _rebuild(cls: type[ModelOutput], fields: dict[str, Any]) -> ModelOutput:
    return cls(**fields)


class BaseModelOutput(ModelOutput):
    """Encoder: last_hidden_state (B, T, D).

    In every output class hidden_states are n_layers + 1 of (B, T, D), attentions are n_layers of (B, H, T, T).
    """

    FIELDS = ("last_hidden_state", "hidden_states", "attentions")


class MaskedLMOutput(ModelOutput):
    """Masked language model: loss (), logits (B, T, V)."""

    FIELDS = ("loss", "logits", "hidden_states", "attentions")


class SequenceClassifierOutput(ModelOutput):
    """Sequence classification: loss (), logits (B, L)."""

    FIELDS = ("loss", "logits", "hidden_states", "attentions")


class MultipleChoiceModelOutput(ModelOutput):
    """Multiple choice: loss (), logits (B, C)."""

    FIELDS = ("loss", "logits", "hidden_states", "attentions")


class TokenClassifierOutput(ModelOutput):
    """Token classification: loss (), logits (B, T, L)."""

    FIELDS = ("loss", "logits", "hidden_states", "attentions")


class QuestionAnsweringModelOutput(ModelOutput):
    """Question answering: loss (), start_logits (B, T), end_logits (B, T)."""

    FIELDS = ("loss", "start_logits", "end_logits", "hidden_states", "attentions")


OUTPUT_CLASSES: tuple[type[ModelOutput], ...] = (
    BaseModelOutput,
    MaskedLMOutput,
    SequenceClassifierOutput,
    MultipleChoiceModelOutput,
    TokenClassifierOutput,
    QuestionAnsweringModelOutput,
)


# Of each task the output class, and the fields that a call without labels fills.
ANSWERS: dict[str, tuple[type[ModelOutput], tuple[str, ...]]] = {
    "encoder": (BaseModelOutput, ("last_hidden_state",)),
    "masked-lm": (MaskedLMOutput, ("logits",)),
    "sequence-classification": (SequenceClassifierOutput, ("logits",)),
    "multiple-choice": (MultipleChoiceModelOutput, ("logits",)),
    "token-classification": (TokenClassifierOutput, ("logits",)),
    "question-answering": (QuestionAnsweringModelOutput, ("start_logits", "end_logits")),
}
