# SPDX-License-Identifier: Apache-2.0
"""`flax_model.msgpack`: nested maps of arrays in MessagePack, as flax.serialization writes them.

Names are joined by "/"; what they mean is not known here. The bytes written are those that Flax would write for the
same nested dictionaries. How arrays are found in a file is the business of `msgpack_tree.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgpack  # type: ignore[import-untyped]

from distilbert.convert.msgpack_tree import ARRAY, DTYPES, ArrayTree
from distilbert.convert.raw import (
    Problem,
    blocks,
    check_tensors,
    create_binary,
    native,
    open_binary,
    read_exactly,
    recognised,
    shown,
    wrong_format,
)
from distilbert.convert.tensor import StoredFile, StoredTensor
from distilbert.errors import WeightsError


def read(path: Path) -> StoredFile:
    """Check the structure of a Flax file; values are read when a tensor is loaded. Flax files have no metadata.

    Raises:
        WeightsError: the file is damaged, or holds anything but arrays in nested maps.
        FileError: the file cannot be read.
    """
    with open_binary(path) as stream:
        head = read_exactly(stream, 64)
        if recognised(head) or not (head == b"\x80" or 0x80 < head[0] < 0x90 or head[0] in (0xDE, 0xDF)):
            raise wrong_format(path, "a MessagePack map of arrays", head)
        tree = ArrayTree(path, stream)
        try:
            tree.read()
        except Problem as problem:
            raise WeightsError(f"{path}: {problem}") from None
    return StoredFile(tree.tensors, {})


def write(path: Path, tensors: Sequence[StoredTensor], metadata: Mapping[str, str]) -> None:
    """Write a Flax file, one tensor in memory at a time; `metadata` is dropped, the format has no place for it.

    Raises:
        WeightsError: a name is given twice or is also a folder of names, or Flax has no such dtype.
    """
    check_tensors(path, tensors, DTYPES.values(), "a Flax file")
    tree = nested(path, tensors)
    with create_binary(path) as stream:
        _write_map(path, stream, tree)


def nested(path: Path, tensors: Sequence[StoredTensor]) -> dict[str, Any]:
    """Tensors called "a/b" as {"a": {"b": tensor}}; WeightsError when a name is also a folder of names."""
    tree: dict[str, Any] = {}
    for tensor in tensors:
        *folders, leaf = tensor.name.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
            if isinstance(node, StoredTensor):
                raise WeightsError(
                    f"{path}: {shown(tensor.name)}: {shown(node.name)} is an array, it cannot hold another"
                )
        if leaf in node:
            raise WeightsError(f"{path}: {shown(tensor.name)}: is also a folder of other arrays")
        node[leaf] = tensor
    return tree


def _write_map(path: Path, stream: BinaryIO, tree: Mapping[str, Any]) -> None:
    stream.write(msgpack.Packer().pack_map_header(len(tree)))
    for key, value in tree.items():
        stream.write(msgpack.packb(key))
        if isinstance(value, StoredTensor):
            stream.write(_array_header(path, value))
            stream.writelines(blocks(path, value))
        else:
            _write_map(path, stream, value)


def _array_header(path: Path, tensor: StoredTensor) -> bytes:
    inner: bytes = b"\x93" + msgpack.packb(list(tensor.shape)) + msgpack.packb(native(tensor.dtype).name)
    inner += _sized(tensor.nbytes, 0xC4)
    length = len(inner) + tensor.nbytes
    if length >= 1 << 32:
        raise WeightsError(f"{path}: {shown(tensor.name)}: {length:,} bytes, MessagePack can hold less than 4 GiB")
    fixed = {1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}.get(length)
    header = _sized(length, 0xC7) if fixed is None else bytes([fixed])
    return header + bytes([ARRAY]) + inner


def _sized(length: int, code: int) -> bytes:
    """A length in the fewest bytes, after the first, second or third of three consecutive type codes."""
    if length < 1 << 8:
        return struct.pack(">BB", code, length)
    if length < 1 << 16:
        return struct.pack(">BH", code + 1, length)
    return struct.pack(">BI", code + 2, length)
