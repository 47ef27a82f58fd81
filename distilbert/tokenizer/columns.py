# SPDX-License-Identifier: Apache-2.0
"""From Rust encodings to the columns of a batch: lists or one array each, padded on the way.

Padding in Rust would build the text of every padding token; here it is one fill per column, several times as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from distilbert.tokenizer.tensors import ragged

GETTERS: dict[str, Callable[[Encoding], list[Any]]] = {
    "input_ids": lambda encoding: encoding.ids,
    "token_type_ids": lambda encoding: encoding.type_ids,
    "attention_mask": lambda encoding: [1] * len(encoding),
    "special_tokens_mask": lambda encoding: encoding.special_tokens_mask,
    "offset_mapping": lambda encoding: encoding.offsets,
}
PAD_TYPE_ID = 0
FEW = 8  # rows, up to which NumPy's way from lists is the faster one
PAD_VALUES: dict[str, Any] = {
    "token_type_ids": PAD_TYPE_ID,
    "attention_mask": 0,
    "special_tokens_mask": 1,
    "offset_mapping": (0, 0),
}


@dataclass(frozen=True)
class Padding:
    """Fill up to `length` tokens on one side; longer rows stay as they are."""

    length: int
    side: str
    pad_id: int
    pad_token: str

    def value(self, name: str) -> Any:
        """What a column is filled up with."""
        return self.pad_id if name == "input_ids" else PAD_VALUES[name]

    def pad(self, row: list[Any], name: str) -> list[Any]:
        """One row of a column, filled up."""
        filling = [self.value(name)] * (self.length - len(row))
        return row + filling if self.side == "right" else filling + row

    def pad_encoding(self, encoding: Encoding) -> None:
        """Fill up a Rust encoding in place; a second time changes nothing."""
        encoding.pad(
            self.length, direction=self.side, pad_id=self.pad_id, pad_type_id=PAD_TYPE_ID, pad_token=self.pad_token
        )


def padded_length(longest: int, multiple: int | None) -> int:
    """`longest`, rounded up to a multiple if one is wanted."""
    return longest if multiple is None else -(-longest // multiple) * multiple


def as_lists(name: str, encodings: Sequence[Encoding], padding: Padding | None) -> list[list[Any]]:
    """A column as one list per row."""
    rows = [GETTERS[name](encoding) for encoding in encodings]
    return rows if padding is None else [padding.pad(row, name) for row in rows]


def as_array(name: str, encodings: Sequence[Encoding], padding: Padding | None) -> NDArray[np.int64]:
    """A column as an int64 array (B, T), offset_mapping (B, T, 2).

    Raises:
        TokenizerError: The rows have different lengths.
    """
    if 0 < len(encodings) <= FEW:
        rows = as_lists(name, encodings, padding)
        if len(set(map(len, rows))) > 1:
            raise ragged(name)
        array = np.array(rows, np.int64)
        return array.reshape(*array.shape[:2], 2) if name == "offset_mapping" else array
    lengths = np.fromiter(map(len, encodings), np.int64, len(encodings))
    widths = lengths if padding is None else np.maximum(lengths, padding.length)
    width = int(widths.max(initial=0))
    if np.any(widths != width):
        raise ragged(name)
    positions = np.arange(width)
    if padding is not None and padding.side == "left":
        present = positions >= width - lengths[:, None]
    else:
        present = positions < lengths[:, None]
    if name == "attention_mask":
        return present.astype(np.int64)
    values = chain.from_iterable(map(GETTERS[name], encodings))
    if name == "offset_mapping":
        flat = np.array([*values], np.int64).reshape(-1, 2)
        array = np.zeros((*present.shape, 2), np.int64)
    else:
        flat = np.fromiter(values, np.int64, int(lengths.sum()))
        array = np.full(present.shape, 0 if padding is None else padding.value(name), np.int64)
    array[present] = flat
    return array
