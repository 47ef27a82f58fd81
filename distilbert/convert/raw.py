# SPDX-License-Identifier: Apache-2.0
"""What all weights files share: arithmetic on headers, mapped reading, blockwise writing, the wording of errors.

No file format is known here, except by its first bytes when a file turns out to be the wrong one.
"""

from __future__ import annotations

import math
import mmap
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence, Sized
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from distilbert.convert.tensor import Array, StoredTensor
from distilbert.errors import FileError, WeightsError, describe
from distilbert.files import check_regular_file

Bytes = NDArray[np.uint8]
Dtype = np.dtype[np.generic]

BLOCK = 1 << 20  # bytes written, copied or checked at a time
_MAP_FROM = 1 << 18  # bytes; a mapping keeps a file handle for as long as it lives, so small tensors are read instead
_MAX_RANK = 32
_MAX_PROBLEMS = 20

_LOOKS = (
    (b"version https://git-lfs", "a Git LFS pointer: the weights themselves were not downloaded (run `git lfs pull`)"),
    (b"PK\x03\x04", "a zip archive, as torch.save writes (pytorch_model.bin)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (tf_model.h5)"),
    (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19", "a file of torch.save before 1.6 (pytorch_model.bin)"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"\x1f\x8b", "a gzip-compressed file (unpack it first)"),
    (b"<", "a web page or XML text, not the file itself"),
    (b"{", "JSON text"),
)


class Problem(Exception):
    """A problem with one tensor or one header; the codec adds the file's path and the tensor's name."""


def refuse(path: Path, problems: Sequence[str]) -> WeightsError:
    """The error that lists all problems found in a file (the first twenty in full)."""
    rest = len(problems) - _MAX_PROBLEMS
    return WeightsError(describe(str(path), [*problems[:_MAX_PROBLEMS], *([f"and {rest} more"] if rest > 0 else [])]))


def wrong_format(path: Path, expected: str, head: bytes) -> WeightsError:
    """The error for a file that is not what its name says, with what it looks like instead."""
    found = recognised(head) or f"something else (it begins with the bytes {head[:8].hex(' ')})"
    return WeightsError(f"{path}: expected {expected}, found {found}")


def recognised(head: bytes) -> str | None:
    """What a file that begins with `head` looks like, if it is a known thing with a signature."""
    if not head:
        return "an empty file"
    if head[8:10] == b'{"':
        return "a safetensors file"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return next((look for start, look in _LOOKS if text.startswith(start)), None)


def shown(value: object) -> str:
    """A name or number from a file, fit for a message whatever it holds; of anything deeper only the kind."""
    if (
        isinstance(value, list | tuple)
        and len(value) <= 8
        and all(isinstance(item, str | int | float) for item in value)
    ):
        return f"[{', '.join(map(shown, value))}]"
    if not isinstance(value, str | bytes | int | float | None):
        return f"a {type(value).__name__} of {len(value)}" if isinstance(value, Sized) else f"a {type(value).__name__}"
    text = str(value)
    if len(text) > 200:
        text = text[:200] + "..."
    return text if text.isprintable() and text else repr(text)


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8 (JSON and pickle can smuggle in half a surrogate pair)."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def open_binary(path: Path) -> Iterator[FileIO]:
    """Open a regular file for unbuffered reading; FileError when it is missing, unreadable or not a regular file."""
    check_regular_file(path)
    try:
        stream = FileIO(path)
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror or error})") from None
    with stream:
        yield stream


@contextmanager
def create_binary(path: Path, mode: Literal["wb", "r+b"] = "wb") -> Iterator[BinaryIO]:
    """Open a file for writing; FileError when that fails, now or later (a full disk)."""
    try:
        with open(path, mode) as stream:
            yield stream
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror or error})") from None


def size_of(stream: FileIO) -> int:
    """Size of an open file in bytes."""
    return os.fstat(stream.fileno()).st_size


def checked_shape(value: object, dtype: Dtype) -> tuple[int, ...]:
    """`value` as a shape whose array can exist; Problem otherwise."""
    if isinstance(value, list | tuple) and len(value) > _MAX_RANK:
        raise Problem(f"{len(value)} dimensions, at most {_MAX_RANK} are accepted")
    if not isinstance(value, list | tuple) or not all(type(size) is int and size >= 0 for size in value):
        raise Problem(f"expected a shape of non-negative integers, found {shown(value)}")
    if math.prod(max(size, 1) for size in value) * dtype.itemsize >= 1 << 62:
        raise Problem(f"impossible shape {shown(value)}")
    return tuple(value)


def nbytes_of(shape: tuple[int, ...], dtype: Dtype) -> int:
    """Bytes that an array of this shape and dtype takes."""
    return math.prod(shape) * dtype.itemsize


def read_bytes(path: Path, offset: int, nbytes: int, itemsize: int = 1) -> Bytes:
    """Bytes of a file: mapped as a private copy when large and aligned to `itemsize`, else read.

    Mapped memory is as good as an array of one's own (it can be written to, the file never changes) but costs nothing
    until it is touched, and is returned when the array dies.
    """
    with open_binary(path) as stream:
        if size_of(stream) < offset + nbytes:
            raise WeightsError(f"{path}: truncated while it was in use")
        if nbytes >= _MAP_FROM and offset % itemsize == 0:
            start = offset - offset % mmap.ALLOCATIONGRANULARITY
            mapped = mmap.mmap(stream.fileno(), offset - start + nbytes, access=mmap.ACCESS_COPY, offset=start)
            return np.frombuffer(mapped, np.uint8, count=nbytes, offset=offset - start)
        stream.seek(offset)
        values = np.empty(nbytes, np.uint8)
        if fill(stream, values.data) != nbytes:
            raise WeightsError(f"{path}: truncated while it was in use")
        return values


def load_array(path: Path, offset: int, shape: tuple[int, ...], dtype: Dtype) -> Array:
    """The array of C-ordered values at `offset` of a file."""
    return read_bytes(path, offset, nbytes_of(shape, dtype), dtype.itemsize).view(dtype).reshape(shape)


def fill(stream: FileIO, buffer: memoryview) -> int:
    """Read until `buffer` is full or the file ends; how many bytes were read."""
    filled = 0
    while filled < len(buffer):
        count = stream.readinto(buffer[filled:])
        if not count:
            break
        filled += count
    return filled


def read_exactly(stream: FileIO, nbytes: int) -> bytes:
    """The next bytes of a file, or fewer at its end."""
    buffer = np.empty(nbytes, np.uint8)
    return buffer[: fill(stream, buffer.data)].tobytes()


def check_tensors(path: Path, tensors: Sequence[StoredTensor], dtypes: Collection[Dtype], kind: str) -> None:
    """Raise WeightsError unless the names are distinct and a file of this kind can hold the dtypes."""
    count = Counter(tensor.name for tensor in tensors)
    problems = [f"{shown(name)}: given {times} times" for name, times in count.items() if times > 1]
    for tensor in tensors:
        if native(tensor.dtype) not in dtypes:
            problems.append(f"{shown(tensor.name)}: {kind} cannot hold dtype {tensor.dtype}")
        if not is_text(tensor.name):
            problems.append(f"{shown(tensor.name)}: the name is not valid Unicode text")
    if problems:
        raise refuse(path, problems)


def native(dtype: Dtype) -> Dtype:
    """The dtype in this machine's byte order."""
    return dtype.newbyteorder("=")


def blocks(path: Path, tensor: StoredTensor) -> Iterator[memoryview]:
    """Load a tensor and yield its values in C order, whatever their order in memory, about a megabyte at a time.

    Raises:
        WeightsError: what `load` returns is not what the tensor promised.
    """
    array = tensor.load()
    if array.shape != tensor.shape or array.dtype != tensor.dtype:
        raise WeightsError(
            f"{path}: {shown(tensor.name)}: expected {tensor.dtype} {list(tensor.shape)}, "
            f"loaded {array.dtype} {list(array.shape)}"
        )
    if not array.size:
        return
    array = array.reshape(-1) if array.flags.c_contiguous else np.atleast_1d(array)
    rows = max(1, BLOCK // (array.nbytes // len(array)))
    for start in range(0, len(array), rows):
        yield np.ascontiguousarray(array[start : start + rows], native(array.dtype)).reshape(-1).view(np.uint8).data
