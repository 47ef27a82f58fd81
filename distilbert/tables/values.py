# SPDX-License-Identifier: Apache-2.0
"""From Python values to what a file holds: JSON text, a CSV field, a value of one kind of column.

Numbers keep all their digits; dates become ISO 8601 text, decimals plain text; NumPy arrays and scalars become lists
and numbers. NaN is a number in CSV and in columns of kind "float", but JSON has no such number and refuses it.
"""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

_DATES = (datetime.date, datetime.time)  # datetime.datetime is a date


def json_text(value: Any) -> str:
    """Compact JSON; ValueError or TypeError for what JSON does not have."""
    return _ENCODER.encode(value)


def field_text(value: Any) -> str:
    """One field of a CSV: text as it is, nothing for None, JSON for truth values, lists and mappings."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(float(value))
    return text if isinstance(text := _simple(value), str) else json_text(text)


def column_value(kind: str, value: Any) -> Any:
    """The value as a column of this kind takes it; ValueError or TypeError when it does not."""
    if value is None:
        return None
    if hasattr(value, "tolist") and kind != "vector":
        value = value.tolist()
    return _CONVERTERS[kind](value)


def kind_of(values: Sequence[Any]) -> str:
    """The kind of column that takes all of these values; ValueError when there is none."""
    kinds = {_kind(value) for value in values if value is not None}
    if kinds == {"integer", "float"}:
        return "float"
    if len(kinds) > 1:
        raise ValueError(f"values of unlike kinds: {', '.join(sorted(kinds))}; give a schema, such as 'json' for it")
    return kinds.pop() if kinds else "string"


def _simple(value: Any) -> Any:
    """What the JSON encoder does not know, in terms of what it knows."""
    if isinstance(value, _DATES):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, bool | int | list | tuple | dict):
        return value
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"values of type {type(value).__name__} have no text form")


def _kind(value: Any) -> str:
    if hasattr(value, "tolist"):
        value = value.tolist()
    for types, kind in ((bool, "boolean"), (int, "integer"), (float, "float"), (Mapping | list | tuple, "json")):
        if isinstance(value, types):
            return kind
    return "string"


def _exactly(*types: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise TypeError(f"expected {' or '.join(t.__name__ for t in types)}, found {type(value).__name__}")
        return value

    return check


def _float(value: Any) -> float:
    return float(_exactly(float, int)(value))


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_simple)
_CONVERTERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "string": field_text,
    "float": _float,
    "integer": _exactly(int),
    "boolean": _exactly(bool),
    "json": json_text,
    "vector": lambda value: value,
}
KINDS: Final = tuple(_CONVERTERS)
