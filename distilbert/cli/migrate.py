# SPDX-License-Identifier: Apache-2.0
"""`distilbert migrate`: code for transformers into code for this package. The work is done in `distilbert/migrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distilbert.cli.console import plural, say, show_json, working
from distilbert.cli.options import Json

if TYPE_CHECKING:
    from distilbert.migrate import Migration


def migrate(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Python files, notebooks, folders.", show_default=False)
    ],
    write: Annotated[bool, typer.Option("--write", help="Put the changes into the files.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if something is to be changed, by this command or by hand.")
    ] = False,
    all_auto: Annotated[
        bool,
        typer.Option("--all-auto", help="Take every Auto class and pipeline for a DistilBERT's, whatever it loads."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Rewrite code for transformers' DistilBERT as code for this package.

    Prints a diff and changes nothing, unless --write is given.
    What has no exact counterpart is left as it is, with a note.
    """
    from distilbert.migrate import migrate as run

    with working() as progress:
        done = run(paths, all_auto=all_auto, write=write, progress=progress)
    if as_json:
        show_json(done.as_json())
    else:
        _show(done)
    for problem in done.problems():
        say("problem", problem)
    if done.problems() or (check and done.unfinished):
        raise typer.Exit(1)


def _show(done: Migration) -> None:
    if not done.written:
        for file in done.changed:
            _show_diff(file.diff())
    for place, note in done.notes():
        say("note", f"{place}: {note}")
    verb = "changed" if done.written else "to change"
    notes = plural(sum(1 for _ in done.notes()), "note")
    typer.echo(f"{plural(len(done.changed), 'file')} {verb} of {done.looked_at:,}, {notes}", err=True)


def _show_diff(diff: str) -> None:
    colours = {"+": typer.colors.GREEN, "-": typer.colors.RED, "@": typer.colors.CYAN}
    for line in diff.removesuffix("\n").split("\n"):
        typer.secho(line, fg=colours.get(line[:1]))
