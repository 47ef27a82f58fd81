# SPDX-License-Identifier: Apache-2.0
"""Ids and tokens to text."""

from __future__ import annotations

from collections.abc import Sequence
from reprlib import repr as shown
from typing import Any

from distilbert.errors import TokenizerError
from distilbert.tokenizer.tensors import to_lists
from distilbert.tokenizer.vocabulary_access import Vocabulary

# What Rust's decoder leaves and Hugging Face cleans up: the space before these, and around an apostrophe.
_CLEANUPS = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


class Decoding(Vocabulary):
    """Ids to text. Not for use alone: see `DistilBertTokenizer`."""

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Tokens as text, the pieces of a word joined."""
        for token in tokens:
            if not isinstance(token, str):
                raise TokenizerError(f"tokens: expected text, found {shown(token)}")
        text: str = self._engine.plain.decoder.decode(list(tokens))
        return text

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> str:
        """Ids (a number, list, array or tensor) as text.

        Args:
            skip_special_tokens: Leave out the special tokens.
            clean_up_tokenization_spaces: Also close the space around an apostrophe; None for the tokenizer's setting.
                The space before punctuation is closed either way.

        Raises:
            TokenizerError: An id is outside the vocabulary.
        """
        ids = to_lists(token_ids)
        return self._decode(
            [ids if isinstance(ids, list) else [ids]], skip_special_tokens, clean_up_tokenization_spaces
        )[0]

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """Rows of ids as texts: see `decode`."""
        lists = to_lists(sequences)
        if not isinstance(lists, list):
            raise TokenizerError(f"sequences: expected rows of ids, found {shown(lists)}")
        rows = [row if isinstance(row, list) else [row] for row in map(to_lists, lists)]
        return self._decode(rows, skip_special_tokens, clean_up_tokenization_spaces)

    @staticmethod
    def clean_up_tokenization(out_string: str) -> str:
        """Close the spaces that splitting off English punctuation and contractions left."""
        for found in _CLEANUPS:
            out_string = out_string.replace(found, found.strip())
        return out_string

    def _decode(self, rows: list[list[Any]], skip_special_tokens: bool, clean_up: bool | None) -> list[str]:
        for row in rows:
            for number in row:
                self._check_id(number)
        texts = self._engine.plain.decode_batch(rows, skip_special_tokens=skip_special_tokens)
        clean = self.clean_up_tokenization_spaces if clean_up is None else clean_up
        return [self.clean_up_tokenization(text) for text in texts] if clean else texts
