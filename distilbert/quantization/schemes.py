# SPDX-License-Identifier: Apache-2.0
"""What can be tried: a format and a number format, as `onnx:int8`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from distilbert.errors import InputError, describe
from distilbert.export.formats import FORMATS, STATIC_INT8


class Scheme(NamedTuple):
    """A way to write a model."""

    format: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.format}:{self.dtype}"


def parse(texts: Sequence[str], calibrated: bool) -> list[Scheme]:
    """Schemes by their names; of a format alone all that it has besides float32.

    Args:
        texts: as `onnx:int8` or `onnx`.
        calibrated: whether there is data to measure ranges of activations on.

    Raises:
        InputError: lists what is unknown, or cannot be done without such data.
    """
    found: list[Scheme] = []
    problems = []
    for text in texts:
        format, separator, dtype = text.partition(":")
        if format not in FORMATS:
            problems.append(f"{text!r}: expected one of {', '.join(FORMATS)} before the colon")
        elif not separator:
            found += [Scheme(format, name) for name in _reduced(format) if calibrated or name != STATIC_INT8]
        elif dtype not in _reduced(format):
            problems.append(f"{text!r}: expected one of {', '.join(_reduced(format)) or 'nothing'} after the colon")
        elif dtype == STATIC_INT8 and not calibrated:
            problems.append(f"{text!r}: needs texts to measure ranges on (--calibrate)")
        else:
            found.append(Scheme(format, dtype))
    if not found and not problems:
        problems.append(f"{', '.join(texts)}: has no format in fewer bits than float32")
    if problems:
        raise InputError(describe("schemes", problems))
    return list(dict.fromkeys(found))


def _reduced(format: str) -> list[str]:
    return [dtype for dtype in FORMATS[format].dtypes if dtype != "float32"]
