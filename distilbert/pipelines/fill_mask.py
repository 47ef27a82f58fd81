# SPDX-License-Identifier: Apache-2.0
"""Texts with [MASK] to the words that the model would put there."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from distilbert.errors import InputError
from distilbert.outputs import ModelOutput
from distilbert.pipelines.base import Pipeline
from distilbert.pipelines.inputs import as_list, as_text, is_count
from distilbert.pipelines.jobs import Encoded
from distilbert.pipelines.options import TextOptions
from distilbert.pipelines.scores import Numbers, largest, softmax


@dataclass(frozen=True)
class FillMaskOptions(TextOptions):
    """How many words, and which come into question.

    Attributes:
        top_k: how many words for each mask, best first; default 5.
        targets: a word or several, to choose among these only; of one that is no token, its first token is taken.
    """

    top_k: int | None = None
    targets: str | Sequence[str] | _Targets | None = None

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if not (self.top_k is None or is_count(self.top_k)):
            yield f"top_k: expected a number of at least 1, found {self.top_k!r}"
        if not (self.targets is None or isinstance(self.targets, str | _Targets) or _are_texts(self.targets)):
            yield f"targets: expected a word or a list of words, found {self.targets!r:.80}"


@dataclass(frozen=True)
class _Targets:
    """Targets that have been looked up."""

    ids: list[int]


class FillMask(Pipeline):
    """`pipe("A [MASK].")` or `pipe(["A [MASK].", ...])`.

    A result is a list of `{"score": ..., "token": ..., "token_str": ..., "sequence": ...}`, best first; for a text with
    several masks a list of such lists. As in transformers, a list of one text gives its result alone, and
    `tokenizer_kwargs={"truncation": True}` says the same as `truncation=True`.
    """

    task = "fill-mask"
    model_task = "masked-lm"
    options_class = FillMaskOptions

    def items(self, inputs: Any) -> tuple[list[Any], bool]:
        if isinstance(inputs, str):
            return [inputs], True
        return as_list(inputs, "a text"), isinstance(inputs, list) and len(inputs) == 1

    @classmethod
    def parse(cls, options: Any, changes: dict[str, Any]) -> Any:
        nested = changes.get("tokenizer_kwargs") or {}
        if not isinstance(nested, Mapping):
            raise InputError(f"tokenizer_kwargs: expected a dict, found {type(nested).__name__}")
        direct = {name: value for name, value in changes.items() if name != "tokenizer_kwargs"}
        return super().parse(options, {**nested, **direct})

    def check(self, options: Any, changes: dict[str, Any]) -> Any:
        changed = super().check(options, changes)
        words = [changed.targets] if isinstance(changed.targets, str) else changed.targets
        return changed if isinstance(words, _Targets | None) else replace(changed, targets=self._find(words))

    def warm_up(self) -> None:
        self.fast.warm_up(places=1)  # most texts have one mask

    def encode(self, items: Sequence[Any], options: FillMaskOptions) -> list[Encoded]:
        rows = self.ids([(as_text(item), None) for item in items], options.truncation, options.max_length)
        masks = [self._masks(ids) for ids in rows]
        return [Encoded([ids], (ids, places), places=[places]) for ids, places in zip(rows, masks, strict=True)]

    def decode(self, item: Any, context: Any, answers: Sequence[ModelOutput], options: FillMaskOptions) -> Any:
        ids, masks = context
        only = len(masks) == 1
        best = [self._best(softmax(row), options) for row in answers[0].logits]  # (P, V)
        words = iter(self.tokenizer.batch_decode([[token] for tokens in best for token in tokens]))
        # Where there are other masks, these stay in the text, and [CLS] and [SEP] with them: so in transformers.
        rows = [self._filled(ids, mask, token) for mask, tokens in zip(masks, best, strict=True) for token in tokens]
        sequences = iter(self.tokenizer.batch_decode(rows, skip_special_tokens=only))
        filled = [
            [
                {"score": score, "token": token, "token_str": next(words), "sequence": next(sequences)}
                for token, score in tokens.items()
            ]
            for tokens in best
        ]
        return filled[0] if only else filled

    def _best(self, scores: Numbers, options: FillMaskOptions) -> dict[int, float]:
        """The best tokens for a mask with their scores, best first."""
        count = options.top_k or 5
        if isinstance(options.targets, _Targets):
            targets = options.targets.ids
            tokens = [targets[place] for place in largest(scores[targets], count)]
        else:
            tokens = largest(scores, count)
        return {token: float(scores[token]) for token in tokens}

    def _filled(self, ids: list[int], mask: int, token: int) -> list[int]:
        """The text with a token in place of a mask, and without padding."""
        padding = self.tokenizer.pad_token_id
        return [number for number in (*ids[:mask], token, *ids[mask + 1 :]) if number != padding]

    def _masks(self, ids: list[int]) -> list[int]:
        wanted = self.tokenizer.mask_token_id
        places = [place for place, number in enumerate(ids) if number == wanted]
        if not places:
            raise InputError(f"text: has no {self.tokenizer.mask_token} in its {len(ids)} tokens")
        return places

    def _find(self, targets: Sequence[str]) -> _Targets:
        """Ids of target words, each once and in ascending order."""
        vocabulary = self.tokenizer.get_vocab()
        found: set[int] = set()
        for target in targets:
            if target in vocabulary:
                found.add(vocabulary[target])
            elif tokens := self.tokenizer.tokenize(target):
                found.add(vocabulary[tokens[0]])
                warnings.warn(f"targets: {target!r} is no token; {tokens[0]!r} stands for it", stacklevel=5)
            else:
                warnings.warn(f"targets: {target!r} has no tokens and is left out", stacklevel=5)
        if not found:
            raise InputError("targets: expected at least one word that has tokens")
        return _Targets(sorted(found))


def _are_texts(value: Any) -> bool:
    return isinstance(value, Sequence) and all(isinstance(word, str) for word in value)
