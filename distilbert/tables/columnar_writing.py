# SPDX-License-Identifier: Apache-2.0
"""Writing Parquet and Arrow files through pyarrow, and joining them.

Where a row group or record batch ends depends on the rows alone, not on how they came, so that parts joined and the
same rows written at once are the same bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from distilbert.errors import FileError, describe
from distilbert.tables.checking import ERRORS, RowCheck, column_types
from distilbert.tables.columnar import STEP_ROWS, module, open_source
from distilbert.tables.streams import whole_file
from distilbert.tables.values import column_value, kind_of

GROUP_ROWS = 50_000
GROUP_BYTES = 16 * 1024 * 1024  # of values, before compression


def write_columnar(
    path: Path,
    format: str,
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str] | None,
    kinds: Mapping[str, str] | None,
) -> int:
    """Write rows to a Parquet or Arrow file and return their number; see `writing.write_rows`."""
    rows = iter(rows)
    first = list(itertools.islice(rows, STEP_ROWS))
    if columns is None:
        columns = list(first[0]) if first else []
    if not columns:
        raise FileError(f"{path}: no columns; a file of this format needs one at least")
    kinds = {name: kinds[name] if kinds else _infer(path, name, first) for name in columns}
    schema = module().schema(list(column_types(kinds).items()))
    with _open_writer(path, format, schema) as write:
        return _write_groups(_tables(path, format, first, rows, kinds, schema), write)


def join_columnar(parts: Sequence[Path], target: Path, format: str) -> int:
    """Write the rows of several files with one schema as one file and return their number."""
    schemas = [_bare(_read_schema(part, format)) for part in parts]
    problems = [
        f"{part}: unequal to {parts[0]}: {', '.join(f'{field.name}: {field.type}' for field in schema)}"
        for part, schema in zip(parts, schemas, strict=True)
        if schema != schemas[0]
    ]
    if problems:
        raise FileError(describe(f"{target}: the parts have unequal schemas", problems))
    with _open_writer(target, format, schemas[0]) as write:
        return _write_groups(_part_tables(parts, format, schemas[0]), write)


def _infer(path: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    try:
        return kind_of([row.get(name) for row in rows])
    except ValueError as error:
        raise FileError(f"{path}: column {name!r}: {error}") from None


def _bare(schema: Any) -> Any:
    arrow = module()
    return arrow.schema([arrow.field(field.name, field.type, field.nullable) for field in schema])


def _read_schema(path: Path, format: str) -> Any:
    with open_source(path, format) as source:
        return source.schema


@contextmanager
def _open_writer(path: Path, format: str, schema: Any) -> Iterator[Callable[[Any], None]]:
    arrow = module()
    with whole_file(path) as temporary, ExitStack() as stack:
        sink = stack.enter_context(arrow.OSFile(str(temporary), "wb"))
        if format == "parquet":
            writer = stack.enter_context(module("pyarrow.parquet").ParquetWriter(sink, schema, compression="zstd"))
            yield lambda table: writer.write_table(table, row_group_size=table.num_rows)
        else:
            writer = stack.enter_context(module("pyarrow.ipc").new_file(sink, schema))
            yield writer.write_table


def _tables(
    path: Path,
    format: str,
    first: list[Mapping[str, Any]],
    rest: Iterator[Mapping[str, Any]],
    kinds: Mapping[str, str],
    schema: Any,
) -> Iterator[Any]:
    check = RowCheck(format, kinds)
    number, rows = 0, first
    while rows:
        for offset, row in enumerate(rows):
            check.check_names(path, number + offset, row)
        try:
            arrays = [_array(kinds[field.name], field.type, [row.get(field.name) for row in rows]) for field in schema]
        except ERRORS as error:
            place = next((place for place, row in enumerate(rows) if check.problem(row)), 0)
            raise check.refusal(path, number + place, rows[place], error) from None
        yield module().Table.from_arrays(arrays, schema=schema)
        number += len(rows)
        rows = list(itertools.islice(rest, STEP_ROWS))


def _array(kind: str, type: Any, values: Sequence[Any]) -> Any:
    return module().array([column_value(kind, value) for value in values], type)


def _part_tables(parts: Sequence[Path], format: str, schema: Any) -> Iterator[Any]:
    for part in parts:
        with open_source(part, format) as source:
            for batch in source.batches(schema.names, 0)[1]:
                yield module().Table.from_arrays(batch.columns, schema=schema)


def _write_groups(tables: Iterable[Any], write: Callable[[Any], None]) -> int:
    written = 0
    for group in _groups(_steps(tables)):
        write(group)
        written += group.num_rows
    return written


def _steps(tables: Iterable[Any]) -> Iterator[Any]:
    """The same rows in tables of `STEP_ROWS` each."""
    held: list[Any] = []
    missing = STEP_ROWS
    for table in tables:
        while table.num_rows:
            held.append(table.slice(0, missing))
            missing -= held[-1].num_rows
            table = table.slice(held[-1].num_rows)
            if not missing:
                yield _one(held)
                held, missing = [], STEP_ROWS
    if held:
        yield _one(held)


def _groups(steps: Iterable[Any]) -> Iterator[Any]:
    """The same rows in tables as large as the row groups are to be."""
    held: list[Any] = []
    rows = size = 0
    for step in steps:
        held.append(step)
        rows, size = rows + step.num_rows, size + sum(map(_size, step.columns))
        if rows >= GROUP_ROWS or size >= GROUP_BYTES:
            group, held, rows, size = _one(held), [], 0, 0  # not kept twice while it is written
            yield group
    if held:
        yield _one(held)


def _one(tables: Sequence[Any]) -> Any:
    return module().concat_tables(tables).combine_chunks()


def _size(column: Any) -> int:
    """Bytes of the values, whatever the buffers around them hold."""
    arrow, compute = module(), module("pyarrow.compute")
    if arrow.types.is_list(column.type):
        return 4 * (compute.sum(compute.list_value_length(column)).as_py() or 0)
    if arrow.types.is_string(column.type) or arrow.types.is_binary(column.type):
        return int(compute.sum(compute.binary_length(column)).as_py() or 0)
    return 8 * len(column)
