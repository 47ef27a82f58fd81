# SPDX-License-Identifier: Apache-2.0
"""Labels as they are in files: their names, in which order they are numbered, and what is wrong with them.

A label is a text from here on: true is "true", and 1, 1.0 and "1.0" are "1".
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.config import DistilBertConfig
from distilbert.errors import InputError
from distilbert.training.data import Place, Problems

SHOWN = 20  # names in a message
MOST = 1e18  # the largest number that is taken for one: the square of its error is a float32 still
MANY = 1000  # labels; more of them, in not twice as many rows, are no labels

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"([+-]?\d+)\.0*")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)


_FLAGS = {"0": False, "1": True, "false": False, "true": True}


def row_labels(value: Any, flags: Sequence[str]) -> tuple[list[str], bool]:
    """The names of a row's labels, and whether they are a list.

    Args:
        value: a label, a list of them, or such a list as JSON; with flags, a yes or no for each of them.
        flags: the names of the labels that have a column each.

    Raises:
        InputError: one of them is none.
    """
    if flags:
        chosen = [_flag(name, given) for name, given in zip(flags, value, strict=True)]
        return [name for name, is_chosen in zip(flags, chosen, strict=True) if is_chosen], True
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    if not isinstance(value, list | tuple):
        return [label_name(value)], False
    wrong = [item for item in value if not isinstance(item, str | int) or isinstance(item, bool)]
    if wrong:
        raise InputError(
            f"label: expected a list of names, found {wrong[0]!r:.60} in it; for a yes or no to each label, give every "
            "label a column and name them all, as in --column label=A,B,C"
        )
    return list(dict.fromkeys(map(label_name, value))), True


def _flag(name: str, value: Any) -> bool:
    with contextlib.suppress(InputError, KeyError):
        return _FLAGS[label_name(value).lower()]
    raise InputError(f"label: expected 0 or 1, true or false in column {name!r}, found {value!r:.60}")


def label_name(value: Any) -> str:
    """A label as text; InputError if it is missing, or cannot be one."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise InputError("label: is missing")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"label: expected a finite number, found {value}")
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, str):
        text = value.strip()
        whole = _WHOLE.fullmatch(text)
        return str(int(whole[1])) if whole else text
    if isinstance(value, int):
        return str(value)
    raise InputError(f"label: expected a name or a number, found {type(value).__name__}")


def as_number(name: str) -> float | None:
    """The number that a label is, if it is one."""
    number = float(name) if _NUMBER.fullmatch(name) else None
    return None if number is None or abs(number) > MOST else number


def in_order(names: Iterable[str]) -> list[str]:
    """Sorted: by number if all are numbers, else as texts."""
    found = list(names)
    numbers = [as_number(name) for name in found]
    if any(number is None for number in numbers):
        return sorted(found)
    return [name for _, name in sorted(zip(numbers, found, strict=True))]


def shown(names: Sequence[str]) -> str:
    """Names for a message, the first of many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


class FoundLabels:
    """The labels of all rows, none or one or several each, as numbers in the order in which they first came."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self._firsts: list[Place] = []
        self._codes = array("i")
        self._counts = array("i")

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def counts(self) -> NDArray[np.int32]:
        """(N,) labels of each row."""
        return self._array(self._counts)

    def add(self, place: Place, names: Iterable[str]) -> None:
        """Those of the next row."""
        count = 0
        for name in names:
            code = self.names.setdefault(name, len(self.names))
            if code == len(self._firsts):
                self._firsts.append(place)
            self._codes.append(code)
            count += 1
        self._counts.append(count)

    def classes(self, numbers: Mapping[str, int], problems: Problems) -> NDArray[np.int32]:
        """(all labels of all rows,) their numbers; labels that have none go into `problems`."""
        codes = self._array(self._codes)
        counts = np.bincount(codes, minlength=len(self.names))
        for name, code in self.names.items():
            if name not in numbers:
                more = f" (and in {counts[code] - 1:,} rows more)" if counts[code] > 1 else ""
                problems.add(self._firsts[code], f"label {name!r}{more}: expected one of {shown(list(numbers))}")
        return np.array([numbers.get(name, 0) for name in self.names] or [0], np.int32)[codes]

    def hot(self, numbers: Mapping[str, int], problems: Problems) -> NDArray[np.uint8]:
        """(N, L) 1 where a row has a label; labels without a number go into `problems`."""
        found = np.zeros((len(self), len(numbers)), np.uint8)
        rows = np.repeat(np.arange(len(self)), self.counts)
        found[rows, self.classes(numbers, problems)] = 1
        return found

    def values(self, problems: Problems) -> NDArray[np.float32]:
        """(N, 1) the numbers that the labels are; those that are none, or not finite, go into `problems`."""
        for name, place in zip(self.names, self._firsts, strict=True):
            if as_number(name) is None:
                problems.add(place, f"label {name!r}: expected a finite number")
        table = np.array([as_number(name) or 0.0 for name in self.names] or [0.0], np.float32)
        return table[self._array(self._codes)][:, None]

    def problem_type(self, listed: bool, problems: Problems) -> str:
        """What the labels look like; where some are numbers and others look like slips, these go into `problems`."""
        if listed:
            return MULTI
        numbers = [as_number(name) for name in self.names]
        whole = all(number is None or number.is_integer() for number in numbers)
        for name, place, number in zip(self.names, self._firsts, numbers, strict=True):
            is_slip = number is None and (not whole or _NOT_FINITE.fullmatch(name))
            if is_slip and any(found is not None for found in numbers):
                problems.add(place, f"label {name!r}: expected a finite number, as elsewhere; else say problem_type")
        return SINGLE if whole else REGRESSION

    @staticmethod
    def _array(numbers: array[int]) -> NDArray[np.int32]:
        return np.frombuffer(numbers, np.int32) if numbers else np.zeros(0, np.int32)


def settle(found: FoundLabels, config: DistilBertConfig | None) -> tuple[list[str], dict[str, int]]:
    """The names that the model will have for the labels of its training data, and the number of each label.

    The names are the model's own if the data has no others, else the data's in order. Labels that are the numbers 0 to
    L - 1 are those of a model with L names. A model whose names are LABEL_0, LABEL_1, ... has none.

    Raises:
        InputError: there is but one label, or so many that they are none.
    """
    names = in_order(found.names)
    numbers = {name: number for number, name in enumerate(names)}
    if len(names) < 2:
        what = f"{names[0]!r} alone" if names else "none"
        raise InputError(f"label: expected at least two different labels to tell apart, found {what}")
    if len(names) > max(MANY, len(found) // 2):
        raise InputError(
            f"label: expected labels that come again, found {len(names):,} different ones in {len(found):,} rows, such "
            f"as {shown(names[:3])}; name the right column, as in --column label=NAME"
        )
    own = [] if config is None else [config.id2label[number] for number in range(config.num_labels)]
    if own == [f"LABEL_{number}" for number in range(len(own))]:
        return names, numbers
    if names == [str(number) for number in range(len(own))]:
        return own, numbers
    return (own, {name: number for number, name in enumerate(own)}) if set(names) <= set(own) else (names, numbers)
