# SPDX-License-Identifier: Apache-2.0
"""Import statements: which of their names go to this package, and how one statement becomes two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import libcst as cst

from distilbert.migrate.arguments import ended_as
from distilbert.migrate.names import PACKAGE
from distilbert.migrate.reading import code

_ONE_LINE = 88  # columns, up to which a shorter list of names is written without brackets


@dataclass
class FromEdit:
    """What becomes of `from transformers import ...`.

    Attributes:
        moved: names of this package by the place of the name they come from; None for the alias that was there, which
            is kept, else the name has none or the one given.
        kept: places of the names that stay.
        package: the name that this package gets, where a name that is imported is a module of classes; else empty.
    """

    moved: dict[int, list[tuple[str, str | None]]] = field(default_factory=dict)
    kept: set[int] = field(default_factory=set)
    package: str = ""

    def apply(self, statement: cst.ImportFrom) -> list[cst.BaseSmallStatement]:
        """The statements in the place of the one."""
        found: list[cst.BaseSmallStatement] = [_import_package(self.package)] if self.package else []
        if self.moved:
            moved = _selected(statement, self.moved)
            found.append(moved.with_changes(module=cst.Name(PACKAGE)))
        if self.kept:
            found.append(_selected(statement, dict.fromkeys(self.kept)))
        return found


@dataclass
class ImportEdit:
    """What becomes of `import transformers`: which of its modules stay, and the name that this package gets."""

    kept: set[int]
    name: str

    def apply(self, statement: cst.Import) -> list[cst.BaseSmallStatement]:
        """The statements in the place of the one."""
        found: list[cst.BaseSmallStatement] = [_import_package(self.name)]
        names = [alias for place, alias in enumerate(statement.names) if place in self.kept]
        if names:
            names[-1] = names[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
            found.append(statement.with_changes(names=names))
        return found


def _import_package(name: str) -> cst.Import:
    asname = None if name == PACKAGE else cst.AsName(cst.Name(name))
    return cst.Import([cst.ImportAlias(cst.Name(PACKAGE), asname)])


def _selected(
    statement: cst.ImportFrom, wanted: Mapping[int, Sequence[tuple[str, str | None]] | None]
) -> cst.ImportFrom:
    """The statement with some of its names, each as it is (None), or as others in its place."""
    if isinstance(statement.names, cst.ImportStar):
        return statement
    names: list[Any] = []
    for place in sorted(wanted):
        names += _replaced(statement.names[place], wanted[place])
    last = statement.names[-1]
    if max(wanted) != len(statement.names) - 1:
        names[-1] = ended_as(names[-1], last)
    selected = statement.with_changes(names=names)
    return _on_one_line(selected) if len(names) < len(statement.names) else selected


def _replaced(alias: cst.ImportAlias, names: Sequence[tuple[str, str | None]] | None) -> list[cst.ImportAlias]:
    if names is None:
        return [alias]
    found = []
    for number, (name, asname) in enumerate(names):
        as_ = None if asname is None else cst.AsName(cst.Name(asname))
        is_last = number == len(names) - 1
        comma: Any = alias.comma if is_last else cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
        found.append(alias.with_changes(name=cst.Name(name), asname=as_, comma=comma))
    return found


def _on_one_line(statement: cst.ImportFrom) -> cst.ImportFrom:
    if statement.lpar is None or "#" in code(statement) or isinstance(statement.names, cst.ImportStar):
        return statement
    if "\n" not in code(statement):
        return statement
    plain = [
        alias.with_changes(comma=cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))) for alias in statement.names
    ]
    plain[-1] = plain[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    line = statement.with_changes(names=plain, lpar=None, rpar=None)
    return line if len(code(line)) <= _ONE_LINE else statement
