# SPDX-License-Identifier: Apache-2.0
"""The zip archives of torch.save: uncompressed records, so that their bytes can be mapped. What they mean is elsewhere.

Python's own zipfile is not used because it accepts what must be refused here (compressed, overlapping, doubled or
encrypted records, bytes around the archive) and cannot align records.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from distilbert.convert.raw import BLOCK, Problem, fill, open_binary, read_exactly, shown, size_of
from distilbert.errors import WeightsError

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_DIRECTORY_LIMIT = 4 * 1024 * 1024  # bytes; the archive of a DistilBERT has about 110 records, 10 KB
_ALIGNMENT = 64
_UTF8 = 1 << 11
_ENCRYPTED = 1 << 0
_FIRST_DAY = 0x21  # 1 January 1980, the earliest date a zip archive can hold


@dataclass(frozen=True)
class Record:
    """One file of the archive: where its bytes are, and their checksum."""

    name: str
    offset: int
    size: int
    crc: int


def read_records(path: Path) -> dict[str, Record]:
    """The records of an archive by name, without their content.

    Raises:
        WeightsError: the archive is damaged, or holds anything but plain uncompressed records.
    """
    with open_binary(path) as stream:
        try:
            return _records(stream, size_of(stream))
        except Problem as problem:
            raise WeightsError(f"{path}: {problem}") from None


def check_crc(path: Path, record: Record) -> None:
    """Raise WeightsError unless the bytes of a record have the checksum that the archive states."""
    crc = 0
    left = record.size
    buffer = memoryview(bytearray(min(BLOCK, left)))
    with open_binary(path) as stream:
        stream.seek(record.offset)
        while left and (count := fill(stream, buffer[: min(BLOCK, left)])):
            crc = zlib.crc32(buffer[:count], crc)
            left -= count
    if left:
        raise WeightsError(f"{path}: truncated while it was in use")
    if crc != record.crc:
        raise WeightsError(f"{path}: {shown(record.name)}: damaged: its checksum (CRC-32) does not match its bytes")


class ZipWriter:
    """Write an archive record by record. The same records give the same bytes, whenever and wherever."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._directory: list[bytes] = []

    def add(self, name: str, content: Iterable[bytes | memoryview]) -> None:
        """Append a record whose bytes begin at a multiple of 64."""
        encoded = name.encode("utf-8")
        start = self._stream.tell()
        padding = -(start + _LOCAL.size + len(encoded) + 4) % _ALIGNMENT
        extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding  # as PyTorch pads
        begin = start + _LOCAL.size + len(encoded) + len(extra)
        self._stream.seek(begin)
        crc = 0
        for block in content:
            crc = zlib.crc32(block, crc)
            self._stream.write(block)
        end = self._stream.tell()
        if end >= 0xFFFFFFFF:
            raise WeightsError(f"{self._stream.name}: larger than the 4 GiB that one file can hold; write shards")
        common = (0, _UTF8, 0, 0, _FIRST_DAY, crc, end - begin, end - begin, len(encoded))
        self._stream.seek(start)
        self._stream.write(_LOCAL.pack(b"PK\x03\x04", *common, len(extra)) + encoded + extra)
        self._stream.seek(end)
        self._directory.append(_CENTRAL.pack(b"PK\x01\x02", 0, *common, 0, 0, 0, 0, 0, start) + encoded)

    def close(self) -> None:
        """Write the directory that ends the archive."""
        start = self._stream.tell()
        directory = b"".join(self._directory)
        count = len(self._directory)
        self._stream.write(directory)
        self._stream.write(_END.pack(b"PK\x05\x06", 0, 0, count, count, len(directory), start, 0))


def _records(stream: FileIO, size: int) -> dict[str, Record]:
    count, directory_size, start = _end(stream, size)
    stream.seek(start)
    directory = read_exactly(stream, directory_size)
    records: dict[str, Record] = {}
    spans = [(start, size, "the directory")]
    position = 0
    for _ in range(count):
        record, header, position = _record(stream, directory, position)
        if record.name in records:
            raise Problem(f"record {shown(record.name)}: occurs twice in the archive")
        records[record.name] = record
        spans.append((header, record.offset + record.size, f"record {shown(record.name)}"))
    if position != directory_size:
        raise Problem("damaged zip directory: its size does not match its entries")
    spans.sort()
    for (_, end, name), (begin, _, other) in pairwise(spans):
        if begin < end:
            raise Problem(f"{name}: overlaps {other} in the archive")
    return records


def _end(stream: FileIO, size: int) -> tuple[int, int, int]:
    """Number of records, and size and offset of the directory. A 64-bit directory may follow it and is not needed."""
    stream.seek(max(0, size - _END.size))
    tail = read_exactly(stream, _END.size)
    if len(tail) < _END.size or not tail.startswith(b"PK\x05\x06"):
        raise Problem("truncated, or followed by foreign bytes: no end of a zip archive at the end of the file")
    _, disk, directory_disk, here, count, directory_size, start, comment = _END.unpack(tail)
    if disk or directory_disk or here != count or comment:
        raise Problem("a zip archive in several parts or with a comment, expected a plain one")
    if start == 0xFFFFFFFF:
        raise Problem("a zip archive above 4 GiB; save it in shards")
    if count == 0xFFFF or directory_size > _DIRECTORY_LIMIT:
        raise Problem(f"too many records in the zip archive ({directory_size:,} bytes of directory)")
    if start + directory_size > size - _END.size:
        raise Problem("damaged zip archive: its directory lies outside the file")
    return count, directory_size, start


def _record(stream: FileIO, directory: bytes, position: int) -> tuple[Record, int, int]:
    """The record whose directory entry is at `position`, where its header is, and the position of the next entry."""
    body = position + _CENTRAL.size
    if body > len(directory) or not directory.startswith(b"PK\x01\x02", position):
        raise Problem("damaged zip directory: an entry is missing or broken")
    entry = _CENTRAL.unpack_from(directory, position)
    flags, method, crc, stored, size, length, extra, comment = entry[3], entry[4], *entry[7:13]
    header = entry[16]
    encoded = directory[body : body + length]
    name = _name(encoded)
    if method or flags & _ENCRYPTED:
        raise Problem(f"record {shown(name)}: compressed or encrypted, expected plain bytes")
    if stored != size or size == 0xFFFFFFFF:
        raise Problem(f"record {shown(name)}: stored in {stored:,} bytes, but its size is {size:,}")
    stream.seek(header)
    local = read_exactly(stream, _LOCAL.size + length)
    if len(local) < _LOCAL.size + length or not local.startswith(b"PK\x03\x04"):
        raise Problem(f"record {shown(name)}: not where the zip directory says")
    *_, local_length, local_extra = _LOCAL.unpack_from(local)
    if local_length != length or local[_LOCAL.size :] != encoded:
        raise Problem(f"record {shown(name)}: called differently in its own header")
    return Record(name, header + len(local) + local_extra, size, crc), header, body + length + extra + comment


def _name(encoded: bytes) -> str:
    try:
        return encoded.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(f"record {shown(encoded)}: expected a name in UTF-8") from None
