# SPDX-License-Identifier: Apache-2.0
"""The three modeling and heads files are one text in three languages: compared as syntax trees, imports nothing.

The inference files differ in how they compute, and are alike in what there is: classes, methods, parameters, attributes
and what a Head says. The files with the objectives of training are one text, but for what is named below.
"""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import pytest

from .conftest import REPOSITORY

BACKENDS = ("pt", "tf", "flax")
FILES = ("modeling.py", "heads.py")
OBJECTIVES = ("objectives.py", "distillation.py")

# What a framework cannot do without and the others do not have.
EXTRA_PARAMETERS = {"training", "train", "rngs", "params", "dropout_rng", "dtype", "param_dtype", "kwargs", "learner"}
FORWARD = {"forward", "call", "__call__"}

# What an inference file has for itself: how sequences lie in rows, where arrays are, what is compiled.
INFERENCE_PARAMETERS = {"blocks", "shape", "rows", "large", "device", "on_gpu"}
INFERENCE_SYNONYMS = {"segments": "mask"}
INFERENCE_EXTRAS = {
    "Block",
    "LayerNorm",  # of TensorFlow, in kernels.py
    "Network",
    *(f"Weights.{name}" for name in ("device", "on_gpu", "embedded", "layer", "constant", "qkv_linear")),
    *(f"TransformerBlock.{name}" for name in ("dtype", "on_gpu", "attend_blocks", "attend_varlen")),
    "Encoder.dtype",
    *(f"FastModel.{name}" for name in ("device", "on_gpu", "tokens_per_pack", "run_dense", "leaves", "structure")),
    *(f"FastModel.{name}" for name in ("bounds", "reshape", "few", "many", "compiled")),
    *(f"FastModel.{name}" for name in ("warm_up", "shapes", "usual_places", "_joined")),
}

# What an objective's file has for itself: graphs and pytrees, float types that TensorFlow does not mix.
OBJECTIVE_EXTRAS = {
    "weighted_sum",
    *(f"Teacher.{name}" for name in ("_answers", "tree_flatten", "tree_unflatten")),
    *(f"DistillationObjective.{name}" for name in ("tree_flatten", "tree_unflatten")),
    *("computing_as", "without_values", "filled_up"),
    "Teacher.__init__ self.params =",
    "Teacher.__call__ model =",
    *(f"Teacher.ask {name} =" for name in ("tensors", "inputs", "answers", "(rows, length)", "sizes")),
    "kept_divergences probabilities =",
}


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


def surface(text: str) -> dict[str, str]:
    """Classes, their methods with parameters, the attributes that `__init__` sets and the words of a Head, in order."""
    rows = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            rows[node.name] = "class"
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    rows |= {f"{node.name}.{name}": row for name, row in method_surface(node.name, method).items()}
    return rows


def method_surface(owner: str, method: ast.FunctionDef) -> dict[str, str]:
    arguments = [*method.args.args, method.args.vararg, *method.args.kwonlyargs]
    names = [argument.arg for argument in arguments if argument and argument.arg not in INFERENCE_PARAMETERS]
    rows = {method.name: f"({', '.join(INFERENCE_SYNONYMS.get(name, name) for name in names)})"}
    own = [node for node in in_order(method) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"]
    if method.name == "__init__":
        rows |= {node.attr: "attribute" for node in own if isinstance(node.ctx, ast.Store)}
    if owner == "Head":
        words = [node for node in in_order(method) if node in own or isinstance(getattr(node, "value", None), str)]
        rows[f"{method.name} in words"] = " ".join(map(ast.unparse, words))
    return rows


def in_order(tree: ast.AST) -> list[ast.expr]:
    """The expressions in a tree as they are written."""
    expressions = [node for node in ast.walk(tree) if isinstance(node, ast.expr)]
    return sorted(expressions, key=lambda node: (node.lineno, node.col_offset))


def definitions(text: str) -> list[str]:
    """Classes, functions with parameters and the names that each assigns, in order, without a framework's extras."""
    rows = []
    for owner in ast.parse(text).body:
        in_class = isinstance(owner, ast.ClassDef)
        rows += [f"{owner.name} class"] if in_class else []
        for node in owner.body if in_class else [owner]:
            if isinstance(node, ast.FunctionDef):
                name = f"{owner.name}.{node.name}" if in_class else node.name
                visitor = Outline()
                visitor.visit(node)
                rows += [f"{name} {line}" for line in visitor.lines if line != "return"]
    return [row for row in rows if row not in OBJECTIVE_EXTRAS and row.partition(" ")[0] not in OBJECTIVE_EXTRAS]


def in_common(one: dict[str, str], other: dict[str, str]) -> list[tuple[str, str]]:
    """The rows of one, without the extras that the other does not have; what is in an extra class is one, too."""
    missing = INFERENCE_EXTRAS - other.keys()
    return [row for row in one.items() if row[0] not in missing and row[0].partition(".")[0] not in missing]


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


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(BACKENDS, 2)))
def test_same_surface_of_inference(one, other):
    first, second = (surface(source(backend, "inference.py")) for backend in (one, other))
    assert len(in_common(first, second)) > 50
    assert in_common(first, second) == in_common(second, first)


def test_no_extra_of_inference_is_in_all_or_in_none():
    surfaces = [surface(source(backend, "inference.py")) for backend in BACKENDS]
    assert {sum(name in rows for rows in surfaces) for name in INFERENCE_EXTRAS} == {1, 2}


@pytest.mark.parametrize(
    ("found", "replacement"),
    [
        ("class TransformerBlock", "class EncoderBlock"),
        ("    def packed", "    def run_packed"),
        ("self.sa_layer_norm =", "self.norm1 ="),
        ("self.device = device", "self.device = self.place = device"),
        ("self, input_ids:", "self, ids:"),
        ('if self.task == "token-classification"', 'if self.task == "tokens"'),
        ('weights.linear("qa_outputs")', 'weights.linear("classifier")'),
        ("self.classifier(hidden)", "self.pre_classifier(hidden)"),
        (
            "self.task = task\n        self.activation = config.activation",
            "self.activation = config.activation\n        self.task = task",
        ),
    ],
)
def test_a_drift_of_inference_is_seen(found, replacement):
    text = source("pt", "inference.py")
    assert found in text
    one, other = surface(text), surface(text.replace(found, replacement))
    assert in_common(one, other) != in_common(other, one)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(BACKENDS, 2)))
def test_same_objectives(name, one, other):
    texts = source(one, name), source(other, name)
    first, second = map(definitions, texts)
    assert len(first) > 9
    assert first == second
    assert shape_comments(texts[0]) == shape_comments(texts[1])


@pytest.mark.parametrize(
    ("found", "replacement"),
    [
        ("class TaskDistillationObjective", "class TaskObjective"),
        ("def divergences(student: Tensor, teacher: Tensor", "def divergences(teacher: Tensor, student: Tensor"),
        ("rest = ", "others = "),
        ("def ask(", "def answer("),
        ('terms["cos"] =', 'terms["cosine"] ='),
    ],
)
def test_a_drift_of_objectives_is_seen(found, replacement):
    text = source("pt", "distillation.py")
    assert found in text
    assert definitions(text.replace(found, replacement)) != definitions(text)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(BACKENDS, 2)))
def test_same_importance(one, other):
    texts = source(one, "importance.py"), source(other, "importance.py")
    first, second = ([row for row in definitions(text) if " def " in row and " loss(" not in row] for text in texts)
    assert len(first) == 3
    assert first == second
    assert shape_comments(texts[0]) == shape_comments(texts[1])


def test_the_same_files_in_each_backend():
    files = {
        backend: {path.name for path in Path(REPOSITORY / "distilbert" / backend).glob("*.py")} for backend in BACKENDS
    }
    assert files["pt"] <= files["tf"], "Keras needs more files, never fewer"
    assert files["pt"] <= files["flax"], "JAX needs more files, never fewer"
