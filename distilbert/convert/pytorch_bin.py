# SPDX-License-Identifier: Apache-2.0
"""`pytorch_model.bin`: what torch.save writes, read and written without PyTorch and without running a pickle.

Both containers are read, the zip archive of PyTorch 1.6 and later and the stream before it; the archive is written. The
pickle inside is the business of `pytorch_unpickler.py`, the archive of `stored_zip.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert.convert.pytorch_objects import Storage, View
from distilbert.convert.pytorch_pickler import STORAGE_NAMES, pickle
from distilbert.convert.pytorch_unpickler import unpickle
from distilbert.convert.raw import (
    Problem,
    blocks,
    check_tensors,
    create_binary,
    nbytes_of,
    open_binary,
    read_bytes,
    read_exactly,
    refuse,
    shown,
    size_of,
    wrong_format,
)
from distilbert.convert.stored_zip import Record, ZipWriter, check_crc, read_records
from distilbert.convert.tensor import Array, StoredFile, StoredTensor
from distilbert.errors import WeightsError

PICKLE_LIMIT = 4 * 1024 * 1024  # bytes; the pickle of a DistilBERT has 15 KB
_EXPANDED_LIMIT = 64 * 1024 * 1024  # bytes; a few stored values can claim to be any number of them (stride 0)
_MAGIC = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")  # a number that begins the stream of PyTorch before 1.6
_VERSION = 1001


def read(path: Path) -> StoredFile:
    """Check the pickle and container of a torch.save file; values are read when a tensor is loaded.

    Accepts a mapping of names to tensors, or one that holds it under "state_dict", as training scripts save.

    Raises:
        WeightsError: the file is damaged, holds anything but plain values and tensors, or is not a torch.save file.
        FileError: the file cannot be read.
    """
    with open_binary(path) as stream:
        head = read_exactly(stream, 64)
    try:
        if head.startswith(b"PK\x03\x04"):
            return _read_archive(path)
        if head.startswith(b"\x80") and _MAGIC in head[:32]:
            return _read_stream(path)
    except Problem as problem:
        raise WeightsError(f"{path}: {problem}") from None
    raise wrong_format(path, "a file of torch.save", head)


def write(
    path: Path, tensors: Sequence[StoredTensor], metadata: Mapping[str, str], shared: Mapping[str, str] | None = None
) -> None:
    """Write a torch.save archive, one tensor in memory at a time.

    Args:
        path: where to write.
        tensors: what to write, in this order.
        metadata: dropped; the format has no place for it.
        shared: further names, each for one of `tensors`, whose storage it shares (a tied projector).

    Raises:
        WeightsError: a name is given twice, or a dtype has no storage class in PyTorch.
    """
    check_tensors(path, tensors, STORAGE_NAMES, "pytorch_model.bin")
    keys = {tensor.name: str(index) for index, tensor in enumerate(tensors)}
    aliases = _aliases(path, tensors, shared or {})
    pickled = pickle([(tensor, keys[tensor.name]) for tensor in tensors] + [(t, keys[name]) for name, t in aliases])
    with create_binary(path) as stream:
        archive = ZipWriter(stream)
        archive.add("archive/data.pkl", [pickled])
        archive.add("archive/byteorder", [b"little"])
        for tensor in tensors:
            archive.add(f"archive/data/{keys[tensor.name]}", blocks(path, tensor))
        archive.add("archive/version", [b"3\n"])
        archive.close()


def _aliases(path: Path, tensors: Sequence[StoredTensor], shared: Mapping[str, str]) -> list[tuple[str, StoredTensor]]:
    by_name = {tensor.name: tensor for tensor in tensors}
    for alias, name in shared.items():
        if alias in by_name or name not in by_name:
            raise WeightsError(f"{path}: {shown(alias)}: cannot share the storage of {shown(name)}")
    return [(name, by_name[name].renamed(alias)) for alias, name in shared.items()]


def _read_archive(path: Path) -> StoredFile:
    records = read_records(path)
    prefix = _prefix(records)
    if records.get(f"{prefix}/byteorder") and _content(path, records[f"{prefix}/byteorder"]) != b"little":
        raise Problem("written on a big-endian machine, which is not supported")
    pickled = _content(path, records[f"{prefix}/data.pkl"])
    result = unpickle(pickled)
    if result.end != len(pickled):
        raise Problem("bytes after the end of the pickle in data.pkl")

    def locate(storage: Storage) -> tuple[int, Callable[[], None]]:
        record = records.get(f"{prefix}/data/{storage.key}")
        nbytes = nbytes_of((storage.size,), storage.dtype)
        if record is None:
            raise Problem(f"its values, record data/{shown(storage.key)}, are missing in the archive")
        if record.size != nbytes:
            raise Problem(f"record data/{shown(storage.key)} has {record.size:,} bytes, expected {nbytes:,}")
        return record.offset, cache(partial(check_crc, path, record))

    return _stored_file(path, result.value, cache(locate))


def _prefix(records: Mapping[str, Record]) -> str:
    prefixes = [name.removesuffix("/data.pkl") for name in records if name.endswith("/data.pkl")]
    if len(prefixes) != 1:
        raise Problem("a zip archive, but not one of torch.save: expected one record called data.pkl in one folder")
    if f"{prefixes[0]}/constants.pkl" in records:
        raise Problem("a TorchScript program; expected the state_dict of the model, saved with torch.save")
    return prefixes[0]


def _content(path: Path, record: Record) -> bytes:
    if record.size > PICKLE_LIMIT:
        raise Problem(f"record {shown(record.name)}: {record.size:,} bytes, at most {PICKLE_LIMIT:,} are accepted")
    content = read_bytes(path, record.offset, record.size).tobytes()
    if zlib.crc32(content) != record.crc:
        raise Problem(f"record {shown(record.name)}: damaged: its checksum (CRC-32) does not match its bytes")
    return content


def _read_stream(path: Path) -> StoredFile:
    with open_binary(path) as stream:
        size = size_of(stream)
        head = read_exactly(stream, min(size, PICKLE_LIMIT))
    magic = unpickle(head)
    version = unpickle(head, magic.end)
    system = unpickle(head, version.end)
    if version.value != _VERSION or not isinstance(system.value, dict):
        raise Problem(f"expected version {_VERSION} of the torch.save stream, found {shown(version.value)}")
    if system.value.get("little_endian") is not True:
        raise Problem("written on a big-endian machine, which is not supported")
    saved = unpickle(head, system.end)
    keys = unpickle(head, saved.end)
    offsets = _stream_offsets(path, keys.value, saved.storages, keys.end, size)
    return _stored_file(path, saved.value, lambda storage: (offsets[storage.key], _unchecked))


def _unchecked() -> None:
    """The stream has no checksums."""


def _stream_offsets(path: Path, keys: Any, storages: Mapping[str, Storage], position: int, size: int) -> dict[str, int]:
    """Where each storage's values begin: they follow each other, each after its number of elements."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Problem("damaged: expected a list of storages after the tensors")
    if len(set(keys)) != len(keys) or set(keys) != set(storages):
        raise Problem("damaged: the storages in the file are not those that the tensors use")
    offsets: dict[str, int] = {}
    with open_binary(path) as stream:
        for key in keys:
            stream.seek(position)
            count = int.from_bytes(read_exactly(stream, 8), "little")
            if position + 8 <= size and count != storages[key].size:
                raise Problem(f"storage {shown(key)}: {count:,} elements, expected {storages[key].size:,}")
            offsets[key] = position + 8
            position += 8 + nbytes_of((storages[key].size,), storages[key].dtype)
            if position > size:
                raise Problem(f"truncated: {size:,} bytes, but storage {shown(key)} ends at {position:,}")
    if position != size:
        raise Problem(f"{size - position:,} bytes after the last storage, expected none")
    return offsets


def _stored_file(path: Path, value: Any, locate: Callable[[Storage], tuple[int, Callable[[], None]]]) -> StoredFile:
    """The tensors of a state_dict; `locate` says where a storage's values are and how to check them."""
    if isinstance(value, dict) and isinstance(value.get("state_dict"), dict):
        value = value["state_dict"]
    if not isinstance(value, dict):
        raise Problem(f"expected a mapping of names to tensors, found {shown(value)}")
    tensors: dict[str, StoredTensor] = {}
    problems: list[str] = []
    for name, view in value.items():
        try:
            tensors[name] = _stored_tensor(path, name, view, locate)
        except Problem as problem:
            problems.append(f"{shown(name)}: {problem}")
    if problems:
        raise refuse(path, problems)
    return StoredFile(tensors, {})


def _stored_tensor(path: Path, name: Any, view: Any, locate: Callable[[Storage], Any]) -> StoredTensor:
    if not isinstance(name, str):
        raise Problem("expected text as the name of a tensor")
    if not isinstance(view, View):
        raise Problem(f"expected a tensor, found {shown(view)}")
    dtype, size = view.storage.dtype, view.storage.size
    if view.offset + view.extent > size:
        raise Problem(
            f"shape {list(view.shape)}, strides {list(view.strides)} and offset {view.offset} "
            f"reach beyond the {size:,} elements of its storage"
        )
    if nbytes_of(view.shape, dtype) > max(nbytes_of((size,), dtype), _EXPANDED_LIMIT):
        raise Problem(f"shape {list(view.shape)} repeats {size:,} stored elements beyond any use")
    offset, check = locate(view.storage)
    return StoredTensor(name, view.shape, dtype, partial(_load, path, offset, view, check))


def _load(path: Path, offset: int, view: View, check: Callable[[], None]) -> Array:
    check()
    dtype = view.storage.dtype
    if not view.extent:
        return np.empty(view.shape, dtype)
    start = offset + view.offset * dtype.itemsize
    flat = read_bytes(path, start, view.extent * dtype.itemsize, dtype.itemsize).view(dtype)
    strides = [stride * dtype.itemsize for stride in view.strides]
    array: Array = np.lib.stride_tricks.as_strided(flat, view.shape, strides)
    return array if array.flags.forc else np.ascontiguousarray(array)
