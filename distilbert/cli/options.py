# SPDX-License-Identifier: Apache-2.0
"""Arguments and options that several commands have, described once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from distilbert import spec
from distilbert.backend import BACKENDS


def checked(parse: Callable[[str], Any]) -> Callable[[str | None], Any]:
    """A callback for an option whose text `parse` turns into a value or refuses with a ValueError: wrong usage."""

    def callback(text: str | None) -> Any:
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return callback


def _task_name(text: str) -> str:
    return spec.find_task(text).name


def _backend_names(text: str) -> str:
    names = text.split(",")
    if not set(names) <= BACKENDS.keys():
        raise ValueError(f"expected a list such as {','.join(BACKENDS)}; found {text!r}")
    return text


Source = Annotated[
    str,
    typer.Argument(
        metavar="SRC",
        help="Folder, weights file, or hub repository (org/name or org/name@revision).",
        show_default=False,
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        metavar="TASK",
        callback=checked(_task_name),
        help=f"Which of the models: {', '.join(spec.TASKS)}. Default: the one it is.",
    ),
]
Backends = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        callback=checked(_backend_names),
        help=f"Frameworks to run, as in {','.join(BACKENDS)}. Default: all that are installed.",
    ),
]
Variant = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Read the weights called model.NAME.safetensors and so on, as in fp16."),
]
Revision = Annotated[str | None, typer.Option(metavar="NAME", help="Branch, tag or commit of a hub repository.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
