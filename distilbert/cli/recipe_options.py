# SPDX-License-Identifier: Apache-2.0
"""Options of a command out of the fields of a recipe, so that code, YAML and command line know the same names.

Values are checked by the recipe, not here: it says all that is wrong at once, and the same for a file.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Collection
from typing import Annotated, Any

import typer

from distilbert.training.settings import Settings, kind_of

_METAVARS = {int: "N", float: "NUMBER", str: "TEXT", tuple: "TEXT"}


def options_of(recipe: type[Settings], leave_out: Collection[str] = ()) -> list[inspect.Parameter]:
    """One parameter for each field, as Typer reads them; None stands for what was not given.

    The recipe's own fields come first, then those of its bases. Names are those of the fields, with underscores; the
    command line takes hyphens too (`token_normalize_func` of the app).

    Args:
        recipe: class of the recipe.
        leave_out: fields that the command takes in another way.
    """
    hints = typing.get_type_hints(recipe)
    panels = _panels(recipe)
    return [
        inspect.Parameter(
            entry.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=_annotation(entry, kind_of(hints[entry.name])[0], panels[entry.name]),
        )
        for entry in _own_first(recipe)
        if entry.name not in leave_out
    ]


def with_options_of(
    recipe: type[Settings], leave_out: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command that has a parameter `**given` the options of a recipe.

    `given` holds only what was given, by the names of the fields.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        kept = [entry for entry in signature.parameters.values() if entry.kind is not entry.VAR_KEYWORD]
        made = options_of(recipe, leave_out)
        names = {entry.name for entry in made}

        @functools.wraps(command)
        def run(*arguments: Any, **options: Any) -> None:
            given = {name: value for name, value in options.items() if name not in names or _is_given(value)}
            command(*arguments, **given)

        parameters = sorted([*kept, *made], key=lambda entry: entry.kind)
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return run

    return decorate


def _is_given(value: Any) -> bool:
    return value is not None and value != []  # some versions of Typer make an empty list of a list that is not given


def _own_first(recipe: type[Settings]) -> list[dataclasses.Field[Any]]:
    """Fields by the class that has them first; one with a new default stays where it was."""
    fields = {entry.name: entry for entry in dataclasses.fields(recipe)}
    classes = {kind: inspect.get_annotations(kind) for kind in recipe.__mro__}
    homes = {name: kind for kind, names in classes.items() for name in names}  # bases come later
    return [fields[name] for kind, names in classes.items() for name in names if name in fields and homes[name] is kind]


def _panels(recipe: type[Settings]) -> dict[str, str | None]:
    """The heading of each field: its own, also where a class only changes the default, or that of the field before."""
    starts: dict[str, str] = {}
    for kind in reversed(recipe.__mro__):
        declared: dict[str, dataclasses.Field[Any]] = getattr(kind, "__dataclass_fields__", {})
        starts |= {name: entry.metadata["panel"] for name, entry in declared.items() if "panel" in entry.metadata}
    found: dict[str, str | None] = {}
    panel = None
    for entry in _own_first(recipe):
        panel = found[entry.name] = starts.get(entry.name, panel)
    return found


def _annotation(entry: dataclasses.Field[Any], kind: type, panel: str | None) -> Any:
    names = [entry.metadata["alias"], entry.name] if "alias" in entry.metadata else [entry.name]
    is_flag = kind is bool
    option = typer.Option(
        *(f"--{name}/--no_{name}" if is_flag else f"--{name}" for name in names),
        metavar=None if is_flag else _METAVARS.get(kind),
        help=_help(entry, kind),
        rich_help_panel=panel,
        show_default=False,
    )
    value: Any = list[str] if kind is tuple else kind
    return Annotated[value | None, option]


def _help(entry: dataclasses.Field[Any], kind: type) -> str:
    """The field's line with what else is to be known of its values."""
    parts = [entry.metadata["help"]]
    if "choices" in entry.metadata:
        parts.append(f"One of {', '.join(entry.metadata['choices'])}.")
    if kind is tuple:
        parts.append("Repeatable.")
    default = entry.default
    if default is dataclasses.MISSING:
        parts.append("Required.")
    elif isinstance(default, tuple):
        parts += [f"Default: {', '.join(default)}."] if default else []
    elif default is not None:
        parts.append(f"Default: {str(default).lower() if kind is bool else default}.")
    return " ".join(parts)
