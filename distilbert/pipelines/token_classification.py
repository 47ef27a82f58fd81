# SPDX-License-Identifier: Apache-2.0
"""Texts to labelled tokens, or to entities: names, places, parts of speech."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr as shown
from typing import Any

from distilbert.errors import InputError
from distilbert.outputs import ModelOutput
from distilbert.pipelines.base import Pipeline
from distilbert.pipelines.entities import STRATEGIES, Piece, Span, group, label_tokens, label_words, without_overlaps
from distilbert.pipelines.inputs import as_list, is_count
from distilbert.pipelines.jobs import Encoded
from distilbert.pipelines.options import TextOptions
from distilbert.pipelines.scores import Numbers, softmax
from distilbert.pipelines.token_inputs import Text, is_words, read_text
from distilbert.tokenizer import BatchEncoding

OLD_NAMES = ("grouped_entities", "ignore_subwords")


@dataclass(frozen=True)
class TokenClassificationOptions(TextOptions):
    """What becomes of the tokens, and of long texts.

    Attributes:
        aggregation_strategy: `none` for labelled tokens. For entities `simple`, which joins tokens of one kind, or
            `first`, `average` or `max`, which before that give all tokens of a word the label of its first token, of
            their scores on average, or of its surest token.
        ignore_labels: labels to leave out; of entities without `B-` and `I-`.
        stride: work through texts that are too long in windows (of `max_length`) that have this many tokens in common,
            and of entities that overlap keep the longest. Needs another strategy than `none`.
        is_split_into_words: whether texts are lists of words.
        delimiter: what joins words to the text that `start` and `end` count in.
    """

    aggregation_strategy: str = "none"
    ignore_labels: Collection[str] = ("O",)
    stride: int | None = None
    is_split_into_words: bool = False
    delimiter: str = " "

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.aggregation_strategy not in STRATEGIES:
            yield f"aggregation_strategy: expected {', '.join(STRATEGIES)}; found {self.aggregation_strategy!r}"
        if not _are_texts(self.ignore_labels):
            yield f"ignore_labels: expected a list of str, found {shown(self.ignore_labels)}"
        if not (self.stride is None or is_count(self.stride) or self.stride == 0):
            yield f"stride: expected a number of at least 0, found {self.stride!r}"
        if self.stride is not None and self.aggregation_strategy == "none":
            yield "stride: needs an aggregation_strategy other than none"
        if self.is_split_into_words not in (True, False):
            yield f"is_split_into_words: expected True or False, found {self.is_split_into_words!r}"
        if not _are_texts([self.delimiter]):
            yield f"delimiter: expected str, found {self.delimiter!r}"


class TokenClassification(Pipeline):
    """`pipe("text")`, `pipe(["text", ...])`, or lists of words with `is_split_into_words=True`.

    A result is a list. With `aggregation_strategy="none"` it has `{"entity": ..., "score": ..., "index": ...,
    "word": ..., "start": ..., "end": ...}` for each token, `index` being its place among the tokens with [CLS] as 0;
    else `{"entity_group": ..., "score": ..., "word": ..., "start": ..., "end": ...}` for each entity. `start` and `end`
    count characters of the text, or of the words joined. As in transformers, a single list of words gives a list of
    one result.

    `offset_mapping` replaces the tokenizer's own: a pair (start, end) for each token, special tokens included; a list
    of such lists for several texts. In a stream such an item is `{"text": ..., "offset_mapping": ...}`.

    Different from transformers, on purpose: a text longer than the model takes is refused, not cut, unless the call
    says `truncation=True` or `max_length`; a stride without entities is refused; `offset_mapping` of several texts is
    not that of the first for all of them, and not for texts of several windows. The same as in transformers: a token
    continues the word before where it is not as long as its characters, so that a word with combining accents inside
    joins the one before it.

    `grouped_entities` and `ignore_subwords` are old names, understood with a DeprecationWarning. An option that is None
    is not given.
    """

    task = "token-classification"
    model_task = "token-classification"
    options_class = TokenClassificationOptions

    def items(self, inputs: Any, offset_mapping: Any = None) -> tuple[list[Any], bool]:
        is_single = isinstance(inputs, str | Mapping)
        items = [inputs] if is_single else as_list(inputs, "texts")
        if offset_mapping is None:
            return items, is_single
        offsets = as_list(offset_mapping, "offset_mapping, pairs of characters")
        if len(items) == 1 and len(offsets) != 1:  # one text has several tokens: [CLS] and [SEP] at least
            offsets = [offsets]
        if len(offsets) != len(items):
            raise InputError(f"offset_mapping: expected one list for each of {len(items)} texts, found {len(offsets)}")
        return [{"text": item, "offset_mapping": pairs} for item, pairs in zip(items, offsets, strict=True)], is_single

    @classmethod
    def parse(cls, options: Any, changes: dict[str, Any]) -> Any:
        return super().parse(options, _renamed({name: value for name, value in changes.items() if value is not None}))

    def check(self, options: Any, changes: dict[str, Any]) -> Any:
        chosen = super().check(options, changes)
        most = self._limit(chosen) - self.tokenizer.num_special_tokens_to_add() - 1
        if chosen.stride is not None and chosen.stride > most:
            raise InputError(f"{self.task} options: stride: expected at most {most}, found {chosen.stride}")
        return chosen

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        is_split = named.get("is_split_into_words")
        is_split = self.defaults.is_split_into_words if is_split is None else is_split
        texts = inputs[0] if inputs else named.get("inputs")
        if is_split and isinstance(texts, list | tuple) and not all(map(is_words, texts)):
            return super().__call__([texts], *inputs[1:], **{key: named[key] for key in named if key != "inputs"})
        return super().__call__(*inputs, **named)

    def encode(self, items: Sequence[Any], options: TokenClassificationOptions) -> list[Encoded]:
        delimiter = options.delimiter if options.is_split_into_words else None
        texts = [read_text(item, delimiter) for item in items]
        windows = self._tokenized([text.row for text in texts], options)
        rows: list[list[int]] = [[] for _ in texts]
        for row, number in enumerate(windows.get("overflow_to_sample_mapping", range(len(texts)))):
            rows[number].append(row)
        if any(text.offsets and len(places) > 1 for text, places in zip(texts, rows, strict=True)):
            raise InputError("offset_mapping: not for a text that takes several windows")
        ids = windows["input_ids"]
        return [
            Encoded([ids[row] for row in places], [self._pieces(text, windows, row) for row in places])
            for text, places in zip(texts, rows, strict=True)
        ]

    def decode(
        self,
        item: Any,
        context: Sequence[list[Piece]],
        answers: Sequence[ModelOutput],
        options: TokenClassificationOptions,
    ) -> list[dict[str, Any]]:
        spans: list[Span] = []
        for pieces, answer in zip(context, answers, strict=True):
            scores = softmax(answer.logits)[[piece.place for piece in pieces]]
            spans += self._spans(pieces, scores, options)
        if options.aggregation_strategy == "none":  # one window
            return [
                {"entity": span.label, "score": span.score, "index": piece.place, **_place(span)}
                for piece, span in zip(context[0], spans, strict=True)
                if span.label not in options.ignore_labels
            ]
        if len(answers) > 1:
            spans = without_overlaps(spans)
        return [{"entity_group": span.label, "score": span.score, **_place(span)} for span in spans]

    # Used above.

    def _tokenized(self, rows: list[Any], options: TokenClassificationOptions) -> BatchEncoding:
        """Token ids of all windows of all texts."""
        truncation = options.max_length is not None if options.truncation is None else options.truncation
        has_windows = options.stride is not None
        windows = self.tokenizer.batch_encode_plus(
            rows,
            truncation=has_windows or truncation,
            max_length=self._limit(options) if has_windows or truncation else None,
            stride=options.stride or 0,
            return_overflowing_tokens=has_windows,
            is_split_into_words=options.is_split_into_words,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_special_tokens_mask=True,
            return_offsets_mapping=True,
            verbose=False,
        )
        longest, most = max(map(len, windows["input_ids"]), default=0), self.config.max_position_embeddings
        if longest > most:
            found = f"has {longest} tokens, the model takes {most}"
            raise InputError(f"text: {found}; use a stride with an aggregation_strategy, or truncation=True")
        return windows

    def _limit(self, options: TokenClassificationOptions) -> int:
        """Tokens of a window, or of a text that is cut."""
        limit: int = min(options.max_length or self.max_length, self.max_length)
        return limit

    def _pieces(self, text: Text, windows: BatchEncoding, row: int) -> list[Piece]:
        """The tokens of a window without the special ones around them."""
        ids, offsets = windows["input_ids"][row], text.offsets or windows["offset_mapping"][row]
        if len(offsets) != len(ids):
            raise InputError(f"offset_mapping: expected a pair for each of {len(ids)} tokens, found {len(offsets)}")
        words = windows.word_ids(row) if text.starts else [None] * len(ids)
        kept = [place for place, special in enumerate(windows["special_tokens_mask"][row]) if not special]
        pieces = []
        tokens = self.tokenizer.convert_ids_to_tokens([ids[place] for place in kept])
        for place, token in zip(kept, tokens, strict=True):
            word = words[place]
            shift = text.starts[word] if text.starts and word is not None else 0
            start, end = offsets[place][0] + shift, offsets[place][1] + shift
            surface = text.text[start:end]
            if ids[place] == self.tokenizer.unk_token_id:
                pieces.append(Piece(place, surface, start, end, continues=False))
            else:  # the rule of transformers: "##ing" is longer than what it stands for
                pieces.append(Piece(place, token, start, end, continues=len(token) != len(surface)))
        return pieces

    def _spans(self, pieces: list[Piece], scores: Numbers, options: TokenClassificationOptions) -> list[Span]:
        labels = [self.config.id2label[place] for place in range(self.config.num_labels)]
        join = self.tokenizer.convert_tokens_to_string
        if options.aggregation_strategy == "none":
            return label_tokens(pieces, scores, labels)
        if options.aggregation_strategy == "simple":
            spans = label_tokens(pieces, scores, labels)
        else:
            spans = label_words(pieces, scores, labels, options.aggregation_strategy, join)
        return group(spans, options.ignore_labels, join)


def _place(span: Span) -> dict[str, Any]:
    return {"word": span.word, "start": span.start, "end": span.end}


def _renamed(options: dict[str, Any]) -> dict[str, Any]:
    """Options with today's names for old ones."""
    given = {name: value for name, value in options.items() if name not in OLD_NAMES}
    if old := [name for name in OLD_NAMES if name in options]:
        strategy = "none"
        if options.get("grouped_entities"):
            strategy = "first" if options.get("ignore_subwords") else "simple"
        message = f"{' and '.join(old)}: old, use aggregation_strategy={strategy!r}"
        warnings.warn(message, DeprecationWarning, stacklevel=7)
        given["aggregation_strategy"] = strategy
    if isinstance(given.get("aggregation_strategy"), str):
        given["aggregation_strategy"] = given["aggregation_strategy"].lower()
    return given


def _are_texts(value: Any) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str) and all(isinstance(one, str) for one in value)
