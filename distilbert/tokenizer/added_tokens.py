# SPDX-License-Identifier: Apache-2.0
"""Tokens beside the words: from tokenizer.json, from tokenizer_config.json, and from an old added_tokens.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers import AddedToken

from distilbert.tokenizer.definition import special_token
from distilbert.tokenizer.settings import is_token
from distilbert.tokenizer.vocabulary import listed


@dataclass
class Entries:
    """Added tokens by id, of one file or of several that agree."""

    tokens: dict[int, AddedToken] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)  # by text

    def find(self, text: str) -> AddedToken | None:
        """The token of this text, if there is one."""
        return self.tokens[self.ids[text]] if text in self.ids else None

    def add(self, index: int, token: AddedToken, where: str) -> list[str]:
        """Take a token up, in place of the same one with other flags; what is wrong if id or text is another's."""
        other = self.tokens.get(index, token)
        if other.content != token.content:
            return [f"{where}: id {index} is {token.content!r}, but {other.content!r} elsewhere"]
        known = self.ids.setdefault(token.content, index)
        if known != index:
            return [f"{where}: {token.content!r} has id {index}, but {known} elsewhere"]
        self.tokens[index] = token
        return []

    def check(self, words: Sequence[str]) -> list[str]:
        """What does not fit the words: a token that is a word with another id, a gap between the ids of new tokens."""
        ids = {word: index for index, word in enumerate(words) if word in self.ids}
        problems = []
        following = len(words)
        for index, token in sorted(self.tokens.items()):
            expected = ids.get(token.content, following)
            following += token.content not in ids
            if index != expected:
                problems.append(f"{token.content!r} has id {index}, expected {expected} after {len(words):,} words")
        return listed("added tokens", problems)


def read_entries(value: object, where: str, problems: list[str]) -> Entries:
    """The added_tokens of a tokenizer.json (a list), or the added_tokens_decoder of a tokenizer_config.json."""
    if isinstance(value, Mapping):
        pairs: Iterable[tuple[Any, Any]] = ((_number(key), token) for key, token in value.items())
    elif isinstance(value, list):
        pairs = [(item.get("id"), _without_id(item)) if isinstance(item, dict) else (None, item) for item in value]
    else:
        problems.append(f"{where}: expected a list, found {value!r:.80}")
        return Entries()
    entries = Entries()
    for index, token in pairs:
        if type(index) is int and 0 <= index < 2**31 and not isinstance(token, str) and is_token(token):
            problems += entries.add(index, to_token(token), where)
        else:
            problems.append(f"{where}: expected id, content and flags of a token, found {index!r:.40}: {token!r:.80}")
    return entries


def read_old_entries(value: Mapping[str, Any], specials: Iterable[str], name: str, problems: list[str]) -> Entries:
    """An added_tokens.json: ids by text. The texts that are special tokens are told from their names alone."""
    specials = set(specials)
    entries = Entries()
    for text, index in value.items():
        if type(index) is int and 0 <= index < 2**31 and is_token(text):
            problems += entries.add(index, special_token(text) if text in specials else AddedToken(text), name)
        else:
            problems.append(f"{name}: {text!r:.80}: expected an id, found {index!r:.80}")
    return entries


def to_token(value: str | AddedToken | Mapping[str, Any], special: bool | None = None) -> AddedToken:
    """A token of our own, never the caller's object; text becomes a special token; `special` overrides the flag."""
    if isinstance(value, str):
        return special_token(value)
    fields = dict(value.__getstate__() if isinstance(value, AddedToken) else value)
    fields.pop("__type", None)
    if special is not None:
        fields["special"] = special
    return AddedToken(**fields)


def _number(key: str) -> int | None:
    return int(key) if key.isascii() and key.isdigit() and len(key) < 10 else None


def _without_id(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key != "id"}
