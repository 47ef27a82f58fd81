# SPDX-License-Identifier: Apache-2.0
"""Fields of a recipe: a default, a line of help, and what values are allowed, for code, YAML and options alike."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any

from distilbert.errors import InputError, describe


def setting(default: Any, help: str, **limits: Any) -> Any:
    """A field of a recipe.

    Args:
        default: its value where none is given.
        help: one line for `--help`.
        limits: `least`, `most` (numbers, inclusive), `above`, `below` (exclusive), `choices` (texts), `alias` (a second
            name of the option), `panel` (heading in `--help` of this field and those after it).
    """
    return dataclasses.field(default=default, metadata={"help": help, **limits})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of recipes: says what is wrong with the values, all at once, before anything is read."""

    def __post_init__(self) -> None:
        kinds = typing.get_type_hints(type(self))
        for entry in dataclasses.fields(self):
            object.__setattr__(self, entry.name, _normal(kinds[entry.name], getattr(self, entry.name)))
        problems = self.problems()
        if problems:
            raise InputError(describe("recipe", problems))

    def problems(self) -> list[str]:
        """What is wrong; classes add what they know of several fields together."""
        kinds, found = typing.get_type_hints(type(self)), []
        for entry in dataclasses.fields(self):
            problem = _problem(kinds[entry.name], getattr(self, entry.name), entry.metadata)
            if problem:
                found.append(f"{entry.name}: {problem}")
        return found

    @classmethod
    def from_dict(cls, values: typing.Mapping[str, Any]) -> typing.Self:
        """A recipe from names (or their aliases) and values; InputError lists all that is wrong."""
        names = {entry.name: entry for entry in dataclasses.fields(cls)}
        aliases = {entry.metadata["alias"]: name for name, entry in names.items() if "alias" in entry.metadata}
        given: dict[str, Any] = {}
        problems = []
        for name, value in values.items():
            known = aliases.get(name, name)
            if known not in names:
                problems.append(f"{name}: unknown; expected {', '.join(names)}")
            elif known in given:
                problems.append(f"{known}: given twice, also as {names[known].metadata['alias']}")
            else:
                given[known] = value
        absent = [name for name, entry in names.items() if entry.default is dataclasses.MISSING and name not in given]
        problems += [f"{names[name].metadata.get('alias', name)}: is missing" for name in absent]
        if problems:
            raise InputError(describe("recipe", problems))
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Names and plain values of all fields, as in YAML."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()
        }


def kind_of(hint: Any) -> tuple[type, bool]:
    """The plain type of a field (`tuple` for a list of texts) and whether it may be None."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    plain = next(option for option in options if option is not type(None))
    return typing.get_origin(plain) or plain, type(None) in options


def _normal(hint: Any, value: Any) -> Any:
    kind, _ = kind_of(hint)
    if kind is tuple and isinstance(value, list | tuple):
        return tuple(value)
    if kind is tuple and isinstance(value, str):
        return (value,)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is float and isinstance(value, str):  # YAML takes 3e-5 for a text: it asks for a dot
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _problem(hint: Any, value: Any, limits: typing.Mapping[str, Any]) -> str | None:
    kind, optional = kind_of(hint)
    if value is None:
        return None if optional else f"expected {_NOUNS[kind]}, found nothing"
    of_kind = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not of_kind or (kind is tuple and not all(isinstance(item, str) for item in value)):
        return f"expected {_NOUNS[kind]}, found {value!r}"
    choices = limits.get("choices")
    if choices and value not in choices:
        return f"expected one of {', '.join(choices)}; found {value!r}"
    for name, (broken, words) in _LIMITS.items():
        if name in limits and (value != value or broken(value, limits[name])):
            return f"expected {words} {limits[name]}, found {value!r}"
    return _extreme(value)


def _extreme(value: Any) -> str | None:
    """Why nothing can work with a value, whatever it is for."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"expected a finite number, found {value!r}"
    if isinstance(value, int) and abs(value) >= 2**63:
        return f"expected a number below 2**63, found one of {len(str(abs(value)))} digits"
    texts = [text for text in (value if isinstance(value, tuple) else [value]) if isinstance(text, str)]
    if not all(texts):
        return "expected a text, found an empty one"
    if any("\0" in text for text in texts):
        return f"expected a text without NUL characters, found {value!r:.60}"
    return None


_NOUNS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", tuple: "a list of texts"}
_LIMITS: dict[str, tuple[Any, str]] = {
    "least": (lambda value, limit: value < limit, "at least"),
    "most": (lambda value, limit: value > limit, "at most"),
    "above": (lambda value, limit: value <= limit, "more than"),
    "below": (lambda value, limit: value >= limit, "less than"),
}
