# SPDX-License-Identifier: Apache-2.0
"""What stands in a module: where its names come from, what its constants are. Nothing is decided here."""

from __future__ import annotations

import ast
import warnings
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, TypeVar, cast

import libcst as cst
from libcst import metadata

from distilbert.errors import InputError
from distilbert.migrate.names import PACKAGE, says_distilbert, split

Node = TypeVar("Node", bound=cst.CSTNode)
IMPORTING = ("import_module", "__import__")  # functions that import a module by its name
_EMPTY = cst.Module([])


def code(node: cst.CSTNode) -> str:
    """The node as it is written."""
    return _EMPTY.code_for_node(node)


class NotPython(InputError):
    """A text is no module; `line` says from where on."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"is not Python ({message})")
        self.line = line


def parse(text: str) -> cst.Module:
    """The tree of a module.

    Python's own parser goes first, for that of libcst does not survive text that is nested without end.

    Raises:
        NotPython: it is not Python, or newer than the Python that runs this.
    """
    _python(text)
    try:
        return cst.parse_module(text)
    except cst.ParserSyntaxError as error:
        raise NotPython(error.raw_line, error.message) from None


def imports_transformers(text: str) -> bool:
    """Whether a module imports transformers, or something of it, anywhere.

    Raises:
        NotPython: it is not Python, or newer than the Python that runs this.
    """
    for node in ast.walk(_python(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in IMPORTING:
            names = [str(one.value) for one in node.args[:1] if isinstance(one, ast.Constant)]
        if any(name.split(".")[0] == "transformers" for name in names):
            return True
    return False


def _python(text: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the code that is looked at does
            return ast.parse(text)
    except SyntaxError as error:
        raise NotPython(error.lineno or 1, error.msg) from None
    except (RecursionError, MemoryError):
        raise NotPython(1, "nested too deeply") from None
    except ValueError as error:
        raise NotPython(1, str(error)) from None


class Reading:
    """A parsed module with the origin of its names.

    Attributes:
        module: the tree; nodes are told apart by identity, so that only nodes of this tree may be asked about.
    """

    def __init__(self, text: str) -> None:
        """Parse a module.

        Raises:
            InputError: it is not Python, or would not come back the same.
        """
        module = parse(text)
        if module.code != text:
            raise InputError("is written in a form that would not come back the same; nothing was done to it")
        wrapper = metadata.MetadataWrapper(module)
        self.module = wrapper.module
        self._names: Any = wrapper.resolve(metadata.QualifiedNameProvider)
        self._scopes: Any = wrapper.resolve(metadata.ScopeProvider)
        self._positions: Any = wrapper.resolve(metadata.PositionProvider)
        self._parents: Any = wrapper.resolve(metadata.ParentNodeProvider)
        nodes = _Nodes()
        self.module.visit(nodes)
        self._nodes = nodes.found
        self._constants = self._find_constants()

    def all(self, kind: type[Node]) -> list[Node]:
        """Every node of a class, in the order of the text."""
        return cast(list[Node], self._nodes[kind])

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """What the node stands in."""
        return cast(cst.CSTNode | None, self._parents.get(node))

    def parents(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """What the node stands in, from the inside out."""
        above = self.parent(node)
        while above is not None:
            yield above
            above = self.parent(above)

    def holders(self, name: cst.Name) -> set[cst.CSTNode | None]:
        """The nodes of the statements that give a name its value, None for what is built in."""
        return {getattr(one, "node", None) for one in self.assignments(name)}

    def line(self, node: cst.CSTNode) -> int:
        """The line where the node starts, from 1."""
        return int(self._positions[node].start.line)

    # Names.

    def there(self, node: cst.CSTNode) -> tuple[str, tuple[str, ...]] | None:
        """What a name or attribute is in transformers; see `names.split`. None for what comes from elsewhere.

        A name that is a class or function of the module's own in the same scope is not taken for that of transformers.
        """
        found = self._names.get(node, ())
        found = found() if callable(found) else found
        source = metadata.QualifiedNameSource.IMPORT
        splits = {split(name.name) for name in found if name.source is source} - {None}
        if len(splits) != 1 or self._is_redefined(node):
            return None
        return splits.pop()

    def qualified(self, node: cst.CSTNode) -> set[str]:
        """The full names that a name or attribute may stand for."""
        found = self._names.get(node, ())
        return {name.name for name in (found() if callable(found) else found)}

    def is_transformers(self, node: cst.CSTNode) -> bool:
        """Whether a name is the module itself."""
        return "transformers" in self.qualified(node)

    def imports_of(self, name: cst.Name) -> set[cst.CSTNode]:
        """The import statements that a name may come from."""
        return {one.node for one in self.assignments(name) if isinstance(one, metadata.ImportAssignment)}

    def assignments(self, name: cst.Name) -> set[Any]:
        """Everything that gives a name its value where it stands."""
        scope = self._scopes.get(name)
        return set(scope[name.value]) if scope is not None else set()

    def bound_names(self) -> set[str]:
        """Every name that the module gives a value to anywhere, other than by an import of transformers."""
        scopes = {scope for scope in self._scopes.values() if scope is not None}
        return {
            one.name
            for scope in scopes
            for one in scope.assignments
            if not (isinstance(one, metadata.BuiltinAssignment) or self._is_of_transformers(one))
        }

    def key(self, node: cst.BaseExpression) -> tuple[str, frozenset[int]]:
        """What tells an expression from others: its text, and where the variable in it comes from."""
        name = root(node)
        given = self.assignments(name) if name is not None else set()
        return code(node), frozenset(map(id, given))

    # Values.

    def text(self, node: cst.CSTNode) -> str | None:
        """The value of a text that is written out, or of a variable that is always one such text; else None."""
        if isinstance(node, cst.SimpleString | cst.ConcatenatedString):
            value = node.evaluated_value
            return value if isinstance(value, str) else None
        if isinstance(node, cst.Name):
            return self._constants.get(node.value)
        return None

    def says_distilbert(self, node: cst.CSTNode) -> bool:
        """Whether a text or a name in an expression says that it is about a DistilBERT."""
        if (text := self.text(node)) is not None:
            return says_distilbert(text)
        if isinstance(node, cst.Name | cst.FormattedStringText):
            return says_distilbert(node.value)
        return any(self.says_distilbert(child) for child in node.children)

    def _find_constants(self) -> dict[str, str]:
        values: dict[str, set[str | None]] = defaultdict(set)
        for statement in self.all(cst.Assign):
            for target in statement.targets:
                for name in _names_in(target.target):
                    values[name].add(self._plain(target.target, statement.value))
        for annotated in self.all(cst.AnnAssign):
            for name in _names_in(annotated.target):
                values[name].add(self._plain(annotated.target, annotated.value))
        others = [*self.all(cst.AugAssign), *self.all(cst.For), *self.all(cst.CompFor), *self.all(cst.NamedExpr)]
        for node in others:
            for name in _names_in(node.target):  # type: ignore[attr-defined]  # all of these have one
                values[name].add(None)
        for parameter in self.all(cst.Param):
            values[parameter.name.value].add(None)
        return {name: one for name, found in values.items() if len(found) == 1 and (one := next(iter(found)))}

    @staticmethod
    def _plain(target: cst.CSTNode, value: cst.CSTNode | None) -> str | None:
        if isinstance(target, cst.Name) and isinstance(value, cst.SimpleString | cst.ConcatenatedString):
            evaluated = value.evaluated_value
            return evaluated if isinstance(evaluated, str) else None
        return None

    def _is_redefined(self, node: cst.CSTNode) -> bool:
        name = root(node)
        own = self.assignments(name) if name is not None else set()
        return any(isinstance(getattr(one, "node", None), cst.ClassDef | cst.FunctionDef) for one in own)

    @staticmethod
    def _is_of_transformers(assignment: Any) -> bool:
        node = assignment.node
        if isinstance(node, cst.ImportFrom):
            is_named_as_ours = assignment.name == PACKAGE  # transformers.models has a module of this name
            return (
                not is_named_as_ours and node.module is not None and code(node.module).split(".")[0] == "transformers"
            )
        return isinstance(node, cst.Import)


class _Nodes(cst.CSTVisitor):
    def __init__(self) -> None:
        self.found: dict[type[cst.CSTNode], list[cst.CSTNode]] = defaultdict(list)

    def on_visit(self, node: cst.CSTNode) -> bool:
        self.found[type(node)].append(node)
        return True


def root(node: cst.CSTNode) -> cst.Name | None:
    """The variable that an expression of dots, calls and brackets starts with."""
    while isinstance(node, cst.Attribute | cst.Subscript | cst.Call):
        node = node.func if isinstance(node, cst.Call) else node.value
    return node if isinstance(node, cst.Name) else None


def _names_in(target: cst.CSTNode) -> Iterator[str]:
    if isinstance(target, cst.Name):
        yield target.value
    elif isinstance(target, cst.Tuple | cst.List):
        for element in target.elements:
            yield from _names_in(element.value)
