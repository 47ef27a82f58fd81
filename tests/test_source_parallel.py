# SPDX-License-Identifier: Apache-2.0
"""The three modeling and heads files are one text in three languages: compared as syntax trees, imports nothing."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import pytest

from .conftest import REPOSITORY

BACKENDS = ("pt", "tf", "flax")
FILES = ("modeling.py", "heads.py")

# What a framework cannot do without and the others do not have.
EXTRA_PARAMETERS = {"training", "train", "rngs", "params", "dropout_rng", "dtype", "param_dtype", "kwargs"}
FORWARD = {"forward", "call", "__call__"}


class Outline(ast.NodeVisitor):
    """Classes, methods, parameters and assigned names of a source, in order, with forward/call/__call__ made one."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.lines.append(f"class {node.name}")
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        arguments = [*node.args.args, *node.args.kwonlyargs]
        names = [argument.arg for argument in arguments if argument.arg not in EXTRA_PARAMETERS]
        self.lines.append(f"def {'forward' if node.name in FORWARD else node.name}({', '.join(names)})")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        names = [ast.unparse(target) for target in node.targets]
        self.lines += [f"{'self.weight' if name == 'self.kernel' else name} =" for name in names]
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        self.lines.append("return")
        self.generic_visit(node)


def source(backend: str, name: str) -> str:
    return (REPOSITORY / "distilbert" / backend / name).read_text()


def outline(text: str) -> list[str]:
    visitor = Outline()
    visitor.visit(ast.parse(text))
    return visitor.lines


def shape_comments(text: str) -> list[str]:
    return re.findall(r"#\s*(\([A-Z].*\))\s*$", text, re.MULTILINE)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(BACKENDS, 2)))
def test_same_outline(name, one, other):
    assert outline(source(one, name)) == outline(source(other, name))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(BACKENDS, 2)))
def test_same_shape_comments(name, one, other):
    comments = shape_comments(source(one, name))
    assert len(comments) > 20
    assert comments == shape_comments(source(other, name))


@pytest.mark.parametrize(
    ("found", "replacement"),
    [
        ("class FFN", "class FeedForward"),
        ("attended, attentions =", "y, attentions ="),
        ("self.sa_layer_norm =", "self.norm1 ="),
        ("def split", "def split_heads"),
        ("head_mask:", "heads:"),
    ],
)
def test_a_drift_is_seen(found, replacement):
    text = source("pt", "modeling.py")
    assert found in text
    assert outline(text.replace(found, replacement)) != outline(text)


def test_the_same_files_in_each_backend():
    files = {
        backend: {path.name for path in Path(REPOSITORY / "distilbert" / backend).glob("*.py")} for backend in BACKENDS
    }
    assert files["pt"] <= files["tf"], "Keras needs more files, never fewer"
    assert files["pt"] <= files["flax"], "JAX needs more files, never fewer"
