# SPDX-License-Identifier: Apache-2.0
"""Writes the pickle of a torch.save file: an OrderedDict of tensors, byte by byte, without PyTorch."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

from distilbert.convert.pytorch_objects import STORAGES
from distilbert.convert.raw import native
from distilbert.convert.tensor import StoredTensor

STORAGE_NAMES = {dtype: name for name, dtype in STORAGES.items()}
_ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def pickle(entries: Iterable[tuple[StoredTensor, str]]) -> bytes:
    """The pickle (protocol 2) of an OrderedDict of tensors, each with the key of its storage."""
    items = (_text(tensor.name) + _pickled_tensor(tensor, key) for tensor, key in entries)
    return b"\x80\x02" + _ORDERED_DICT + b"(" + b"".join(items) + b"u."


def _pickled_tensor(tensor: StoredTensor, key: str) -> bytes:
    size = math.prod(tensor.shape)
    steps = [math.prod(tensor.shape[axis + 1 :]) for axis in range(len(tensor.shape))]
    kind = f"ctorch\n{STORAGE_NAMES[native(tensor.dtype)]}\n".encode()
    storage = _tuple(_text("storage"), kind, _text(key), _text("cpu"), _integer(size)) + b"Q"
    shape, strides = _tuple(*map(_integer, tensor.shape)), _tuple(*map(_integer, steps))
    arguments = _tuple(storage, _integer(0), shape, strides, b"\x89", _ORDERED_DICT)  # no gradient, no hooks
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"


def _text(text: str) -> bytes:
    encoded = text.encode("utf-8")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _integer(value: int) -> bytes:
    return (
        struct.pack("<ci", b"J", value) if value < 1 << 31 else b"\x8a\x08" + value.to_bytes(8, "little", signed=True)
    )


def _tuple(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"
