# SPDX-License-Identifier: Apache-2.0
"""The package tf-keras and its switch: models here are of Keras 3 and do not go with them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from distilbert.migrate.reading import Reading, code

OLD, NEW = "tf_keras", "keras"
_SWITCH = re.compile(
    r"""os\.environ(?:\[(['"])TF_USE_LEGACY_KERAS\1\]\s*=\s*|\.setdefault\((['"])TF_USE_LEGACY_KERAS\2,\s*)"""
    r"""(['"])(?:1|[Tt]rue)\3\)?"""
)


def switches(reading: Reading) -> Iterator[cst.SimpleStatementLine]:
    """Lines that do nothing but switch tf-keras on."""
    for line in reading.all(cst.SimpleStatementLine):
        if len(line.body) == 1 and _SWITCH.fullmatch(code(line.body[0]).strip()):
            yield line


def imports(reading: Reading) -> Iterator[tuple[cst.CSTNode, cst.CSTNode]]:
    """Modules in import statements that are tf-keras, and what stands in their place."""
    for statement in reading.all(cst.ImportFrom):
        module = statement.module
        if module is not None and not statement.relative and code(module).split(".")[0] == OLD:
            yield module, cst.parse_expression(NEW + code(module).removeprefix(OLD))
    for plain in reading.all(cst.Import):
        for alias in plain.names:
            if code(alias.name) == OLD:
                bound = OLD if alias.asname is None else code(alias.asname.name)
                asname = None if bound == NEW else cst.AsName(cst.Name(bound))
                yield alias, alias.with_changes(name=cst.Name(NEW), asname=asname)
