# SPDX-License-Identifier: Apache-2.0
"""From names, patterns and folders to the list of input files, with everything that is wrong said at once."""

from __future__ import annotations

import glob
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from distilbert.errors import DistilBertError, FileError, describe
from distilbert.tables.formats import STANDARD, known_suffixes, suffix_format
from distilbert.tables.reading import read_columns
from distilbert.tables.rows import quoted


def find_inputs(names: Sequence[str | Path], format: str | None = None) -> list[Path]:
    """The files that `names` stand for, each once, in the order of the names and sorted within each.

    A name is a file, a pattern (`*`, `?`, `[...]`, `**` for folders of any depth), a folder (the files of known formats
    right inside it) or `-` for standard input. Hidden files are left out unless named.

    Args:
        names: what the user wrote.
        format: the format of all of them, whatever their suffixes; needed for standard input.

    Raises:
        FileError: with a list of all problems: nothing found, an unknown suffix, a header or schema that cannot be
            read, columns unequal to those of the first file (their order is free; JSON Lines declare none).
    """
    problems: list[str] = []
    found: dict[Path, Path] = {}
    for name in names:
        for path in expand(str(name), problems):
            found.setdefault(path.resolve(), path)
    problems += column_problems(found.values(), format)
    if not names:
        problems.append("no name was given")
    if problems:
        raise FileError(describe("inputs", problems))
    return list(found.values())


def expand(name: str, problems: list[str], more_suffixes: Collection[str] = ()) -> list[Path]:
    """The files that one name stands for, not looked into; where there are none, the reason goes into `problems`.

    Args:
        name: as for `find_inputs`.
        problems: takes what is wrong.
        more_suffixes: of files that count in a folder besides those of the formats here.
    """
    path = Path(name)
    if path == STANDARD:
        return [path]
    if path.is_dir():
        paths = [inner for inner in sorted(path.iterdir()) if _is_input(inner, more_suffixes)]
        known = ", ".join([*more_suffixes, known_suffixes()])
        return paths or _none(problems, f"{name}: no file of a known format in this folder ({known})")
    if path.exists():
        return [path]
    if glob.has_magic(name):
        paths = [inner for inner in map(Path, sorted(glob.glob(name, recursive=True))) if not inner.is_dir()]
        return paths or _none(problems, f"{name}: no file matches this pattern")
    return _none(problems, f"{name}: not found")


def _is_input(path: Path, more_suffixes: Collection[str]) -> bool:
    if path.name.startswith(".") or not path.is_file():
        return False
    return suffix_format(path) is not None or path.name.lower().removesuffix(".gz").endswith(tuple(more_suffixes))


def _none(problems: list[str], problem: str) -> list[Path]:
    problems.append(problem)
    return []


def column_problems(paths: Iterable[Path], format: str | None) -> list[str]:
    """Which headers and schemas cannot be read, or differ from the first."""
    problems: list[str] = []
    first: tuple[Path, list[str]] | None = None
    for path in paths:
        try:
            names = read_columns(path, format)
        except DistilBertError as error:
            problems.append(str(error))
            continue
        if names is None:
            continue
        first = first or (path, names)
        problems += _differences(path, names, *first)
    return problems


def _differences(path: Path, names: list[str], first: Path, expected: list[str]) -> list[str]:
    absent = [name for name in expected if name not in names]
    extra = [name for name in names if name not in expected]
    parts = [f"no column {quoted(absent)}"] if absent else []
    parts += [f"one more column {quoted(extra)}"] if extra else []
    return [f"{path}: unequal to {first}: {'; '.join(parts)}"] if parts else []
