# SPDX-License-Identifier: Apache-2.0
"""The Rust tokenizer behind a `DistilBertTokenizer`, as something that never changes.

The Rust library keeps truncation as state of a tokenizer, which two threads would change under each other. Here every
setting gets a Rust tokenizer of its own. They share one vocabulary, so that one costs microseconds, and none is ever
changed again. Padding is left to `columns.py`, which does it faster.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from distilbert.tokenizer.definition import Pipeline

VIEWS = 64  # Rust tokenizers kept, one for each combination of settings that is in use


@dataclass(frozen=True)
class Truncation:
    """How to truncate: Hugging Face's names."""

    strategy: str
    max_length: int
    stride: int
    side: str


class Engine:
    """Vocabulary, pipeline and added tokens.

    Args:
        model: The vocabulary with its unknown token.
        pipeline: How text becomes words and back.
        cls_sep: The tokens that begin and end a sequence.
        added: The added tokens in the order of their ids.
    """

    def __init__(
        self, model: WordPiece, pipeline: Pipeline, cls_sep: tuple[str, str], added: Sequence[AddedToken]
    ) -> None:
        self.pipeline = pipeline
        self.added = list(added)
        self.cls_sep = cls_sep
        self._model = model
        self._normalizer = normalizers.BertNormalizer(
            clean_text=pipeline.clean_text,
            handle_chinese_chars=pipeline.handle_chinese_chars,
            strip_accents=pipeline.strip_accents,
            lowercase=pipeline.lowercase,
        )
        self._pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        self._decoder = decoders.WordPiece(prefix=pipeline.prefix, cleanup=pipeline.cleanup)
        self._template: Any = None
        self.plain = self._build()
        self._template = self._bert_template()
        self.plain.post_processor = self._template
        self.word_count: int = self.plain.get_vocab_size(with_added_tokens=False)
        self.size: int = self.plain.get_vocab_size(with_added_tokens=True)
        self.specials: dict[bool, int] = {pair: self.plain.num_special_tokens_to_add(pair) for pair in (False, True)}
        self._views: dict[tuple[Truncation | None, bool], Tokenizer] = {}

    @classmethod
    def of_words(
        cls,
        words: Iterable[str],
        pipeline: Pipeline,
        unk: str,
        cls_sep: tuple[str, str],
        added: Sequence[AddedToken],
    ) -> Engine:
        """An engine with a new vocabulary; a word's id is its position."""
        model = WordPiece(
            {word: index for index, word in enumerate(words)},
            unk_token=unk,
            max_input_chars_per_word=pipeline.max_input_chars_per_word,
            continuing_subword_prefix=pipeline.prefix,
        )
        return cls(model, pipeline, cls_sep, added)

    def __reduce__(self) -> tuple[Any, ...]:
        return Engine, (self._model, self.pipeline, self.cls_sep, self.added)

    def with_tokens(self, tokens: Sequence[str | AddedToken], special: bool) -> tuple[Engine, int]:
        """An engine that also has these added tokens, and how many of them were new to it as added tokens."""
        grown = self._build()
        count = grown.add_special_tokens([*tokens]) if special else grown.add_tokens([*tokens])
        return Engine(self._model, self.pipeline, self.cls_sep, _in_order(grown)), count

    def with_template(self, cls_sep: tuple[str, str]) -> Engine:
        """An engine that begins and ends sequences with other tokens."""
        return Engine(self._model, self.pipeline, cls_sep, self.added)

    def with_unk(self, unk: str) -> Engine:
        """An engine with another unknown token, which must be a word."""
        return Engine.of_words(self.words(), self.pipeline, unk, self.cls_sep, self.added)

    def words(self) -> list[str]:
        """The vocabulary without added tokens, in the order of the ids."""
        vocabulary = self.plain.get_vocab(with_added_tokens=False)
        return sorted(vocabulary, key=vocabulary.__getitem__)

    def copy(self) -> Tokenizer:
        """A Rust tokenizer that the caller may change: it shares nothing but the vocabulary."""
        return self._build()

    def view(self, truncation: Truncation | None, split_special_tokens: bool) -> Tokenizer:
        """The Rust tokenizer for these settings, which nobody may change."""
        key = truncation, split_special_tokens
        found = self._views.get(key)
        if found is None:
            if len(self._views) >= VIEWS:
                self._views.clear()
            found = self._views[key] = self._view(*key)
        return found

    def _view(self, truncation: Truncation | None, split_special_tokens: bool) -> Tokenizer:
        tokenizer = self._build()
        tokenizer.encode_special_tokens = split_special_tokens
        if truncation is not None:
            tokenizer.enable_truncation(
                truncation.max_length,
                stride=truncation.stride,
                strategy=truncation.strategy,
                direction=truncation.side,
            )
        return tokenizer

    def _build(self) -> Tokenizer:
        tokenizer = Tokenizer(self._model)
        tokenizer.normalizer = self._normalizer
        tokenizer.pre_tokenizer = self._pre_tokenizer
        tokenizer.decoder = self._decoder
        if self._template is not None:
            tokenizer.post_processor = self._template
        tokenizer.add_tokens(self.added)
        return tokenizer

    def _bert_template(self) -> Any:
        cls, sep = self.cls_sep
        return processors.TemplateProcessing(
            single=[f"{cls}:0", "$A:0", f"{sep}:0"],
            pair=[f"{cls}:0", "$A:0", f"{sep}:0", "$B:1", f"{sep}:1"],
            special_tokens=[(token, self.plain.token_to_id(token)) for token in dict.fromkeys(self.cls_sep)],
        )


def _in_order(tokenizer: Tokenizer) -> list[AddedToken]:
    return [token for _, token in sorted(tokenizer.get_added_tokens_decoder().items())]
