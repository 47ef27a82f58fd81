# SPDX-License-Identifier: Apache-2.0
"""What the commands write and how it looks: tables and JSON to standard output, everything else to standard error.

Rich is imported only when something is drawn with it, so that `--version`, `--json` and errors cost nothing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_WIDE = 10_000  # columns where there is no terminal: a path that a script reads is never broken or cut


def show(*renderables: RenderableType) -> None:
    """Print to standard output, as wide as the terminal; without colours and line breaks into a file or a pipe."""
    console = _console(sys.stdout)
    for renderable in renderables:
        console.print(renderable)


def show_json(value: Any) -> None:
    """Print a value as JSON to standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def say(kind: str, message: str) -> None:
    """Print `kind: message` to standard error, whole and unwrapped; kinds are `error`, `problem`, `warning`, `note`."""
    colour = typer.colors.YELLOW if kind in ("warning", "note") else typer.colors.RED
    plain = False if os.environ.get("NO_COLOR") else None
    typer.secho(f"{kind}:", err=True, nl=False, fg=colour, bold=True, color=plain)
    typer.echo(f" {message}", err=True)


def fact_table(facts: Sequence[tuple[str, str]]) -> Table:
    """Two columns without lines: what, and its value. Values may hold anything, markup is not looked for."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, Text(value))
    return table


def grid(title: str, texts: Sequence[str], numbers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A titled table: columns of text on the left, then columns of numbers, which stand on the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in texts:
        table.add_column(Text(heading), overflow="fold")
    for heading in numbers:
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


@contextmanager
def working() -> Iterator[Callable[[str], None]]:
    """What tells a terminal what is being done at the moment; it says nothing where there is no terminal."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    with _console(sys.stderr).status("starting ...") as status:
        yield lambda step: status.update(f"{step} ...")


def size(nbytes: int) -> str:
    """Bytes for a reader: `4.8 MB`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= scale:
            return f"{nbytes / scale:.1f} {unit}"
    return f"{nbytes} B"


def plural(count: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _console(stream: Any) -> Console:
    from rich.console import Console

    return Console(file=stream, highlight=False, width=None if stream.isatty() else _WIDE)
