# SPDX-License-Identifier: Apache-2.0
"""The small pieces of an HDF5 file decoded: messages of an object's header, types, shapes, attributes, heaps of text.

Where the pieces are in a file is the business of `hdf5_structure.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from distilbert.convert.raw import Dtype, Problem, shown
from distilbert.convert.tensor import BFLOAT16

# Size in bytes and sign bit; then where the bits of the number, its exponent and its mantissa begin, and how many each
# has; last the bias of the exponent.
_FLOATS: dict[tuple[int, int, bytes], Dtype] = {
    (8, 63, struct.pack("<HHBBBBI", 0, 64, 52, 11, 0, 52, 1023)): np.dtype(np.float64),
    (4, 31, struct.pack("<HHBBBBI", 0, 32, 23, 8, 0, 23, 127)): np.dtype(np.float32),
    (2, 15, struct.pack("<HHBBBBI", 0, 16, 10, 5, 0, 10, 15)): np.dtype(np.float16),
    (2, 15, struct.pack("<HHBBBBI", 0, 16, 7, 8, 0, 7, 127)): BFLOAT16,
}


@dataclass(frozen=True)
class Text:
    """The type of text in attributes: of a fixed size, or (size 16) a reference into a heap."""

    size: int
    in_heap: bool


def unpack(form: str, data: bytes) -> tuple[int, ...]:
    """Numbers from the beginning of `data`; Problem when it is too short."""
    if struct.calcsize(form) > len(data):
        raise Problem("damaged: part of the structure of the file is cut off")
    return struct.unpack_from(form, data)


def decoded(text: bytes) -> str:
    """A name; Problem unless it is UTF-8."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(f"{shown(text)}: expected a name in UTF-8") from None


def messages(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of the messages in one block of an object's header."""
    position = 0
    while position + 8 <= len(block):
        kind, size, flags = unpack("<HHB", block[position : position + 8])
        content = block[position + 8 : position + 8 + size]
        if len(content) < size:
            raise Problem("damaged: part of an object's header is cut off")
        if flags & 2:
            raise Problem("a named type or other shared description, which Keras does not write: refused")
        yield kind, content
        position += 8 + size


def attribute(message: bytes) -> tuple[str, bytes, bytes, bytes]:
    """Name, type, shape and data of an attribute."""
    version, flags, *sizes = unpack("<BBHHH", message)
    if version not in (1, 2, 3) or (version > 1 and flags):
        raise Problem("an attribute of a kind that Keras does not write: refused")
    step = 8 if version == 1 else 1  # the parts of version 1 are padded
    position = 9 if version == 3 else 8
    parts = []
    for size in sizes:
        parts.append(message[position : position + size])
        position += size + -size % step
    return decoded(parts[0].rstrip(b"\x00")), parts[1], parts[2], message[position:]


def shape_of(space: bytes) -> tuple[int, ...] | None:
    """The shape in a message or attribute; None where there is no value at all."""
    version, rank, _, kind = unpack("<BBBB", space)
    if version == 2 and kind == 2:
        return None
    if version not in (1, 2):
        raise Problem("damaged: a shape of an unknown kind")
    return unpack(f"<{rank}Q", space[8 if version == 1 else 4 :])


def dtype_of(message: bytes) -> Dtype | Text:
    """The type of elements, with the file's byte order; Problem for what weights never have."""
    kind, order, sign, _, size = unpack("<BBBBI", message)
    kind &= 0x0F
    if kind == 1:
        dtype = _FLOATS.get((size, sign, message[8:20]))
        if dtype is not None and not order & 0x40 and (dtype != BFLOAT16 or not order & 1):
            return dtype.newbyteorder(">") if order & 1 else dtype
    if kind == 0 and size in (1, 2, 4, 8) and message[8:12] == struct.pack("<HH", 0, 8 * size):
        return np.dtype(f"{'>' if order & 1 else '<'}{'i' if order & 8 else 'u'}{size}")
    if kind == 3:
        return Text(size, in_heap=False)
    if kind == 9 and order & 0x0F == 1 and size == 16:
        return Text(size, in_heap=True)
    kinds = {0: "integers", 1: "floating point", 5: "opaque bytes", 6: "compound", 8: "an enumeration", 9: "lists"}
    raise Problem(f"{kinds.get(kind, 'values')} of a type that no weight has")


def is_opaque(message: bytes, size: int) -> bool:
    """Whether the elements are bytes without a meaning, `size` of them each."""
    kind, found = unpack("<B3xI", message)
    return bool(kind & 0x0F == 5 and found == size)


def heap_objects(collection: bytes) -> Iterator[tuple[int, bytes]]:
    """The numbered pieces of a collection of texts."""
    position = 16
    while position + 16 <= len(collection):
        index, size = unpack("<H6xQ", collection[position:])
        if not index:
            return
        yield index, collection[position + 16 : position + 16 + size]
        position += 16 + size + -size % 8
