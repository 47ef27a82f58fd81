# SPDX-License-Identifier: Apache-2.0
"""Reading JSON Lines: one JSON object in each line, in UTF-8. Empty lines are no rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from distilbert.tables.rows import Row, quoted, too_long
from distilbert.tables.streams import open_reader, read_lines


def read_json_lines(path: Path, columns: Sequence[str] | None, start: int, limit: int) -> Iterator[Row]:
    """The rows of a JSON Lines file from number `start` on; see `reading.read_rows`."""
    with open_reader(path) as stream:
        for number, line in enumerate(_filled(read_lines(stream, limit))):
            if number < start:
                continue
            try:
                if line is None:
                    raise ValueError(too_long(limit))
                yield Row(number, _chosen(_parse(line), columns), None)
            except ValueError as error:
                yield Row(number, None, str(error))


def count_json_lines(path: Path, limit: int) -> int:
    """How many rows `read_json_lines` yields, bad ones included."""
    with open_reader(path) as stream:
        return sum(1 for _ in _filled(read_lines(stream, limit)))


def _filled(lines: Iterator[bytes | None]) -> Iterator[bytes | None]:
    return (line for line in lines if line is None or not line.isspace())


def _chosen(values: dict[str, Any], columns: Sequence[str] | None) -> dict[str, Any]:
    if columns is None:
        return values
    absent = [name for name in columns if name not in values]
    if absent:
        raise ValueError(f"no column {quoted(absent)}")
    return {name: values[name] for name in columns}


def _parse(line: bytes) -> dict[str, Any]:
    try:
        value = _DECODER.decode(line.decode().rstrip())
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {line[error.start]:#04x})") from None
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON ({error.msg} at character {error.pos})") from None
    except ValueError as error:
        raise ValueError(f"not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {_KINDS[type(value)]}")
    if (b"\\ud" in line or b"\\uD" in line) and _has_lone_surrogate(value):
        raise ValueError("half a surrogate pair, which is no character")
    return value


def _has_lone_surrogate(value: dict[str, Any]) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("the same key twice in one object")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
_KINDS = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a truth value",
    type(None): "null",
}
