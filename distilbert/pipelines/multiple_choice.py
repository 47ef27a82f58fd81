# SPDX-License-Identifier: Apache-2.0
"""A question or the beginning of a text, and the answers or endings to choose from, to the choices with scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distilbert.errors import InputError
from distilbert.outputs import ModelOutput
from distilbert.pipelines.base import Pipeline
from distilbert.pipelines.inputs import as_list, as_text, check_keys, is_count
from distilbert.pipelines.jobs import Encoded
from distilbert.pipelines.options import TextOptions
from distilbert.pipelines.scores import largest, softmax


@dataclass(frozen=True)
class MultipleChoiceOptions(TextOptions):
    """How many choices.

    Attributes:
        top_k: how many choices, best first; None for all.
    """

    top_k: int | None = None

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if not (self.top_k is None or is_count(self.top_k)):
            yield f"top_k: expected a number of at least 1, or None for all; found {self.top_k!r}"


class MultipleChoice(Pipeline):
    """`pipe("prompt", choices=["...", ...])`, `pipe({"prompt": ..., "choices": [...]})` or a list of such items.

    With `choices` a list of prompts has these choices for each. A result is a list of `{"label": place in the choices,
    "choice": text, "score": probability}`, best first. The model sees each choice as [CLS] prompt [SEP] choice [SEP].
    """

    task = "multiple-choice"
    model_task = "multiple-choice"
    options_class = MultipleChoiceOptions

    def items(self, inputs: Any, choices: Any = None) -> tuple[list[Any], bool]:
        single = isinstance(inputs, str | Mapping)
        found = [inputs] if single else as_list(inputs, "a prompt, or {'prompt': ..., 'choices': [...]}")
        if choices is not None:
            if any(isinstance(item, Mapping) for item in found):
                raise InputError("choices: given twice, in the item and in the call")
            found = [{"prompt": item, "choices": choices} for item in found]
        return found, single

    def encode(self, items: Sequence[Any], options: MultipleChoiceOptions) -> list[Encoded]:
        questions = [_as_question(item) for item in items]
        pairs = [(prompt, choice) for prompt, choices in questions for choice in choices]
        ids = iter(self.ids(pairs, options.truncation, options.max_length))
        return [Encoded([[next(ids) for _ in choices]], choices) for _, choices in questions]

    def decode(
        self, item: Any, context: Any, answers: Sequence[ModelOutput], options: MultipleChoiceOptions
    ) -> list[dict[str, Any]]:
        scores = softmax(answers[0].logits)  # (choices,)
        return [
            {"label": place, "choice": context[place], "score": float(scores[place])}
            for place in largest(scores, options.top_k)
        ]


def _as_question(item: Any) -> tuple[str, list[str]]:
    """Prompt and choices of an item."""
    if not isinstance(item, Mapping):
        raise InputError("inputs: expected {'prompt': ..., 'choices': [...]}, or a text with choices=[...] in the call")
    check_keys(item, {"prompt", "choices"})
    prompt, choices = item["prompt"], item["choices"]
    if not isinstance(choices, list | tuple) or not choices:
        found = "an empty one" if isinstance(choices, list | tuple) else type(choices).__name__
        raise InputError(f"choices: expected a list of texts, found {found}")
    return as_text(prompt, "prompt"), [as_text(choice, f"choice {place}") for place, choice in enumerate(choices)]
