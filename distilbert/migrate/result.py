# SPDX-License-Identifier: Apache-2.0
"""What came of each file."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilbert.migrate.notes import Change, Kind, Note


@dataclass(frozen=True)
class Rewritten:
    """The text of a module after rewriting.

    Attributes:
        text: the same as before where nothing is to be done.
        changes: what was done, by line.
        notes: what is left to do, by line.
    """

    text: str
    changes: tuple[Change, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class FileResult:
    """A file.

    Attributes:
        path: as it was found.
        before: its text.
        after: its text with the changes.
        changes: what they are.
        notes: what is left to do.
        problems: why it, or cells of it, could not be looked at.
    """

    path: Path
    before: str = ""
    after: str = ""
    changes: tuple[Change, ...] = ()
    notes: tuple[Note, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether there is something to write."""
        return self.before != self.after

    @property
    def unfinished(self) -> bool:
        """Whether something is to be rewritten, by this program or by hand."""
        return self.changed or any(note.kind is Kind.CHANGE for note in self.notes)

    def diff(self) -> str:
        """The changes as a unified diff that `patch -p1` and `git apply` read; empty where there are none."""
        name = self.path.as_posix().lstrip("/")
        lines = difflib.unified_diff(_lines(self.before), _lines(self.after), f"a/{name}", f"b/{name}")
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "path": str(self.path),
            "changed": self.changed,
            "changes": [{"line": one.line, "cell": one.cell, "what": one.what} for one in self.changes],
            "notes": [
                {"kind": str(one.kind), "line": one.line, "cell": one.cell, "what": one.what, "instead": one.instead}
                for one in self.notes
            ],
            "problems": list(self.problems),
            "diff": self.diff(),
        }


@dataclass(frozen=True)
class Migration:
    """All files.

    Attributes:
        files: those with something to say, in the order of their paths.
        looked_at: how many files there are in all.
        written: whether the changes are in the files now.
    """

    files: Sequence[FileResult]
    looked_at: int
    written: bool = False

    @property
    def changed(self) -> list[FileResult]:
        """The files with changes."""
        return [file for file in self.files if file.changed]

    @property
    def unfinished(self) -> bool:
        """Whether any file has something to be rewritten, by this program or by hand."""
        return any(file.unfinished for file in self.files)

    def notes(self) -> Iterator[tuple[str, Note]]:
        """Every note with its place."""
        for file in self.files:
            for note in file.notes:
                cell = "" if note.cell is None else f"cell {note.cell}:"
                yield f"{file.path}:{cell}{note.line}", note

    def problems(self) -> list[str]:
        """What could not be looked at or written."""
        return [problem for file in self.files for problem in file.problems]

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "files": [file.as_json() for file in self.files],
            "looked_at": self.looked_at,
            "changed": len(self.changed),
            "notes": sum(len(file.notes) for file in self.files),
            "problems": len(self.problems()),
            "written": self.written,
        }


def _lines(text: str) -> list[str]:
    """Lines as diff and patch count them: only a line feed ends one."""
    lines = text.split("\n")
    return [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
