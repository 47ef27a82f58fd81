# SPDX-License-Identifier: Apache-2.0
"""Notebooks: their code cells as one module, and back. Everything else in the file stays as it is, byte for byte."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any, TypeVar

from distilbert.errors import FileError
from distilbert.files import parse_json
from distilbert.migrate.notes import Change, Note
from distilbert.migrate.reading import NotPython, parse
from distilbert.migrate.result import FileResult
from distilbert.migrate.rewriting import rewrite

Placed = TypeVar("Placed", Change, Note)

_BORDER = "# distilbert: the end of cell {number} #\n"
_HIDDEN = "# distilbert: hidden #"
MAGIC = re.compile(r"^(\s*)((?:[%!?]|\w[\w.,\s]*=\s*[%!]).*|\S.*\?)$", re.MULTILINE)


def rewrite_notebook(result: FileResult, all_auto: bool) -> FileResult:
    """The notebook whose text is `result.before`, rewritten.

    Raises:
        FileError: it is no notebook, or is written in a form that would not come back the same.
    """
    notebook = parse_json(result.before, str(result.path))
    cells = notebook.get("cells")
    if not isinstance(cells, list):
        raise FileError(f"{result.path}: expected a notebook of version 4, found no cells")
    form = _form(notebook, result.before)
    if form is None:
        raise FileError(f"{result.path}: its JSON has an unusual form; open it with Jupyter and save it first")
    sources, problems = _sources(cells, str(result.path))
    module, starts = _joined(sources)
    done = rewrite(module, all_auto)
    for number, text in _parted(done.text, sources).items():
        cells[number - 1]["source"] = _like(cells[number - 1]["source"], text)
    after = result.before if done.text == module else form(notebook)
    changes = tuple(_placed(one, starts) for one in done.changes)
    notes = tuple(_placed(one, starts) for one in done.notes)
    return dataclasses.replace(result, after=after, changes=changes, notes=notes, problems=tuple(problems))


def _sources(cells: list[Any], origin: str) -> tuple[dict[int, str], list[str]]:
    """The Python of every code cell by its number, lines that are not Python hidden; and what does not parse."""
    sources, problems = {}, []
    for number, cell in enumerate(cells, 1):
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source", "")
        text = "".join(source) if isinstance(source, list) else str(source)
        if text.lstrip().startswith("%%"):
            continue  # the whole cell is of another program
        for candidate in (text, MAGIC.sub(rf"\1pass  {_HIDDEN}\2", text)):
            try:
                parse(candidate)
            except NotPython as error:
                problem = f"{origin}:cell {number}:{error.line}: {error}"
            else:
                sources[number] = candidate
                break
        else:
            problems.append(problem)
    return sources, problems


def _joined(sources: dict[int, str]) -> tuple[str, dict[int, int]]:
    """All cells as one module, and the line before the first of each."""
    module, starts = "", {}
    for number, text in sources.items():
        starts[number] = module.count("\n")
        module += text + "\n" + _BORDER.format(number=number)
    return module, starts


def _parted(module: str, sources: dict[int, str]) -> dict[int, str]:
    """The module as cells again, those that are not the same."""
    changed = {}
    for number, before in sources.items():
        text, _, module = module.partition("\n" + _BORDER.format(number=number))
        if text != before:
            changed[number] = text.replace(f"pass  {_HIDDEN}", "")
    return changed


def _placed(one: Placed, starts: dict[int, int]) -> Placed:
    """The same in its cell."""
    cell = max(number for number, start in starts.items() if start < one.line)
    return dataclasses.replace(one, cell=cell, line=one.line - starts[cell])


def _like(before: Any, text: str) -> Any:
    """A cell's text as a list of lines, if it was one."""
    return text.splitlines(keepends=True) if isinstance(before, list) else text


def _form(notebook: dict[str, Any], text: str) -> Any:
    """How the file is written: the function that gives its text; None where that is not found out."""
    end = text[len(text.rstrip()) :]
    for indent in (1, 2, 4, "\t", None):
        for ascii_only in (False, True):

            def form(value: Any, indent: Any = indent, ascii_only: bool = ascii_only) -> str:
                return json.dumps(value, indent=indent, ensure_ascii=ascii_only) + end

            if form(notebook) == text:
                return form
    return None
