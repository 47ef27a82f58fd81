# SPDX-License-Identifier: Apache-2.0
"""Texts, or pairs of them, to labels with scores."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distilbert.outputs import ModelOutput
from distilbert.pipelines.base import Pipeline
from distilbert.pipelines.inputs import as_list, as_pair, is_count
from distilbert.pipelines.jobs import Encoded
from distilbert.pipelines.options import TextOptions
from distilbert.pipelines.scores import Numbers, largest, sigmoid, softmax, unchanged

FUNCTIONS: dict[str, Callable[[Any], Numbers]] = {"softmax": softmax, "sigmoid": sigmoid, "none": unchanged}


@dataclass(frozen=True)
class ClassificationOptions(TextOptions):
    """How many labels, and how scores are made of logits.

    Attributes:
        top_k: how many labels, best first; None for all. By default (`best`) the best alone, and not in a list.
        function_to_apply: `softmax`, `sigmoid` or `none`; default sigmoid for several labels at once or a single one,
            none for regression, else softmax.
        return_all_scores: the old form of `top_k=None`: all labels, in the order of the model. `top_k` goes before it.
    """

    top_k: int | str | None = "best"
    function_to_apply: str | None = None
    return_all_scores: bool | None = None

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if not (self.top_k in (None, "best") or is_count(self.top_k)):
            yield f"top_k: expected a number of at least 1, or None for all; found {self.top_k!r}"
        if not (self.function_to_apply is None or str(self.function_to_apply).lower() in FUNCTIONS):
            yield f"function_to_apply: expected {', '.join(FUNCTIONS)}; found {self.function_to_apply!r}"


class TextClassification(Pipeline):
    """`pipe("text")`, `pipe(["text", ...])`, `pipe({"text": ..., "text_pair": ...})` or a list of such pairs.

    A result is `{"label": ..., "score": ...}`, with `top_k` a list of them. As in transformers, a single text comes in
    a list of one unless the call says `top_k`.
    """

    task = "text-classification"
    model_task = "sequence-classification"
    options_class = ClassificationOptions

    def items(self, inputs: Any) -> tuple[list[Any], bool]:
        if isinstance(inputs, str | Mapping):
            return [inputs], True
        return as_list(inputs, "a text or {'text': ..., 'text_pair': ...}"), False

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        result = super().__call__(*inputs, **named)
        is_text = isinstance(inputs[0] if inputs else named["inputs"], str)
        return [result] if is_text and "top_k" not in named else result

    @classmethod
    def parse(cls, options: Any, changes: dict[str, Any]) -> Any:
        if changes.get("return_all_scores") is not None:
            warnings.warn("return_all_scores is old; use top_k=None for all labels", stacklevel=5)
        return super().parse(options, changes)

    def encode(self, items: Sequence[Any], options: ClassificationOptions) -> list[Encoded]:
        pairs = [as_pair(item) for item in items]
        return [Encoded([ids]) for ids in self.ids(pairs, options.truncation, options.max_length)]

    def decode(self, item: Any, context: Any, answers: Sequence[ModelOutput], options: ClassificationOptions) -> Any:
        function = (options.function_to_apply or self.usual_function()).lower()
        scores = FUNCTIONS[function](answers[0].logits)
        names = self.config.id2label
        if isinstance(options.top_k, str):
            if options.return_all_scores:
                return [{"label": names[place], "score": float(score)} for place, score in enumerate(scores)]
            best = int(scores.argmax())
            return {"label": names[best], "score": float(scores[best])}
        places = largest(scores, options.top_k)
        return [{"label": names[place], "score": float(scores[place])} for place in places]

    def usual_function(self) -> str:
        """What makes scores of this model's logits."""
        kind = self.config.problem_type
        if kind == "regression":
            return "none"
        if kind == "multi_label_classification" or self.config.num_labels == 1:
            return "sigmoid"
        return "softmax"
