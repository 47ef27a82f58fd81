# SPDX-License-Identifier: Apache-2.0
"""Finds groups, attributes and plain datasets in an HDF5 file, as h5py (and so Keras) writes it by default.

Files are not opened with the HDF5 library: on a damaged one it can loop for ever, and a dataset that lies about its
compression is filled with stray memory. This reader covers what Keras writes and refuses the rest by name: links out of
the file or to other names, data in other files, compressed or chunked data, data that was never written. It gives up
when the structure alone takes more than `_BUDGET` bytes to read, so its work is bounded. It never reads values.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO

from distilbert.convert.hdf5_messages import (
    Text,
    attribute,
    decoded,
    dtype_of,
    heap_objects,
    is_opaque,
    messages,
    shape_of,
    unpack,
)
from distilbert.convert.raw import Dtype, Problem, checked_shape, nbytes_of, read_exactly, shown, size_of
from distilbert.convert.tensor import BFLOAT16

SIGNATURE = b"\x89HDF\r\n\x1a\n"
TOP_LEVEL = "top_level_model_weights"  # a group beside the layers, for weights of the model itself

_BUDGET = 8 * 1024 * 1024  # bytes; the structure of a DistilBERT has 150 KB
_COST = 64  # bytes that each access costs at least
_UNDEFINED = (1 << 64) - 1
_SOFT_LINK = 2
_MAX_DEPTH = 16  # groups inside groups; a weight of Keras has five
_MAX_NAME = 1000  # bytes in the name of a link

_NEWER = "an HDF5 file in the newer layout (libver='latest'), expected the default one, which Keras writes"

# Types of messages in the header of an object.
_SPACE, _TYPE, _EXTERNAL_FILES, _LAYOUT, _FILTERS, _ATTRIBUTE, _CONTINUATION, _SYMBOLS = 1, 3, 7, 8, 11, 12, 16, 17
_NEW_LINKS = (2, 6)


@dataclass(frozen=True)
class Dataset:
    """Plain values: their shape, dtype (with the file's byte order) and offset in the file."""

    shape: tuple[int, ...]
    dtype: Dtype
    offset: int


class Structure:
    """The objects of one open file, each known by its address."""

    def __init__(self, stream: FileIO) -> None:
        self._stream = stream
        self._size = size_of(stream)
        self._left = _BUDGET
        self._messages: dict[int, dict[int, list[bytes]]] = {}
        self._links: dict[int, dict[str, int | None]] = {}
        self._attributes: dict[int, dict[str, tuple[bytes, bytes, bytes]]] = {}
        self._heaps: dict[int, dict[int, bytes]] = {}
        self.root = self._superblock()

    def is_group(self, address: int) -> bool:
        """Whether the object is a group; else it is a dataset or something refused later."""
        return any(kind in self._header(address) for kind in (_SYMBOLS, *_NEW_LINKS))

    def find(self, address: int, path: str) -> int:
        """The object at `path` below a group, by hard links only."""
        for name in path.split("/"):
            links = self._group(address)
            if name not in links:
                raise Problem(f"{shown(path)}: not in the file ({shown(name)} is missing)")
            target = links[name]
            if target is None:
                raise Problem(f"{shown(path)}: {shown(name)} is a link to another name, which is refused")
            address = target
        return address

    def has(self, address: int, name: str) -> bool:
        """Whether a group holds a link of this name, of whatever kind."""
        return name in self._group(address)

    def datasets(self, address: int, path: str = "") -> Iterator[tuple[str, int]]:
        """The path and address of each dataset below a group, by hard links only.

        A link back to a group above would repeat for ever: so depth is limited, and each link has its cost.
        """
        if path.count("/") > _MAX_DEPTH:
            raise Problem(f"{shown(path)}: groups nested more than {_MAX_DEPTH} deep")
        for name, target in self._group(address).items():
            self._pay(_COST)
            below = f"{path}/{name}" if path else name
            if target is None:
                raise Problem(f"{shown(below)}: a link to another name, which is refused")
            if self.is_group(target):
                yield from self.datasets(target, below)
            else:
                yield below, target

    def texts(self, address: int, name: str) -> list[str] | None:
        """An attribute of one or several texts, also one that Keras split into name0, name1...; None when absent."""
        found = self._attribute(address, name)
        if found is not None:
            return found
        parts: list[str] = []
        index = 0
        while (found := self._attribute(address, f"{name}{index}")) is not None:
            parts += found
            index += 1
        return parts if index else None

    def dataset(self, address: int) -> Dataset:
        """The description of a dataset; Problem unless its values lie plainly in this file."""
        messages = self._header(address)
        if _EXTERNAL_FILES in messages:
            raise Problem("its values are in another file, which is refused")
        if _FILTERS in messages:
            raise Problem("compressed or filtered values, expected plain ones as Keras writes")
        if not all(len(messages.get(kind, [])) == 1 for kind in (_SPACE, _TYPE, _LAYOUT)):
            raise Problem("expected a dataset with one shape, one type and one place")
        opaque = is_opaque(messages[_TYPE][0], BFLOAT16.itemsize) and self.texts(address, "dtype") == [BFLOAT16.name]
        dtype = BFLOAT16 if opaque else dtype_of(messages[_TYPE][0])  # opaque with a note: so Keras 3 writes bfloat16
        if isinstance(dtype, Text):
            raise Problem("text, expected numbers")
        shape = checked_shape(shape_of(messages[_SPACE][0]), dtype)
        if messages[_LAYOUT][0][:2] != b"\x03\x01":
            raise Problem("chunked or virtual values, expected plain ones as Keras writes")
        offset, nbytes = unpack("<QQ", messages[_LAYOUT][0][2:])
        expected = nbytes_of(shape, dtype)
        if nbytes != expected:
            raise Problem(f"{dtype} {list(shape)} takes {expected:,} bytes, the file holds {nbytes:,}")
        if expected and offset == _UNDEFINED:
            raise Problem("its values were never written")
        if expected and offset + expected > self._size:
            raise Problem(f"its values end at byte {offset + expected:,} of a file of {self._size:,}")
        return Dataset(shape, dtype, offset if expected else 0)

    def _superblock(self) -> int:
        head = self._at(0, 96)
        if head[8] != 0:
            raise Problem(_NEWER)
        sizes, base, end, root = head[13:15], *unpack("<Q8xQ", head[24:]), *unpack("<Q", head[64:])
        if sizes != b"\x08\x08" or base:
            raise Problem("an HDF5 file with a foreign block before it or unusual addresses, which is refused")
        if end != self._size:
            found = "truncated" if end > self._size else "followed by foreign bytes"
            raise Problem(f"{found}: the file has {self._size:,} bytes, its header says {end:,}")
        return int(root)

    def _at(self, address: int, count: int) -> bytes:
        self._pay(count + _COST)
        if address + count > self._size:
            raise Problem(f"damaged or truncated: byte {address + count:,} is needed, the file has {self._size:,}")
        self._stream.seek(address)
        return read_exactly(self._stream, count)

    def _pay(self, cost: int) -> None:
        self._left -= cost
        if self._left < 0:
            raise Problem(f"damaged: the structure of the file takes more than {_BUDGET:,} bytes")

    def _signed(self, address: int, count: int, signature: bytes) -> bytes:
        block = self._at(address, count)
        if not block.startswith(signature):
            raise Problem(_NEWER if block.startswith(b"OHDR") else f"damaged: no {signature!r} at byte {address:,}")
        return block

    def _header(self, address: int) -> dict[int, list[bytes]]:
        """The messages of an object by type."""
        if address not in self._messages:
            _, size = unpack("<HxxxxI", self._signed(address, 16, b"\x01\x00")[2:])
            found: dict[int, list[bytes]] = defaultdict(list)
            blocks = [(address + 16, size)]
            while blocks:
                block = self._at(*blocks.pop(0))
                for kind, content in messages(block):
                    found[kind].append(content)
                    if kind == _CONTINUATION:
                        start, length = unpack("<QQ", content)
                        blocks.append((start, length))
            self._messages[address] = dict(found)
        return self._messages[address]

    def _group(self, address: int) -> dict[str, int | None]:
        """The links of a group: the address of each object, None for a soft link."""
        if address not in self._links:
            messages = self._header(address)
            if any(kind in messages for kind in _NEW_LINKS):
                raise Problem(
                    "a group with links out of the file or of another kind that Keras does not write: refused"
                )
            if len(messages.get(_SYMBOLS, [])) != 1:
                raise Problem("expected a group, found something else on the way to a weight")
            tree, heap = unpack("<QQ", messages[_SYMBOLS][0])
            size, data = unpack("<Q8xQ", self._signed(heap, 32, b"HEAP\x00")[8:])
            names = self._at(data, size)
            links: dict[str, int | None] = {}
            for name, target in self._entries(tree, names, None):
                if name in links:
                    raise Problem(f"{shown(name)}: occurs twice in a group")
                links[name] = target
            self._links[address] = links
        return self._links[address]

    def _entries(self, address: int, names: bytes, level: int | None) -> Iterator[tuple[str, int | None]]:
        """The links below one node of the tree that sorts a group's links by name."""
        found, count = unpack("<BH", self._signed(address, 24, b"TREE\x00")[5:])
        if level is not None and found != level:
            raise Problem("damaged: a group's tree of links is uneven")
        keys = self._at(address + 24, 16 * count + 8)
        for index in range(count):
            (child,) = unpack("<Q", keys[16 * index + 8 :])
            if found:
                yield from self._entries(child, names, found - 1)
            else:
                yield from self._symbols(child, names)

    def _symbols(self, address: int, names: bytes) -> Iterator[tuple[str, int | None]]:
        (count,) = unpack("<H", self._signed(address, 8, b"SNOD\x01")[6:])
        table = self._at(address + 8, 40 * count)
        for index in range(count):
            start, target, cached = unpack("<QQI", table[40 * index :])
            end = names.find(b"\x00", start, start + _MAX_NAME)
            if end < 0:
                raise Problem("damaged: a link without a name")
            yield decoded(names[start:end]), None if cached == _SOFT_LINK else target

    def _attribute(self, address: int, name: str) -> list[str] | None:
        if address not in self._attributes:
            found: dict[str, tuple[bytes, bytes, bytes]] = {}
            for message in self._header(address).get(_ATTRIBUTE, []):
                key, *rest = attribute(message)
                if key in found:
                    raise Problem(f"attribute {shown(key)}: occurs twice")
                found[key] = (rest[0], rest[1], rest[2])
            self._attributes[address] = found
        parts = self._attributes[address].get(name)
        return None if parts is None else self._texts(name, *parts)

    def _texts(self, name: str, dtype: bytes, space: bytes, data: bytes) -> list[str]:
        shape = shape_of(space)
        count = 0 if shape is None else math.prod(shape)
        if shape is None or not count:
            return []
        text = dtype_of(dtype)
        if not isinstance(text, Text) or len(shape) > 1 or text.size * count > len(data) or not text.size:
            raise Problem(f"attribute {shown(name)}: expected a list of texts")
        items = [data[index * text.size : (index + 1) * text.size] for index in range(count)]
        return [decoded(self._from_heap(item) if text.in_heap else item.split(b"\x00")[0]) for item in items]

    def _from_heap(self, reference: bytes) -> bytes:
        length, address, index = unpack("<IQI", reference)
        if address not in self._heaps:
            (size,) = unpack("<Q", self._signed(address, 16, b"GCOL\x01")[8:])
            self._heaps[address] = dict(heap_objects(self._at(address, size)))
        found = self._heaps[address].get(index)
        if found is None or length > len(found):
            raise Problem("damaged: a text is missing in the file")
        self._left -= length
        return found[:length]
