# SPDX-License-Identifier: Apache-2.0
"""Bytes in and out: standard streams, gzip, lines with a limit, files written whole or not at all.

What the lines mean is not known here.
"""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Protocol, cast

from distilbert.errors import DistilBertError, FileError
from distilbert.files import atomic_write, check_regular_file
from distilbert.tables.formats import STANDARD, is_gzip

_BUFFER = 1024 * 1024  # bytes
_GZIP_MAGIC = b"\x1f\x8b"  # no UTF-8 text begins like this
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@contextmanager
def open_reader(path: Path) -> Iterator[io.BufferedReader]:
    """Yield the bytes of a text file or of standard input, unpacked and without a byte order mark.

    Gzip is recognised by its first bytes.

    Raises:
        FileError: the file cannot be opened, or reading from it fails later on.
    """
    try:
        with ExitStack() as stack:
            stream = stack.enter_context(_open(path))
            if stream.peek(2)[:2] == _GZIP_MAGIC:
                inflated = stack.enter_context(gzip.GzipFile(fileobj=stream))
                stream = stack.enter_context(io.BufferedReader(_Pieces(inflated), _BUFFER))
            if stream.peek(3)[:3] == _BYTE_ORDER_MARK:
                stream.read(3)
            yield stream
    except EOFError:
        raise FileError(f"{path}: the gzip file is cut off; the rows up to there were read") from None
    except zlib.error as error:
        raise FileError(f"{path}: the gzip file is damaged ({error})") from None
    except OSError as error:
        raise _file_error(path, "read", error) from None


def read_lines(stream: io.BufferedReader, limit: int) -> Iterator[bytes | None]:
    """Yield the lines with their ends; None stands for a line above `limit` bytes."""
    while line := stream.readline(limit + 1):
        if len(line) > limit and not line.endswith(b"\n"):
            _skip_line(stream)
            yield None
        else:
            yield line


@contextmanager
def open_writer(path: Path) -> Iterator[IO[bytes]]:
    """Yield a stream for the bytes of a text file, which appears only when all is written; `-` is standard output."""
    if path == STANDARD:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except OSError as error:
            raise _file_error(path, "written", error) from error
        return
    with whole_file(path) as temporary, open(temporary, "wb", buffering=_BUFFER) as raw:
        if is_gzip(path):
            # No name and no time in the header: the same rows give the same bytes.
            packed = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0)
            with packed, io.BufferedWriter(cast(io.RawIOBase, packed), _BUFFER) as buffered:
                yield buffered
        else:
            yield raw


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """`files.atomic_write`, with a full disk and the like as FileError."""
    try:
        with atomic_write(path) as temporary:
            yield temporary
    except OSError as error:
        raise _file_error(path, "written", error) from error


class _Readable(Protocol):
    def read1(self, size: int = -1, /) -> bytes: ...


class _Pieces(io.RawIOBase):
    """A stream that hands on what there is at once, so that nothing before a fault is lost in a buffer."""

    def __init__(self, stream: _Readable) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        piece = self._stream.read1(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


def _open(path: Path) -> io.BufferedReader:
    if path == STANDARD:
        return io.BufferedReader(_Pieces(cast(_Readable, sys.stdin.buffer)), _BUFFER)
    check_regular_file(path)
    return io.BufferedReader(io.FileIO(path), _BUFFER)


def _skip_line(stream: io.BufferedReader) -> None:
    while piece := stream.readline(_BUFFER):
        if piece.endswith(b"\n"):
            return


def _file_error(path: Path, verb: str, error: OSError) -> OSError:
    if isinstance(error, DistilBertError | BrokenPipeError):  # `| head` is no fault
        return error
    return FileError(f"{path}: cannot be {verb} ({error.strerror or error})")
