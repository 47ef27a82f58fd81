# SPDX-License-Identifier: Apache-2.0
"""What the tokenizer returns: a dict of columns that also knows which token came from which word and character."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tokenizers import Encoding

from distilbert.errors import TokenizerError
from distilbert.tokenizer.columns import Padding
from distilbert.tokenizer.tensors import from_values, kind_of, load_framework

logger = logging.getLogger("distilbert")


class CharSpan(NamedTuple):
    """Characters `start` to `end` (exclusive) of the text."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens `start` to `end` (exclusive) of the row."""

    start: int
    end: int


class BatchEncoding(dict[str, Any]):
    """Columns by name (`enc["input_ids"]` or `enc.input_ids`), usable as `model(**enc)`.

    An integer gives the Rust encoding of that row. The methods that take a row and a position take the position alone
    where there is only one row. What `pad` and `prepare_for_model` return comes from no text: there these methods raise
    TokenizerError.

    Args:
        data: The columns.
        encoding: The Rust encodings, one for each row.
        tensor_type: "np", "pt", "tf" or "jax" to convert the columns at once.
        prepend_batch_axis: Add an axis of size one in front when converting.
        n_sequences: 1 for texts, 2 for pairs; taken from the encodings when not given.
        padding: How the rows were padded, if the encodings are not padded yet.
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        encoding: Encoding | Sequence[Encoding] | None = None,
        tensor_type: str | None = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
        *,
        padding: Padding | None = None,
    ) -> None:
        super().__init__(data or {})
        self._encodings = [encoding] if isinstance(encoding, Encoding) else encoding
        self._padding = padding
        if n_sequences is None and self._encodings:
            n_sequences = self._encodings[0].n_sequences
        self._n_sequences = n_sequences
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    @property
    def data(self) -> dict[str, Any]:
        """The columns as a plain dict."""
        return dict(self)

    @property
    def encodings(self) -> Sequence[Encoding] | None:
        """The Rust encodings, one for each row; None where no text was encoded."""
        if self._padding is not None:
            # Only now, because few callers look at the encodings and padding them is slow.
            for encoding in self._encodings or ():
                self._padding.pad_encoding(encoding)
            self._padding = None
        return self._encodings

    @property
    def n_sequences(self) -> int | None:
        """1 for texts, 2 for pairs, None if unknown."""
        return self._n_sequences

    @property
    def is_fast(self) -> bool:
        """Whether there are encodings, so that the methods about words and characters work."""
        return self._encodings is not None

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            return super().__getitem__(key)
        if self.encodings is not None:
            return self.encodings[key]
        if isinstance(key, slice):
            return {name: column[key] for name, column in self.items()}
        raise KeyError(f"{key!r}: expected a column's name; there are no encodings to be had by their number")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self:
            raise AttributeError(f"{type(self).__name__} has no column or attribute {name!r}")
        return super().__getitem__(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self), self.encodings, None, False, self._n_sequences)

    def __copy__(self) -> BatchEncoding:
        return type(self)(self, self.encodings, n_sequences=self._n_sequences)

    copy = __copy__

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a row as text."""
        tokens: list[str] = self._row(batch_index).tokens
        return tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token the number of its word, None for special tokens."""
        words: list[int | None] = self._row(batch_index).word_ids
        return words

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token 0 or 1 for the first or second text, None for special tokens."""
        sequences: list[int | None] = self._row(batch_index).sequence_ids
        return sequences

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Whether a token is of the first (0) or second (1) text; None for a special token."""
        encoding, token = self._locate(batch_or_token_index, token_index, tokens=True)
        found: int | None = encoding.token_to_sequence(token)
        return found

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The number of a token's word; None for a special token."""
        encoding, token = self._locate(batch_or_token_index, token_index, tokens=True)
        found: int | None = encoding.token_to_word(token)
        return found

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters of a token; None for a special token."""
        encoding, token = self._locate(batch_or_token_index, token_index, tokens=True)
        found = encoding.token_to_chars(token)
        return None if found is None else CharSpan(*found)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The tokens of a word; None if the row has none of it."""
        encoding, word = self._locate(batch_or_word_index, word_index)
        found = encoding.word_to_tokens(word, sequence_index)
        return None if found is None else TokenSpan(*found)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """The characters of a word; None if the row has none of it."""
        encoding, word = self._locate(batch_or_word_index, word_index)
        found = encoding.word_to_chars(word, sequence_index)
        return None if found is None else CharSpan(*found)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The token that a character is in; None for white space and what was cut off."""
        encoding, char = self._locate(batch_or_char_index, char_index)
        found: int | None = encoding.char_to_token(char, sequence_index)
        return found

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The word that a character is in; None for white space and what was cut off."""
        encoding, char = self._locate(batch_or_char_index, char_index)
        found: int | None = encoding.char_to_word(char, sequence_index)
        return found

    def convert_to_tensors(self, tensor_type: str | None = None, prepend_batch_axis: bool = False) -> BatchEncoding:
        """Convert the columns in place to tensors: "np", "pt", "tf" or "jax"; None leaves them as they are.

        Raises:
            TokenizerError: A column's rows have different lengths, or are no numbers.
            BackendError: The framework is not installed.
        """
        if tensor_type is not None:
            for name, column in self.items():
                self[name] = from_values([column] if prepend_batch_axis else column, tensor_type, name)
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> BatchEncoding:
        """Move the PyTorch tensors to a device, in place."""
        if isinstance(device, str | int) or type(device) is load_framework("pt").device:
            for name, column in self.items():
                if kind_of(column) == "pt":
                    self[name] = column.to(device=device, non_blocking=non_blocking)
        else:
            # Mixed-precision wrappers pass a dtype to everything: ids must stay integers.
            logger.warning("BatchEncoding.to: expected a device, found %r; nothing is changed", device)
        return self

    def _row(self, index: int) -> Encoding:
        encodings = self.encodings
        if encodings is None:
            raise TokenizerError("this BatchEncoding comes from no text, so words and characters are unknown")
        try:
            return encodings[index]
        except IndexError:
            raise TokenizerError(f"row {index}: this batch has {len(encodings)} rows") from None

    def _locate(self, first: int, second: int | None, tokens: bool = False) -> tuple[Encoding, int]:
        """The encoding and the position in it: both are given, or the position in the only row."""
        encoding, position = (self._row(0), first) if second is None else (self._row(first), second)
        if position < 0 and tokens:
            position += len(encoding)
        if position < 0:
            raise TokenizerError(f"position {position}: expected a number from 0 on")
        return encoding, position
