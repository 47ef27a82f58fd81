# SPDX-License-Identifier: Apache-2.0
"""Which tokens are [CLS], [SEP], [PAD], [UNK] and [MASK], and which are special besides them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import AddedToken

from distilbert.tokenizer.added_tokens import Entries, to_token
from distilbert.tokenizer.definition import ADDITIONAL, DEFAULT_TOKENS, SPECIAL_TOKENS

logger = logging.getLogger("distilbert")


class SpecialTokens:
    """The special tokens of a tokenizer that is being read.

    Args:
        words: The vocabulary.
        entries: The added tokens so far; `register` adds the special ones to them.
        settings: What files and arguments say together.
        given: The arguments alone. A token that the caller names may be new; one that a file names may not.

    Attributes:
        special: The tokens by attribute name.
        additional: The additional special tokens.
        problems: What is wrong: tokens that are missing.
    """

    def __init__(
        self, words: Sequence[str], entries: Entries, settings: Mapping[str, Any], given: Mapping[str, Any]
    ) -> None:
        self._entries = entries
        self._never_split = settings.get("never_split") or ()
        tokens = {name: settings.get(name) or DEFAULT_TOKENS.get(name) for name in SPECIAL_TOKENS}
        self.special = {name: self._token(value) for name, value in tokens.items() if value}
        self.additional = [self._token(value) for value in settings.get(ADDITIONAL) or ()]
        needed = {token.content for token in (*self.special.values(), *self.additional)} | set(self._never_split)
        self._ids = {word: index for index, word in enumerate(words) if word in needed}
        self._size = len(words)
        self.problems = [*self._missing(given)]

    def register(self) -> None:
        """Make the special tokens, and the words that are never split, added tokens."""
        following = max([self._size - 1, *self._entries.tokens]) + 1
        for token in (*self.special.values(), *self.additional):
            known = self._entries.ids.get(token.content, following)
            index = self._ids.get(token.content, known)
            following += index == following
            self._entries.add(index, token, token.content)
        for word in self._never_split:
            if word in self._entries.ids:
                continue
            if word in self._ids:
                self._entries.add(self._ids[word], AddedToken(word, single_word=True, normalized=False), word)
            else:
                logger.warning("never_split: %r is no word of the vocabulary, so it is split all the same", word)

    def _token(self, value: str | AddedToken | Mapping[str, Any]) -> AddedToken:
        if isinstance(value, AddedToken):
            return to_token(value, special=True)
        text = value if isinstance(value, str) else value["content"]
        return self._entries.find(text) or to_token(value, special=True)

    def _missing(self, given: Mapping[str, Any]) -> list[str]:
        problems = []
        for name, token in self.special.items():
            text = token.content
            if name == "unk_token" and text not in self._ids:
                problems.append(f"{text} ({name}) is not a word of the vocabulary; WordPiece cannot do without it")
            elif not (text in self._ids or text in self._entries.ids or given.get(name)):
                new = f"to have it added as a new token, pass {name}={text!r}"
                problems.append(f"{text} ({name}) is neither a word of the vocabulary nor an added token; {new}")
        return problems
