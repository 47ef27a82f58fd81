# SPDX-License-Identifier: Apache-2.0
"""Which columns the fields of a task are read from, and what of a row that lacks one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from distilbert.errors import InputError
from distilbert.tables.fields import Columns, Fields, choose_columns, read_fields

FIELDS = Fields(("text", "label"), ("pair",), lists=("label",))


@pytest.mark.parametrize(
    ("given", "present", "expected"),
    [
        ([], None, {"text": ("text",), "label": ("label",)}),
        ([], ["text", "label", "more"], {"text": ("text",), "label": ("label",)}),
        ([], ["pair", "text", "label"], {"text": ("text",), "label": ("label",), "pair": ("pair",)}),
        (["pair=other"], None, {"text": ("text",), "label": ("label",), "pair": ("other",)}),
        (["pair=pair"], None, {"text": ("text",), "label": ("label",), "pair": ("pair",)}),
        (["text=pair"], ["pair", "label"], {"text": ("pair",), "label": ("label",)}),
        (["label=a,b"], None, {"text": ("text",), "label": ("a", "b")}),
    ],
)
def test_columns(given: Sequence[str], present: Sequence[str] | None, expected: Columns) -> None:
    assert choose_columns("task", FIELDS, given, present) == expected


ROW = {"text": "t", "label": [1]}


@pytest.mark.parametrize(
    ("given", "values", "expected"),
    [
        ([], ROW, ROW),
        ([], {**ROW, "pair": "p", "more": 1}, {**ROW, "pair": "p"}),
        (["pair=other"], {**ROW, "other": None, "pair": "p"}, {**ROW, "pair": None}),
        (["text=pair"], {"pair": "p", "label": [1]}, {"text": "p", "label": [1]}),
        (["label=a,b"], {"text": "t", "a": 1, "b": 0}, {"text": "t", "label": [1, 0]}),
    ],
)
def test_rows(given: Sequence[str], values: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read_fields(FIELDS, choose_columns("task", FIELDS, given, None), values) == expected


@pytest.mark.parametrize(
    ("given", "values", "expected"),
    [
        ([], {"label": [1]}, "^no column 'text'$"),
        (["pair=typo"], {**ROW, "pair": "p"}, "^no column 'typo'$"),
        (["pair=pair"], ROW, "^no column 'pair'$"),
        (["pair=typo"], {"text": "t"}, "^no column 'label'; no column 'typo'$"),
        (["label=a,b"], {"text": "t", "a": 1}, "^no column 'b'$"),
    ],
)
def test_what_is_named_must_be_there(given: Sequence[str], values: dict[str, Any], expected: str) -> None:
    columns = choose_columns("task", FIELDS, given, None)
    with pytest.raises(InputError, match=expected):
        read_fields(FIELDS, columns, values)
