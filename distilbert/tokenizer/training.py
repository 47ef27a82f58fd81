# SPDX-License-Identifier: Apache-2.0
"""A new vocabulary for the same pipeline, learned from texts by the Rust library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.trainers import WordPieceTrainer

from distilbert.tokenizer.added_tokens import to_token
from distilbert.tokenizer.definition import ADDITIONAL, Definition, special_token
from distilbert.tokenizer.vocabulary_access import Vocabulary


def train(
    tokenizer: Vocabulary,
    texts: Iterable[str] | Iterable[list[str]],
    vocab_size: int,
    *,
    length: int | None,
    new_special_tokens: list[str],
    renamed: Mapping[str, str],
    options: Mapping[str, Any],
) -> Definition:
    """The definition of a tokenizer like `tokenizer`, with a vocabulary of `vocab_size` words learned from `texts`.

    Args:
        length: Number of texts or batches, for the progress bar.
        new_special_tokens: Further special tokens.
        renamed: New texts of special tokens by their present text.
        options: For the Rust trainer.
    """

    def rename(token: AddedToken) -> AddedToken:
        fields = token.__getstate__()
        return AddedToken(**{**fields, "content": renamed.get(token.content, token.content)})

    special = {name: rename(token) for name, token in tokenizer._special.items()}
    additional = [*map(rename, tokenizer._additional), *map(special_token, new_special_tokens)]
    kept = [rename(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    kept += [token for token in map(special_token, new_special_tokens) if token not in kept]

    pipeline = tokenizer._engine.pipeline
    learner = Tokenizer(
        WordPiece(
            {},
            unk_token=special["unk_token"].content,
            max_input_chars_per_word=pipeline.max_input_chars_per_word,
            continuing_subword_prefix=pipeline.prefix,
        )
    )
    source = tokenizer.backend_tokenizer
    learner.normalizer, learner.pre_tokenizer = source.normalizer, source.pre_tokenizer
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=kept,
        **{"continuing_subword_prefix": pipeline.prefix, **options},
    )
    learner.train_from_iterator(texts, trainer=trainer, length=length)
    vocabulary = learner.get_vocab(with_added_tokens=False)
    words = sorted(vocabulary, key=vocabulary.__getitem__)
    settings = {name: value for name, value in tokenizer._settings.items() if name not in (*special, ADDITIONAL)}
    added = list(map(to_token, kept))
    return Definition(words, pipeline, added, special, additional, settings, dict(tokenizer._unknown))
