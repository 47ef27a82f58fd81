# SPDX-License-Identifier: Apache-2.0
"""`model.safetensors`: a JSON header with shapes, dtypes and offsets, then the values without gaps.

Which framework's names the tensors bear is not known here (`metadata["format"]` says it). The header is checked more
strictly than by the reference implementation, which lets a doubled name win; the bytes written are the same as its own.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert.convert.raw import (
    Dtype,
    Problem,
    blocks,
    check_tensors,
    checked_shape,
    create_binary,
    is_text,
    load_array,
    native,
    nbytes_of,
    open_binary,
    read_exactly,
    refuse,
    shown,
    size_of,
    wrong_format,
)
from distilbert.convert.tensor import BFLOAT16, StoredFile, StoredTensor
from distilbert.errors import FileError, WeightsError
from distilbert.files import parse_json

# The format allows 100 MB, which as nested JSON could take gigabytes to parse; the header of a DistilBERT is 12 KB.
HEADER_LIMIT = 10 * 1024 * 1024

# In the order in which the reference implementation writes tensors of different dtypes.
DTYPES: dict[str, Dtype] = {
    "U64": np.dtype(np.uint64),
    "I64": np.dtype(np.int64),
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "U32": np.dtype(np.uint32),
    "I32": np.dtype(np.int32),
    "BF16": BFLOAT16,
    "F16": np.dtype(np.float16),
    "U16": np.dtype(np.uint16),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_RANK = {dtype: rank for rank, dtype in enumerate(DTYPES.values())}
_METADATA = "__metadata__"


def read(path: Path) -> StoredFile:
    """Check the header of a safetensors file; values are read when a tensor is loaded.

    Raises:
        WeightsError: the file is damaged or is not a safetensors file.
        FileError: the file cannot be read.
    """
    with open_binary(path) as stream:
        size = size_of(stream)
        head = read_exactly(stream, min(size, 64))
        header_size = int.from_bytes(head[:8], "little")
        if size < 8 or head[8:9] != b"{":
            raise wrong_format(path, "a safetensors file", head)
        if header_size > HEADER_LIMIT:
            raise WeightsError(f"{path}: a header of {header_size:,} bytes, at most {HEADER_LIMIT:,} are accepted")
        if header_size > size - 8:
            raise WeightsError(f"{path}: truncated: a header of {header_size:,} bytes in a file of {size:,}")
        stream.seek(8)
        header = _parse(path, read_exactly(stream, header_size))
    metadata = _metadata(path, header.pop(_METADATA, {}))
    return StoredFile(_tensors(path, header, 8 + header_size, size), metadata)


def write(path: Path, tensors: Sequence[StoredTensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, one tensor in memory at a time.

    Raises:
        WeightsError: a name is given twice, or a dtype has no name in this format.
    """
    check_tensors(path, tensors, _NAMES, "a safetensors file")
    if any(tensor.name == _METADATA for tensor in tensors):
        raise WeightsError(f"{path}: no tensor can be called {_METADATA} in a safetensors file")
    ordered = sorted(tensors, key=lambda tensor: (_RANK[native(tensor.dtype)], tensor.name))
    header: dict[str, Any] = {_METADATA: dict(sorted(metadata.items()))} if metadata else {}
    offset = 0
    for tensor in ordered:
        end = offset + tensor.nbytes
        dtype = _NAMES[native(tensor.dtype)]
        header[tensor.name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    encoded += b" " * (-len(encoded) % 8)
    with create_binary(path) as stream:
        stream.write(struct.pack("<Q", len(encoded)) + encoded)
        for tensor in ordered:
            stream.writelines(blocks(path, tensor))


def _parse(path: Path, encoded: bytes) -> dict[str, Any]:
    try:
        return parse_json(encoded.decode("utf-8"), f"{path}: header")
    except UnicodeDecodeError as error:
        raise WeightsError(f"{path}: header: expected UTF-8, found byte {encoded[error.start]:#04x}") from None
    except FileError as error:
        raise WeightsError(str(error)) from None


def _metadata(path: Path, value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise WeightsError(f"{path}: {_METADATA}: expected an object of strings")
    if not all(is_text(key) and is_text(text) for key, text in value.items()):
        raise WeightsError(f"{path}: {_METADATA}: expected valid Unicode text")
    return value


def _tensors(path: Path, header: dict[str, Any], start: int, size: int) -> dict[str, StoredTensor]:
    tensors: list[tuple[int, int, StoredTensor]] = []
    problems: list[str] = []
    for name, entry in header.items():
        try:
            if not is_text(name):
                raise Problem("the name is not valid Unicode text")
            shape, dtype, begin, end = _entry(entry)
        except Problem as problem:
            problems.append(f"{shown(name)}: {problem}")
            continue
        load = partial(load_array, path, start + begin, shape, dtype)
        tensors.append((begin, end, StoredTensor(name, shape, dtype, load)))
    if problems:
        raise refuse(path, problems)
    tensors.sort(key=lambda item: item[:2])
    _check_cover(path, tensors, size - start)
    return {tensor.name: tensor for _, _, tensor in tensors}


def _entry(entry: object) -> tuple[tuple[int, ...], Dtype, int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise Problem("expected an object with dtype, shape and data_offsets")
    name, offsets = entry["dtype"], entry["data_offsets"]
    if not isinstance(name, str) or name not in DTYPES:
        raise Problem(f"unknown dtype {shown(name)}, expected one of {', '.join(DTYPES)}")
    dtype = DTYPES[name]
    shape = checked_shape(entry["shape"], dtype)
    if not (isinstance(offsets, list) and len(offsets) == 2 and all(type(offset) is int for offset in offsets)):
        raise Problem(f"expected two integers as data_offsets, found {shown(offsets)}")
    begin, end = offsets
    if begin < 0 or end - begin != nbytes_of(shape, dtype):
        raise Problem(f"{name} {list(shape)} takes {nbytes_of(shape, dtype)} bytes, data_offsets are {shown(offsets)}")
    return shape, dtype, begin, end


def _check_cover(path: Path, tensors: list[tuple[int, int, StoredTensor]], available: int) -> None:
    """The tensors must fill the file from the header to the end: no gap, no overlap."""
    position = 0
    for begin, end, tensor in tensors:
        if begin != position:
            fault = "overlaps the tensor before it" if begin < position else "leaves a gap before it"
            raise WeightsError(f"{path}: {shown(tensor.name)}: begins at {begin}, expected {position}: {fault}")
        position = end
    if position > available:
        raise WeightsError(f"{path}: truncated: the tensors take {position:,} bytes, the file has {available:,}")
    if position < available:
        raise WeightsError(f"{path}: {available - position:,} bytes after the last tensor, expected none")
