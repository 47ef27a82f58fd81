# SPDX-License-Identifier: Apache-2.0
"""The tables of the documentation that say what the code says, as Markdown made from the code itself.

    python docs/_ext/tables.py README.md docs/tensors.md

writes those of a file anew that stand between `<!-- table: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import tensor_tables
import typer
from side_by_side import BACKENDS, PACKAGE

from distilbert import backend, cli, errors, spec
from distilbert.config import ACTIVATIONS, ALIASES, DistilBertConfig
from distilbert.convert.formats import FORMATS
from distilbert.parity import tolerances


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    escaped = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *escaped))


def code(text: Any) -> str:
    """Text as code."""
    return f"`{text}`"


def bounds() -> str:
    """What is equal to what, to which bound."""
    rows = [(row.quantity, row.compared_with, str(row)) for row in tolerances.TABLE]
    return table(("quantity", "compared with", "bound"), rows)


def reasons() -> str:
    """Why each bound is what it is."""
    return table(("row", "bound", "reason"), [(row.name, str(row), row.reason) for row in tolerances.TABLE])


def formats() -> str:
    """The four formats with their files and the spelling of names in them."""
    rows = [
        (
            code(row.name),
            code(row.file_name),
            f"{code(row.shard_name(1, 2))}, {code(row.index_name)}",
            backend.BACKENDS[row.dialect].title,
        )
        for row in FORMATS.values()
    ]
    return table(("`--to`", "file", "in shards", "names and layout of"), rows)


def tasks() -> str:
    """The six models: task, other names of it, class."""
    rows = [
        (code(task.name), ", ".join(map(code, task.aliases)), code(task.class_name)) for task in spec.TASKS.values()
    ]
    return table(("task", "also called", "class"), rows)


def config() -> str:
    """Every field of the config, its default and other names."""
    aliases: dict[str, list[str]] = {}
    for alias, field in ALIASES.items():
        aliases.setdefault(field, []).append(code(alias))
    defaults = DistilBertConfig()
    rows = [
        (code(field.name), code(getattr(defaults, field.name)), ", ".join(aliases.get(field.name, [])))
        for field in dataclasses.fields(DistilBertConfig)
    ]
    return table(("field", "default", "also read as"), rows)


def activations() -> str:
    """The activation functions."""
    return ", ".join(map(code, ACTIVATIONS)) + "."


def attention() -> str:
    """The attention implementations of each framework, the default first."""
    rows = []
    for name, title in BACKENDS.items():
        names, default = _implementations(name)
        rows.append((title, code(default), ", ".join(code(other) for other in names if other != default)))
    return table(("framework", "default", "others"), rows)


def error_classes() -> str:
    """Every error class with the built-in class it also is."""
    rows = []
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.DistilBertError) and kind is not errors.DistilBertError:
            built_in = next(base.__name__ for base in kind.__mro__ if hasattr(builtins, base.__name__))
            rows.append((code(kind.__name__), code(built_in), (kind.__doc__ or "").splitlines()[0]))
    return table(("class", "is also a", "raised when"), rows)


def commands() -> str:
    """Every command with its arguments and options."""
    group = typer.main.get_command(cli.app)
    return "\n\n".join(_command(name, command) for name, command in group.commands.items())  # type: ignore[attr-defined]


TABLES: dict[str, Callable[[], str]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        bounds,
        reasons,
        formats,
        tasks,
        config,
        activations,
        attention,
        error_classes,
        commands,
        *tensor_tables.TABLES,
    )
}


def _implementations(framework: str) -> tuple[list[str], str]:
    """The names in a backend's table of attention kernels, read from its source: importing it needs the framework."""
    names, default = [], ""
    for node in ast.parse((PACKAGE / framework / "attention.py").read_text(encoding="utf-8")).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "IMPLEMENTATIONS":
            names = [ast.literal_eval(key) for key in node.value.keys]  # type: ignore[attr-defined]
        if isinstance(target, ast.Name) and target.id == "DEFAULT":
            default = ast.literal_eval(node.value)  # type: ignore[attr-defined]
    return names, default


def _command(name: str, command: Any) -> str:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option"]
    usage = " ".join(["distilbert", name, "[OPTIONS]", *(item.metavar or item.name.upper() for item in arguments)])
    rows = [(code(item.metavar or item.name.upper()), item.help or "", "") for item in arguments]
    rows += [(code(_option(item)), item.help or "", _default(item)) for item in options]
    return "\n\n".join([f"## {name}", f"```text\n{usage}\n```", command.help, table(("", "", "default"), rows)])


def _option(item: Any) -> str:
    names = ", ".join([*item.opts, *item.secondary_opts])
    return names if item.is_flag else f"{names} {item.metavar or 'TEXT'}"


def _default(item: Any) -> str:
    if item.is_flag or item.default is None or not item.show_default:
        return ""
    return code(getattr(item.default, "value", item.default))


def refreshed(text: str) -> str:
    """A Markdown text with its marked tables as the code has them now."""
    return re.sub(
        r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n\n{found[3]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        Path(argument).write_text(refreshed(Path(argument).read_text(encoding="utf-8")), encoding="utf-8")
