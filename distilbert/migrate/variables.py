# SPDX-License-Identifier: Apache-2.0
"""Which variables, attributes and parameters of a module hold what is made by the names that are taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import libcst as cst

from distilbert.migrate.functions import Functions
from distilbert.migrate.names import Target
from distilbert.migrate.reading import Reading, code

_SAME_OBJECT = ("to", "cuda", "cpu", "eval", "train", "half", "float")  # methods that return what they are called on
_STEPS = 20  # from one variable, function or object to the next; more are not followed


class Variables:
    """What the variables of a module hold."""

    def __init__(
        self,
        reading: Reading,
        functions: Functions,
        taken: Mapping[cst.CSTNode, Target],
        imported: Mapping[str, Target],
    ) -> None:
        """Nothing is followed yet.

        Args:
            reading: the module.
            functions: of the module.
            taken: names and attributes that become another, and which; may grow, then `follow` again.
            imported: the classes among them, by the names that they are imported as.
        """
        self._reading = reading
        self._taken = taken
        self._imported = imported
        self._functions = functions
        self._known = _Contents()
        self._outputs: dict[cst.CSTNode | None, cst.Call] = {
            target.target: statement.value
            for statement in reading.all(cst.Assign)
            if isinstance(statement.value, cst.Call)
            for target in statement.targets
        }

    def follow(self) -> None:
        """Go from what is made to what holds it, and on to what that is handed to, until there is nothing new."""
        self._known = _Contents()
        for _ in range(_STEPS):
            before, self._known = self._known, self._step()
            if self._known == before:
                return

    # What holds what.

    def made_by(self, call: cst.Call) -> tuple[Target, str] | None:
        """What a call makes, and whether by `from_pretrained` or by the constructor (an empty text)."""
        if (target := self._taken.get(call.func)) is not None:
            return target, ""
        if isinstance(call.func, cst.Attribute) and (target := self._taken.get(call.func.value)) is not None:
            return target, call.func.attr.value
        return None

    def object(self, node: cst.CSTNode) -> Target | None:
        """What a variable or attribute holds, or a call makes, where it is certain."""
        if isinstance(node, cst.Name):
            return _only({self._known.names.get(one) for one in self._reading.holders(node) - self._known.empty})
        return self.origin(node)

    def origin(self, value: cst.CSTNode) -> Target | None:
        """What the value of an assignment or an argument is."""
        while isinstance(value, cst.Call):
            made = self.made_by(value)
            if made is not None:
                return made[0] if made[1] in ("", "from_pretrained") else None
            returned = self._functions.returned(value)
            if isinstance(returned, cst.Name | cst.Attribute):
                return self.object(returned)
            if isinstance(returned, cst.Call) and self.made_by(returned) is not None:
                return self.origin(returned)
            if not isinstance(value.func, cst.Attribute) or value.func.attr.value not in _SAME_OBJECT:
                return None
            value = value.func.value
        if isinstance(value, cst.Name):
            return _only({self._known.names.get(one) for one in self._reading.holders(value)} - {None})
        return self._in_attribute(value) if isinstance(value, cst.Attribute) else None

    def calls_behind(self, node: cst.CSTNode) -> list[cst.Call | None]:
        """The call that something is, or the calls whose results a variable holds; None for other contents."""
        if isinstance(node, cst.Call):
            return [node]
        return [self._outputs.get(one) for one in self._reading.holders(node)] if isinstance(node, cst.Name) else []

    def is_other_output(self, node: cst.CSTNode) -> bool:
        """Whether something is a model, or a variable that holds what a model of PyTorch or JAX has returned."""
        if self.object(node) is not None:
            return True
        calls = self.calls_behind(node) if isinstance(node, cst.Name) else []
        models = [self.object(call.func) for call in calls if call is not None]
        return bool(models) and all(model is not None and model.framework != "tf" for model in models)

    # One step.

    def _step(self) -> _Contents:
        """What holds what, by what is known so far."""
        found = _Contents()
        for statement in self._reading.all(cst.Assign):
            for one in statement.targets:
                for target, value in self._pairs(one.target, statement.value):
                    self._hold(found, target, value)
        for named in self._reading.all(cst.NamedExpr):
            self._hold(found, named.target, named.value)
        for annotated in self._reading.all(cst.AnnAssign):
            if annotated.value is not None:
                self._hold(found, annotated.target, annotated.value)
        found.names.update(self._parameters())
        return found

    def _hold(self, found: _Contents, target: cst.CSTNode, value: cst.CSTNode) -> None:
        """Note what a variable holds; that it is None before it is filled is no other kind of content."""
        made = self.origin(value)
        if code(value) == "None":
            found.empty.add(target)
        elif isinstance(target, cst.Name):
            if made is not None:
                found.names[target] = made
        elif isinstance(target, cst.Attribute):
            key = self._attribute(target)
            found.attributes[key] = made if found.attributes.get(key, made) == made else None

    def _pairs(self, target: cst.CSTNode, value: cst.CSTNode) -> Iterator[tuple[cst.CSTNode, cst.CSTNode]]:
        """Each target of an assignment with its value; of `model, params = ...` the model."""
        many = value if isinstance(value, cst.Tuple) else self._functions.returned(value)
        if isinstance(target, cst.Tuple) and isinstance(many, cst.Tuple) and len(target.elements) == len(many.elements):
            yield from ((a.value, b.value) for a, b in zip(target.elements, many.elements, strict=True))
        else:
            yield _first(target), value

    def _in_attribute(self, node: cst.Attribute) -> Target | None:
        """What an attribute holds; one that its own class does not fill may be filled by another, as by a base."""
        key = self._attribute(node)
        if key in self._known.attributes:
            return self._known.attributes[key]
        return _only({made for (_, text), made in self._known.attributes.items() if text == key[1]})

    def _attribute(self, node: cst.Attribute) -> tuple[cst.CSTNode | None, str]:
        """What tells an attribute from others: `self.model` is another one in every class."""
        text = code(node)
        parents = self._reading.parents(node) if text.startswith("self.") else ()
        return next((one for one in parents if isinstance(one, cst.ClassDef)), None), text

    # Parameters.

    def _parameters(self) -> Iterator[tuple[cst.Param, Target]]:
        """The parameters that an annotation names a kind for, or that get one kind at every call in the module."""
        for parameter in self._reading.all(cst.Param):
            if parameter.annotation is not None and (kind := self._annotated(parameter.annotation.annotation)):
                yield parameter, kind
                continue
            given = [one for one in self._functions.given(parameter) if one is None or code(one) != "None"]
            if (kind := _only({self.object(one) if one is not None else None for one in given})) is not None:
                yield parameter, kind

    def _annotated(self, node: cst.CSTNode) -> Target | None:
        """The one kind that an annotation names, be it with None, or as a text."""
        return _only({self._taken.get(part) or self._imported_as(part) for part in _alternatives(node)})

    def _imported_as(self, node: cst.CSTNode) -> Target | None:
        """What a name is in a text, which has no scope of its own: what it is imported as."""
        is_in_text = isinstance(node, cst.Name) and self._reading.parent(node) is None
        return self._imported.get(code(node)) if is_in_text else None


@dataclass
class _Contents:
    """What holds what.

    Attributes:
        names: what a variable holds after the statement that gives it a value, or a parameter.
        attributes: what an attribute of a class or variable holds, None where it may be several things.
        empty: what holds None after a statement.
    """

    names: dict[cst.CSTNode | None, Target] = field(default_factory=dict)
    attributes: dict[tuple[cst.CSTNode | None, str], Target | None] = field(default_factory=dict)
    empty: set[cst.CSTNode | None] = field(default_factory=set)


def _only(kinds: set[Target | None]) -> Target | None:
    """The one kind, if it is one."""
    return next(iter(kinds)) if len(kinds) == 1 else None


def _alternatives(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """The kinds in `A | B`, `Optional[A]`, `Union[A, B]` or a text of these, without None."""
    if isinstance(node, cst.SimpleString):
        try:
            yield from _alternatives(cst.parse_expression(str(node.evaluated_value)))
        except cst.ParserSyntaxError:
            yield node
    elif isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.BitOr):
        yield from (*_alternatives(node.left), *_alternatives(node.right))
    elif isinstance(node, cst.Subscript) and code(node.value).split(".")[-1] in ("Optional", "Union"):
        for element in node.slice:
            if isinstance(element.slice, cst.Index):
                yield from _alternatives(element.slice.value)
    elif code(node) != "None":
        yield node


def _first(target: cst.CSTNode) -> cst.CSTNode:
    """Of `model, params = ...` the model."""
    if isinstance(target, cst.Tuple | cst.List) and target.elements:
        return target.elements[0].value
    return target
