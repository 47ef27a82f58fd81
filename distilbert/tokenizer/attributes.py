# SPDX-License-Identifier: Apache-2.0
"""The attributes of a tokenizer that can be assigned: settings, special tokens and their ids. Each is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from distilbert.errors import TokenizerError, describe
from distilbert.tokenizer.settings import Token, check_arguments

if TYPE_CHECKING:
    from distilbert.tokenizer.vocabulary_access import Vocabulary

T = TypeVar("T")


class Setting(Generic[T]):
    """A setting that can be assigned, and is checked when it is."""

    def __init__(self, default: T) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Setting[T]: ...
    @overload
    def __get__(self, instance: Vocabulary, owner: type) -> T: ...
    def __get__(self, instance: Vocabulary | None, owner: type) -> Setting[T] | T:
        if instance is None:
            return self
        return cast(T, instance.__dict__.setdefault(self._name, self._copy(self._default)))

    def __set__(self, instance: Vocabulary, value: T) -> None:
        refuse(check_arguments({self._name: value}))
        instance.__dict__[self._name] = self._copy(value)

    def _copy(self, value: Any) -> Any:
        return type(self._default)(value)  # type: ignore[call-arg]


class SpecialToken:
    """`tokenizer.pad_token`: the text of a special token, or None; can be set to a token of the vocabulary."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Vocabulary, owner: type) -> str | None:
        token = instance._special.get(self._name) if instance is not None else None
        return None if token is None else token.content

    def __set__(self, instance: Vocabulary, value: Token | None) -> None:
        instance._set_special_tokens({self._name: value})


class SpecialTokenId:
    """`tokenizer.pad_token_id`: the id of a special token, or None; can be set to an id of the vocabulary."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name.removesuffix("_id")

    def __get__(self, instance: Vocabulary, owner: type) -> int | None:
        text = getattr(instance, self._name) if instance is not None else None
        return None if text is None else instance._engine.plain.token_to_id(text)

    def __set__(self, instance: Vocabulary, value: int | None) -> None:
        setattr(instance, self._name, None if value is None else instance.convert_ids_to_tokens(value))


def refuse(problems: list[str]) -> None:
    """Raise TokenizerError with all problems, if there are any."""
    if problems:
        raise TokenizerError(describe("tokenizer", problems))
