# SPDX-License-Identifier: Apache-2.0
"""Reading Parquet and Arrow (Feather, IPC file or stream) in small batches, through pyarrow.

pyarrow is imported when such a file is met, not before.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilbert.errors import BackendError, DistilBertError, FileError
from distilbert.files import check_regular_file
from distilbert.tables.formats import STANDARD
from distilbert.tables.rows import Row, choose_columns

STEP_ROWS = 1000  # rows that are plain Python values at one time
_ARROW_FILE, _FEATHER_1 = b"ARROW1", b"FEA1"


def module(name: str = "pyarrow") -> Any:
    """pyarrow or one of its modules; BackendError names the extra when it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise BackendError(
            'Parquet and Arrow files need pyarrow\n  install:  pip install "distilbert[tables]"'
        ) from None


@dataclass(frozen=True)
class Source:
    """An open file of record batches.

    Attributes:
        schema: of pyarrow.
        count: gives the number of rows, cheaply where the file allows it.
        batches: given the wanted names and a row to start from, the number of the first row that comes (at most that
            one) and the batches from there.
    """

    schema: Any
    count: Callable[[], int]
    batches: Callable[[Sequence[str], int], tuple[int, Iterator[Any]]]


@contextmanager
def open_source(path: Path, format: str) -> Iterator[Source]:
    """Yield the open file; whatever pyarrow finds wrong with it becomes FileError."""
    arrow = module()
    try:
        with ExitStack() as stack:
            yield _parquet(path, stack) if format == "parquet" else _arrow(path, stack)
    except (arrow.ArrowException, OSError) as error:
        if isinstance(error, DistilBertError):
            raise
        kind = "Parquet" if format == "parquet" else "Arrow"
        raise FileError(f"{path}: not a sound {kind} file ({' '.join(str(error).split())})") from None


def read_batches(path: Path, format: str, columns: Sequence[str] | None, start: int) -> Iterator[Row]:
    """The rows of a Parquet or Arrow file from number `start` on; see `reading.read_rows`."""
    with open_source(path, format) as source:
        names = choose_columns(path, source.schema.names, columns)
        number, batches = source.batches(names, start)
        for batch in batches:
            for offset in range(max(0, start - number), batch.num_rows, STEP_ROWS):
                yield from _rows(batch.slice(offset, STEP_ROWS), names, number + offset)
            number += batch.num_rows


def read_names(path: Path, format: str) -> list[str]:
    """The column names of a Parquet or Arrow file."""
    with open_source(path, format) as source:
        return choose_columns(path, source.schema.names, None)


def count_rows(path: Path, format: str) -> int:
    """The number of rows of a Parquet or Arrow file."""
    with open_source(path, format) as source:
        return source.count()


def _parquet(path: Path, stack: ExitStack) -> Source:
    if path == STANDARD:
        raise FileError(f"{path}: Parquet cannot be read from standard input, it is read from its end; name a file")
    check_regular_file(path)
    # No read-ahead: memory is bounded by some pages of the wanted columns instead of whole row groups.
    file = stack.enter_context(module("pyarrow.parquet").ParquetFile(path, pre_buffer=False, buffer_size=1 << 20))

    def batches(names: Sequence[str], start: int) -> tuple[int, Iterator[Any]]:
        skipped, group = 0, 0
        while group < file.num_row_groups and skipped + file.metadata.row_group(group).num_rows <= start:
            skipped += file.metadata.row_group(group).num_rows
            group += 1
        groups = list(range(group, file.num_row_groups))
        if not groups:
            return skipped, iter(())  # older pyarrow refuses an empty list
        return skipped, file.iter_batches(STEP_ROWS, groups, list(names), use_threads=False)

    return Source(file.schema_arrow, lambda: int(file.metadata.num_rows), batches)


def _arrow(path: Path, stack: ExitStack) -> Source:
    arrow, ipc = module(), module("pyarrow.ipc")
    if path == STANDARD:
        stream = ipc.open_stream(sys.stdin.buffer)
        return _arrow_batches(stream.schema, stream)
    check_regular_file(path)
    with open(path, "rb") as opened:
        magic = opened.read(len(_ARROW_FILE))
    if magic.startswith(_FEATHER_1):
        raise FileError(f"{path}: Feather version 1; write it again as version 2, which is Arrow")
    mapped = stack.enter_context(arrow.memory_map(str(path)))
    if magic != _ARROW_FILE:
        stream = ipc.open_stream(mapped)
        return _arrow_batches(stream.schema, stream)
    reader = ipc.open_file(mapped)
    return _arrow_batches(reader.schema, map(reader.get_batch, range(reader.num_record_batches)))


def _arrow_batches(schema: Any, batches: Iterable[Any]) -> Source:
    return Source(
        schema,
        lambda: sum(batch.num_rows for batch in batches),  # mapped into memory, their values are not touched
        lambda names, start: (0, map(_checked, batches)),
    )


def _checked(batch: Any) -> Any:
    """The batch, once its offsets are known to stay inside its buffers: pyarrow would follow them anywhere."""
    arrow = module()
    as_bytes = {arrow.string(): arrow.binary(), arrow.large_string(): arrow.large_binary()}
    for column in batch.columns:
        # Text that is not UTF-8 spoils a row, not the file.
        (column.view(as_bytes[column.type]) if column.type in as_bytes else column).validate(full=True)
    return batch


def _rows(batch: Any, names: Sequence[str], number: int) -> Iterator[Row]:
    problems: dict[int, str] = {}
    columns = [_plain(batch.column(name), name, problems) for name in names]
    for offset, values in enumerate(zip(*columns, strict=True)):
        problem = problems.get(offset)
        yield Row(number + offset, None if problem else dict(zip(names, values, strict=True)), problem)


def _plain(column: Any, name: str, problems: dict[int, str]) -> list[Any]:
    """A column as Python values; one that cannot be had is None and its place goes into `problems`."""
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):
        return [_plain_value(value, name, place, problems) for place, value in enumerate(column)]


def _plain_value(value: Any, name: str, place: int, problems: dict[int, str]) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError as error:
        problems.setdefault(place, f"column {name!r}: not UTF-8 (byte {error.object[error.start]:#04x})")
    except (ValueError, OverflowError) as error:
        problems.setdefault(place, f"column {name!r}: {error}")
    return None
