# SPDX-License-Identifier: Apache-2.0
"""From transformers to this package: code rewritten where the meaning stays, and notes where a person has to decide.

Nothing that is looked at is run or imported.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from distilbert.errors import BackendError, FileError, InputError
from distilbert.migrate import files
from distilbert.migrate.notes import Change, Kind, Note
from distilbert.migrate.result import FileResult, Migration

__all__ = ["Change", "FileResult", "Kind", "Migration", "Note", "migrate"]


def migrate(
    paths: Iterable[str | os.PathLike[str]],
    *,
    all_auto: bool = False,
    write: bool = False,
    progress: Callable[[str], None] = lambda path: None,
) -> Migration:
    """Rewrite uses of transformers' DistilBERT as uses of this package.

    Args:
        paths: Python files, notebooks, and folders of them.
        all_auto: take every Auto class, and every pipeline of a task that there is here, for a DistilBERT's. By default
            only those whose checkpoint says so by its name, or is loaded by a class of DistilBERT too.
        write: put the changes into the files; each is replaced in one step.
        progress: called with the path of each file.

    Returns:
        What was found. A file that cannot be read, parsed or written is among its problems, and the others are done.

    Raises:
        FileError: a path does not exist.
        BackendError: libcst is not installed.
    """
    if importlib.util.find_spec("libcst") is None:
        raise BackendError('migrate needs libcst\n  install:  pip install "distilbert[migrate]"')
    found = files.find(paths)
    results = []
    for path in found:
        progress(str(path))
        results.append(_migrate_file(path, all_auto, write))
    told = [one for one in results if one.changed or one.notes or one.problems]
    return Migration(told, len(found), write)


def _migrate_file(path: Path, all_auto: bool, write: bool) -> FileResult:
    result = FileResult(path)
    try:
        source = files.read(path)
        result = _rewritten(FileResult(path, source.text, source.text), all_auto)
        if write and result.changed:
            files.write(source, result.after)
    except FileError as error:
        return replace(result, after=result.before, problems=(*result.problems, str(error)))
    return result


def _rewritten(result: FileResult, all_auto: bool) -> FileResult:
    if "transformers" not in result.before:
        return result
    from distilbert.migrate.notebook import rewrite_notebook
    from distilbert.migrate.reading import NotPython
    from distilbert.migrate.rewriting import rewrite

    if result.path.suffix == ".ipynb":
        return rewrite_notebook(result, all_auto)
    try:
        done = rewrite(result.before, all_auto)
    except NotPython as error:
        raise FileError(f"{result.path}:{error.line}: {error}") from None
    except InputError as error:
        raise FileError(f"{result.path}: {error}") from None
    except RecursionError:
        raise FileError(f"{result.path}: is nested too deeply") from None
    notes = (*done.notes, *_shadow(result.path)) if done.text != result.before else done.notes
    return replace(result, after=done.text, changes=done.changes, notes=notes)


def _shadow(path: Path) -> Iterable[Note]:
    """A note where the file's own folder has a module that would be imported in the place of this package."""
    for other in (path.parent / "distilbert.py", path.parent / "distilbert" / "__init__.py"):
        if other.is_file() and path.parent.name != "distilbert":
            yield Note(Kind.CHANGE, 1, str(other), "import distilbert finds this first; give it another name")
