# SPDX-License-Identifier: Apache-2.0
"""Answers as JSON: fast for long rows of numbers, and never with NaN, which JSON does not have."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from pydantic_core import PydanticSerializationError, to_json
from starlette.responses import Response


class NotFinite(Exception):
    """The model gave a number that is infinite or not a number."""


class JSONAnswer(Response):
    """A response of plain Python values, lists and dicts of them."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return encode(content)


def encode(value: Any) -> bytes:
    """A value as JSON.

    Raises:
        NotFinite: a number in it is.
    """
    try:
        body = to_json(value)
    except (PydanticSerializationError, UnicodeError):  # half of a surrogate pair
        body = b"NaN"
    if b"NaN" not in body and b"Infinity" not in body:
        return body
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except ValueError:
        raise NotFinite("the model gave numbers that are not finite") from None
    return text.encode("utf-8", "backslashreplace")  # \ud800 for half a pair is what JSON writes too


def plain(result: Any) -> Any:
    """A pipeline's result as plain Python values."""
    return result.tolist() if isinstance(result, np.ndarray) else result
