# SPDX-License-Identifier: Apache-2.0
"""Finds the arrays in a MessagePack file as Flax writes it: nested maps with text as keys and arrays as leaves.

Only headers are parsed, so that the values can be mapped. Time and memory are bounded by the number of entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from distilbert.convert.raw import Dtype, Problem, checked_shape, load_array, nbytes_of, read_exactly, shown, size_of
from distilbert.convert.tensor import BFLOAT16, Array, StoredTensor

ARRAY, _SCALAR = 1, 3  # the codes that Flax gives to its MessagePack extensions
_CHUNKED = "__msgpack_chunked_array__"  # the first key of a map that holds one array in pieces
_MAX_DEPTH = 32
_MAX_RANK = 32
_MAX_HEADERS = 200_000  # keys, maps and parts of arrays; a DistilBERT has about a thousand
_MAX_TEXT = 1000  # bytes of one key or dtype name

DTYPES: dict[str, Dtype] = {
    np.dtype(kind).name: np.dtype(kind)
    for kind in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?")
} | {"bfloat16": BFLOAT16}


class _Array(NamedTuple):
    shape: tuple[int, ...]
    dtype: Dtype
    offset: int  # of the values in the file


# What follows each type byte from 0xC0: the kind of value, and the bytes of its length (of a number: of its value).
_HEADERS: dict[int, tuple[str, int]] = {
    **{0xC0: ("nil", 0), 0xC2: ("false", 0), 0xC3: ("true", 0)},
    **{0xC4: ("bin", 1), 0xC5: ("bin", 2), 0xC6: ("bin", 4)},
    **{0xC7: ("ext", 1), 0xC8: ("ext", 2), 0xC9: ("ext", 4)},
    **{0xCA: ("float", 4), 0xCB: ("float", 8)},
    **{0xCC: ("int", 1), 0xCD: ("int", 2), 0xCE: ("int", 4), 0xCF: ("int", 8)},
    **{0xD4: ("ext", 1), 0xD5: ("ext", 2), 0xD6: ("ext", 4), 0xD7: ("ext", 8), 0xD8: ("ext", 16)},
    **{0xD9: ("str", 1), 0xDA: ("str", 2), 0xDB: ("str", 4)},
    **{0xDC: ("array", 2), 0xDD: ("array", 4), 0xDE: ("map", 2), 0xDF: ("map", 4)},
}


class ArrayTree:
    """Reads the maps of one file and notes where the arrays are."""

    def __init__(self, path: Path, stream: FileIO) -> None:
        self.tensors: dict[str, StoredTensor] = {}
        self._path = path
        self._stream = stream
        self._size = size_of(stream)
        self._position = 0
        self._headers = 0

    def read(self) -> None:
        """Fill `tensors`; Problem when the file is damaged or holds anything else."""
        _, count = self._header()
        self._map(count, ())
        if self._position != self._size:
            raise Problem(f"{self._size - self._position:,} bytes after the last array, expected none")

    def _map(self, count: int, above: tuple[str, ...], first: str | None = None) -> None:
        """The entries of a map; `first` is the key of the first one where it was already read."""
        seen: set[str] = set()
        for _ in range(count):
            key = first if first is not None else self._text()
            first = None
            name = "/".join((*above, key))
            if key in seen or "/" in key:
                raise Problem(f"{shown(name)}: {'occurs twice' if key in seen else 'a key with a slash in it'}")
            seen.add(key)
            if len(above) >= _MAX_DEPTH:
                raise Problem(f"{shown(name)}: maps nested more than {_MAX_DEPTH} deep")
            self._value((*above, key), name)

    def _value(self, path: tuple[str, ...], name: str) -> None:
        kind, count = self._header()
        key = self._text() if kind == "map" and count else None
        if kind == "map" and key != _CHUNKED:
            self._map(count, path, key)
            return
        try:
            if kind == "map":
                shape, dtype, load = self._chunked(count)
            else:
                shape, dtype, offset = self._array(kind, count)
                load = partial(load_array, self._path, offset, shape, dtype)
        except Problem as problem:
            raise Problem(f"{shown(name)}: {problem}") from None
        self.tensors[name] = StoredTensor(name, shape, dtype, load)

    def _array(self, kind: str, length: int) -> _Array:
        """One extension: its length, its code, and in it `[shape, dtype, bytes]`."""
        code = self._take(1)[0] if kind == "ext" else None
        if code not in (ARRAY, _SCALAR):
            raise Problem(f"expected an array, found {kind if code is None else f'extension {code}'}")
        end = self._position + length
        self._expect("array", 3)
        kind, rank = self._header()
        if kind != "array" or rank > _MAX_RANK:
            raise Problem(f"damaged array: expected a shape of at most {_MAX_RANK} sizes, found {kind} of {rank:,}")
        sizes = [self._integer() for _ in range(rank)]
        dtype = DTYPES.get(name := self._text())
        if dtype is None:
            raise Problem(f"unknown dtype {shown(name)}, expected one of {', '.join(DTYPES)}")
        array = _Array(checked_shape(sizes, dtype), dtype, self._expect_bytes(nbytes_of(tuple(sizes), dtype)))
        if self._position != end:
            raise Problem(f"damaged array: its parts take {self._position - end + length} bytes, expected {length}")
        return array

    def _chunked(self, count: int) -> tuple[tuple[int, ...], Dtype, partial[Array]]:
        """The rest of a map that holds an array in one-dimensional pieces."""
        if count != 3 or self._header() != ("true", 0) or self._text() != "shape":
            raise Problem("damaged array in pieces: expected its shape")
        sizes = [self._integer() for _ in self._numbered()]
        if self._text() != "chunks":
            raise Problem("damaged array in pieces: expected its chunks")
        chunks = [self._array(*self._header()) for _ in self._numbered()]
        dtypes = {chunk.dtype for chunk in chunks}
        if len(dtypes) != 1:
            raise Problem("damaged array in pieces: expected chunks of one dtype")
        shape = checked_shape(sizes, dtype := dtypes.pop())
        if sum(nbytes_of(chunk.shape, dtype) for chunk in chunks) != nbytes_of(shape, dtype):
            raise Problem(f"damaged array in pieces: the chunks do not make up shape {list(shape)}")
        return shape, dtype, partial(_load_chunks, self._path, shape, dtype, chunks)

    def _numbered(self) -> Iterator[int]:
        """Steps through a map with the keys "0", "1", ..., each value being read by the caller."""
        kind, count = self._header()
        if kind != "map":
            raise Problem("damaged array in pieces: expected a map")
        for index in range(count):
            if self._text() != str(index):
                raise Problem(f"damaged array in pieces: number {index} is missing")
            yield index

    def _header(self) -> tuple[str, int]:
        """The kind of the next value, and its length (of maps and arrays the number of items, of numbers the value)."""
        self._headers += 1
        if self._headers > _MAX_HEADERS:
            raise Problem(f"more than {_MAX_HEADERS:,} values, a DistilBERT has about a thousand")
        byte = self._take(1)[0]
        for kind, low, high in (("int", 0x00, 0x7F), ("map", 0x80, 0x8F), ("array", 0x90, 0x9F), ("str", 0xA0, 0xBF)):
            if byte <= high:
                return kind, byte - low
        kind, size = _HEADERS.get(byte, ("something unknown", 0))
        if kind == "ext" and byte >= 0xD4:
            return kind, size
        return kind, int.from_bytes(self._take(size), "big")

    def _text(self) -> str:
        kind, length = self._header()
        if kind != "str" or length > _MAX_TEXT:
            raise Problem(f"expected text of at most {_MAX_TEXT} bytes as a name, found {kind}")
        try:
            return self._take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise Problem("expected a name in UTF-8") from None

    def _integer(self) -> int:
        kind, value = self._header()
        if kind != "int":
            raise Problem(f"expected a size, found {kind}")
        return value

    def _expect(self, kind: str, count: int) -> None:
        if self._header() != (kind, count):
            raise Problem(f"damaged array: expected {kind} of {count}")

    def _expect_bytes(self, nbytes: int) -> int:
        """Step over the values of an array; where they begin."""
        kind, length = self._header()
        if kind != "bin" or length != nbytes:
            raise Problem(f"expected {nbytes:,} bytes of values, found {kind} of {length:,}")
        start = self._position
        if start + length > self._size:
            raise Problem(f"truncated: the values end at byte {start + length:,} of a file of {self._size:,}")
        self._position += length
        return start

    def _take(self, count: int) -> bytes:
        self._stream.seek(self._position)
        taken = read_exactly(self._stream, count)
        if len(taken) < count:
            raise Problem(f"truncated: the file ends at byte {self._size:,} in the middle of a value")
        self._position += count
        return taken


def _load_chunks(path: Path, shape: tuple[int, ...], dtype: Dtype, chunks: Sequence[_Array]) -> Array:
    values = np.empty(nbytes_of(shape, dtype) // dtype.itemsize, dtype)
    start = 0
    for chunk in chunks:
        part = load_array(path, chunk.offset, chunk.shape, chunk.dtype).reshape(-1)
        values[start : start + part.size] = part
        start += part.size
    return values.reshape(shape)
