# SPDX-License-Identifier: Apache-2.0
"""What a search tries: `NAME=VALUES` expressions, and the values that trials get from them.

The values of a trial follow from the expressions, the seed and the trial's number alone: a search that goes on, or that
is given more trials, begins with the same ones.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distilbert.errors import InputError, describe
from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.settings import kind_of

# Searching these would compare what cannot be compared, or move the trials.
_NOT_SEARCHED = {"task", "output_dir", "overwrite_output_dir", "stop_at_step", "certify", "max_eval_samples"}
_NOT_SEARCHED |= {"metric_for_best_model", "greater_is_better"}
_RANGE = re.compile(r"(uniform|loguniform)\(([^(),]+),([^(),]+)\)")
_FORMS = "uniform(LOW,HIGH), loguniform(LOW,HIGH) or VALUE,VALUE,..."
_SWITCHES = {"true": True, "false": False}


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; `whole` ones, or drawn evenly in their logarithm."""

    low: float
    high: float
    logarithmic: bool
    whole: bool

    def draw(self, random: np.random.Generator) -> float | int:
        """One of them; a fraction has four digits, so that it is the same wherever it is written."""
        if self.whole and not self.logarithmic:
            return int(random.integers(int(self.low), int(self.high) + 1))
        if self.logarithmic:
            found = math.exp(random.uniform(math.log(self.low), math.log(self.high)))
        else:
            found = random.uniform(self.low, self.high)
        found = min(max(float(f"{found:.4g}"), self.low), self.high)
        return round(found) if self.whole else found


@dataclass(frozen=True)
class Choices:
    """Some values."""

    values: tuple[Any, ...]

    def draw(self, random: np.random.Generator) -> Any:
        """One of them."""
        return self.values[int(random.integers(len(self.values)))]


Space = Mapping[str, Range | Choices]


def parse_search(texts: Sequence[str]) -> dict[str, Range | Choices]:
    """What to search from `NAME=VALUES` expressions, by the names of the recipe's fields.

    Raises:
        InputError: lists all that is wrong with them.
    """
    space: dict[str, Range | Choices] = {}
    problems = [] if texts else ["nothing to search; expected NAME=VALUES, as in learning_rate=loguniform(1e-5,1e-4)"]
    for text in texts:
        name, separator, values = (part.strip() for part in text.partition("="))
        name = _FIELDS.get(name.replace("-", "_"), name)
        try:
            if not separator:
                raise ValueError(f"expected NAME=VALUES, with values as {_FORMS}")
            if name in space:
                raise ValueError(f"{name} is named twice")
            space[name] = _parse(name, values)
        except ValueError as error:
            problems.append(f"{text!r}: {error}")
    if problems:
        raise InputError(describe("--search", problems))
    return space


def draw(space: Space, count: int | None, seed: int) -> list[dict[str, Any]]:
    """The values of each trial.

    Args:
        space: what is searched.
        count: of trials. Where there are only choices, no combination comes twice, and None stands for all.
        seed: of what is drawn.

    Raises:
        InputError: ranges without a count.
    """
    names = sorted(space)
    domains = [space[name] for name in names]
    choices = [domain.values for domain in domains if isinstance(domain, Choices)]
    if len(choices) == len(domains):
        rows = list(itertools.product(*choices))
        order = np.random.default_rng(seed).permutation(len(rows))[:count]
        return [dict(zip(names, rows[place], strict=True)) for place in order]
    if count is None:
        raise InputError("--num_samples: is missing; how many trials are to be drawn from the ranges?")
    randoms = (np.random.default_rng([seed, number]) for number in range(count))
    return [{name: space[name].draw(random) for name in names} for random in randoms]


def _fields() -> dict[str, str]:
    """Fields by their names and second names."""
    entries = dataclasses.fields(FinetuneRecipe)
    aliases = {entry.metadata["alias"]: entry.name for entry in entries if "alias" in entry.metadata}
    return {**aliases, **{entry.name: entry.name for entry in entries}}


_FIELDS = _fields()


def _parse(name: str, text: str) -> Range | Choices:
    if name not in _FIELDS:
        raise ValueError(f"{name!r} is no option of finetune")
    kind, _ = kind_of(typing.get_type_hints(FinetuneRecipe)[name])
    if name in _NOT_SEARCHED or kind is tuple:
        raise ValueError(f"{name} cannot be searched")
    found = _RANGE.fullmatch(text.replace(" ", ""))
    if found:
        return _range(kind, name, *found.groups())
    if "(" in text or not text:
        raise ValueError(f"expected {_FORMS}")
    values = tuple(_value(kind, name, part.strip()) for part in text.split(","))
    if len(set(values)) < len(values):
        raise ValueError("the same value twice")
    return Choices(values)


def _range(kind: type, name: str, form: str, *ends: str) -> Range:
    if kind not in (int, float):
        raise ValueError(f"{name} is no number; expected VALUE,VALUE,...")
    low, high = (_value(kind, name, end) for end in ends)
    if not low < high or not math.isfinite(high - low):
        raise ValueError(f"expected a number and a larger one, found {low} and {high}")
    if form == "loguniform" and low <= 0:
        raise ValueError(f"expected numbers above 0, found {low}")
    return Range(low, high, form == "loguniform", kind is int)


def _value(kind: type, name: str, text: str) -> Any:
    if kind is bool and text not in _SWITCHES:
        raise ValueError(f"{name}: expected true or false, found {text!r}")
    if kind is bool:
        return _SWITCHES[text]
    if not text:
        raise ValueError(f"expected {_FORMS}")
    try:
        return kind(text)
    except ValueError:
        noun = "a whole number" if kind is int else "a number"
        raise ValueError(f"{name}: expected {noun}, found {text!r}") from None
