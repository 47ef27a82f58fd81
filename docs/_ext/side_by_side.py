# SPDX-License-Identifier: Apache-2.0
"""One source in three frameworks, in three columns, one row for each statement: for the docs, or by itself.

    python docs/_ext/side_by_side.py modeling.py > modeling.html

The files are parallel by design (tests/test_source_parallel.py), so a row is found by what a statement is and by the
names it assigns; what a framework alone needs stands in a row of its own. The sources are parsed, not imported.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from html import escape
from itertools import zip_longest
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

PACKAGE = Path(__file__).resolve().parent.parent.parent / "distilbert"
BACKENDS = {"pt": "PyTorch", "tf": "TensorFlow (Keras 3)", "flax": "JAX (Flax NNX)"}
FORWARD = ("forward", "call", "__call__")

_LEXER = PythonLexer(stripnl=False, ensurenl=False)
_FORMATTER = HtmlFormatter(nowrap=True)


@dataclass(frozen=True)
class Statement:
    """A statement of a source: what identifies it among its neighbours, and its lines.

    Of a class, a function, a loop or a condition only the head is meant; what is inside follows as statements.
    """

    key: str
    line: int
    text: str


Row = tuple[Statement | None, ...]


@dataclass(frozen=True)
class Section:
    """A class or function at the top of the file, as aligned rows."""

    name: str
    rows: list[Row]


def sections(name: str, package: Path = PACKAGE) -> list[Section]:
    """The aligned sections of a file that every backend has, in PyTorch's order.

    Args:
        name: file name, such as `modeling.py`.
        package: folder of the package.
    """
    sources = [_top_level((package / backend / name).read_text(encoding="utf-8")) for backend in BACKENDS]
    names = list(dict.fromkeys(section for source in sources for section in source))
    return [Section(section, align([source.get(section, []) for source in sources])) for section in names]


def align(columns: Sequence[Sequence[Statement]]) -> list[Row]:
    """Rows with one statement of each column, or None where a column has no counterpart to the first one's."""
    first, *others = columns
    placed = [_place(first, other) for other in others]
    rows: list[Row] = []
    for i in range(len(first) + 1):
        rows += zip_longest([], *(before.get(i, []) for before, _ in placed))
        if i < len(first):
            rows.append((first[i], *(beside.get(i) for _, beside in placed)))
    return rows


def page(name: str) -> str:
    """The HTML table of a file."""
    bodies = [_body(section) for section in sections(name)]
    heads = "".join(
        f"<th>{escape(title)}<small>{backend}/{escape(name)}</small></th>" for backend, title in BACKENDS.items()
    )
    return (
        f'<div class="side-by-side highlight"><table><thead><tr>{heads}</tr></thead>\n'
        + "\n".join(bodies)
        + "\n</table></div>"
    )


def _place(
    first: Sequence[Statement], other: Sequence[Statement]
) -> tuple[dict[int, list[Statement]], dict[int, Statement]]:
    """Where the statements of another column go: before a row of the first column, or beside it."""
    before: dict[int, list[Statement]] = {}
    beside: dict[int, Statement] = {}
    matcher = SequenceMatcher(None, [item.key for item in first], [item.key for item in other], autojunk=False)
    for kind, start, stop, other_start, other_stop in matcher.get_opcodes():
        run = list(other[other_start:other_stop])
        if kind != "insert":  # equal, or another spelling of the same step
            beside.update(zip(range(start, stop), run, strict=False))
            run = run[stop - start :]
        if run:
            before.setdefault(stop, []).extend(run)
    return before, beside


def _top_level(source: str) -> dict[str, list[Statement]]:
    """The statements of each class and function at the top of a file; imports are left out."""
    lines = source.splitlines()
    found: dict[str, list[Statement]] = {}
    end = 0
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = list(_statements(node, lines, end))
        end = node.end_lineno or end
    return found


def _statements(node: ast.stmt, lines: Sequence[str], before: int) -> Iterator[Statement]:
    """A statement and those inside it; `before` is the last line of what comes before."""
    start = min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", []))])
    while start - 1 > before and lines[start - 2].strip().startswith("#"):
        start -= 1
    inside = [item for field in ("body", "orelse", "finalbody") for item in getattr(node, field, [])]
    stop = inside[0].lineno - 1 if inside else node.end_lineno or node.lineno
    if inside and stop < node.lineno:  # written on one line
        inside, stop = [], node.end_lineno or node.lineno
    text = "\n".join(lines[start - 1 : stop]).rstrip()
    yield Statement(_key(node), start, text)
    for item in inside:
        yield from _statements(item, lines, stop)
        stop = item.end_lineno or stop


def _key(node: ast.stmt) -> str:
    """What makes two statements of different frameworks the same step."""
    if isinstance(node, ast.FunctionDef):
        return f"def {FORWARD[0] if node.name in FORWARD else node.name}"
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}"
    if isinstance(node, ast.Assign):
        return " = ".join(ast.unparse(target) for target in node.targets) + " ="
    if isinstance(node, ast.AnnAssign):
        return f"{ast.unparse(node.target)} ="
    if _is_docstring(node):
        return "docstring"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return f"{ast.unparse(node.value.func)}()"
    return type(node).__name__


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _body(section: Section) -> str:
    rows = "\n".join(_row(row) for row in section.rows)
    return f'<tbody><tr class="section"><th colspan="{len(BACKENDS)}">{escape(section.name)}</th></tr>\n{rows}</tbody>'


def _row(row: Row) -> str:
    texts = {item and item.text for item in row}
    kind = ' class="same"' if len(texts) == 1 else ""
    return f"<tr{kind}>{''.join(_cell(item) for item in row)}</tr>"


def _cell(item: Statement | None) -> str:
    if item is None:
        return "<td></td>"
    lines = highlight(item.text, _LEXER, _FORMATTER).rstrip("\n").split("\n")
    shown = "".join(_line(plain, coloured) for plain, coloured in zip(item.text.split("\n"), lines, strict=True))
    return f'<td title="line {item.line}">{shown}</td>'


def _line(plain: str, coloured: str) -> str:
    """A line that keeps its indentation when it is broken to fit the column."""
    indent = len(plain) - len(plain.lstrip())
    bare = re.sub(r"^((?:<span[^>]*>)*) +", r"\1", coloured)
    return f'<code style="--indent: {indent}">{bare}</code>'


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        sys.stdout.write(page(argument) + "\n")
