# SPDX-License-Identifier: Apache-2.0
"""Texts to what the encoder says of each token: its last hidden states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distilbert.errors import InputError, TokenizerError
from distilbert.outputs import ModelOutput
from distilbert.pipelines.base import Pipeline
from distilbert.pipelines.inputs import as_list, as_text
from distilbert.pipelines.jobs import Encoded
from distilbert.pipelines.options import Options
from distilbert.tokenizer.tensors import FRAMEWORKS, from_values, load_framework

TOKENIZE = ("truncation", "max_length", "add_special_tokens", "split_special_tokens", "padding")
PADDINGS = (None, True, False, "longest", "do_not_pad")  # all the same for a text on its own


@dataclass(frozen=True)
class FeatureOptions(Options):
    """What is returned, and how texts are tokenised.

    Attributes:
        return_tensors: True or `np` for NumPy arrays, `pt`, `tf` or `jax` for tensors; by default nested lists.
        truncation: cut texts that are longer than the model takes; by default they are refused.
        tokenize_kwargs: `truncation`, `max_length`, `add_special_tokens`, `split_special_tokens`, as in the tokenizer's
            calls; `padding` may be there but has no effect.
    """

    return_tensors: bool | str | None = None
    truncation: bool | str | None = None
    tokenize_kwargs: Mapping[str, Any] | None = None

    def problems(self) -> Iterator[str]:
        kind = self.return_tensors
        if not isinstance(kind, bool | None) and not (isinstance(kind, str) and kind in FRAMEWORKS):
            yield f"return_tensors: expected True, False, {', '.join(FRAMEWORKS)}; found {kind!r}"
        given: Any = self.tokenize_kwargs
        if given is None:
            return
        if not isinstance(given, Mapping):
            yield f"tokenize_kwargs: expected a dict, found {type(given).__name__}"
            return
        for name in given.keys() - set(TOKENIZE):
            yield f"tokenize_kwargs: {name}: unknown; expected {', '.join(TOKENIZE)}"
        for name in ("add_special_tokens", "split_special_tokens"):
            if not isinstance(given.get(name, False), bool):
                yield f"tokenize_kwargs: {name}: expected True or False, found {given[name]!r}"
        if self.truncation is not None and "truncation" in given:
            yield "truncation: given twice, also in tokenize_kwargs"
        if not any(given.get("padding") is choice or given.get("padding") == choice for choice in PADDINGS):
            yield f"tokenize_kwargs: padding {given['padding']!r}: texts are not padded here; pad the result instead"


class FeatureExtraction(Pipeline):
    """`pipe("text")` or `pipe(["text", ...])`.

    The result for a text is a nested list (1, T, D) of floats; with `return_tensors` an array or tensor of this shape.
    Where transformers gives tensors of the model's framework for `return_tensors=True`, this gives NumPy arrays.
    """

    task = "feature-extraction"
    model_task = "encoder"
    options_class = FeatureOptions

    def items(self, inputs: Any) -> tuple[list[Any], bool]:
        return ([inputs], True) if isinstance(inputs, str) else (as_list(inputs, "texts"), False)

    def check(self, options: Options, changes: dict[str, Any]) -> Any:
        chosen: FeatureOptions = super().check(options, changes)
        if isinstance(chosen.return_tensors, str):
            load_framework(chosen.return_tensors)
        try:
            self._tokenize([""], chosen)
        except TokenizerError as error:
            raise InputError(f"{self.task} options: {error}") from None
        return chosen

    def encode(self, items: Sequence[Any], options: FeatureOptions) -> list[Encoded]:
        rows = self._tokenize([as_text(item) for item in items], options)
        longest, most = max(map(len, rows)), self.config.max_position_embeddings
        if longest > most:
            raise InputError(f"text: has {longest} tokens, the model takes {most}; use truncation=True")
        if not all(rows):
            raise InputError("text: has no tokens; use add_special_tokens=True")
        return [Encoded([ids]) for ids in rows]

    def decode(self, item: Any, context: Any, answers: Sequence[ModelOutput], options: FeatureOptions) -> Any:
        features = answers[0].last_hidden_state[None]  # (1, T, D)
        kind = options.return_tensors
        if not kind:
            return features.tolist()
        return features if kind is True else from_values(features, kind, "last_hidden_state")

    def _tokenize(self, texts: list[str], options: FeatureOptions) -> list[list[int]]:
        arguments = {name: value for name, value in (options.tokenize_kwargs or {}).items() if name != "padding"}
        length = arguments.get("max_length")
        cut = arguments.get("truncation") if options.truncation is None else options.truncation
        arguments["truncation"] = length is not None if cut is None else cut
        longest = self.max_length if length is None else length
        arguments["max_length"] = min(longest, self.max_length) if isinstance(longest, int) else longest
        rows: list[list[int]] = self.tokenizer.batch_encode_plus(
            texts, return_attention_mask=False, return_token_type_ids=False, verbose=False, **arguments
        )["input_ids"]
        return rows
