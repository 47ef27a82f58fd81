# SPDX-License-Identifier: Apache-2.0
"""Functions of a module: which one a call is of, what it returns, and which parameter an argument becomes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import libcst as cst

from distilbert.migrate.reading import Reading, code


class Functions:
    """The functions of a module, by the calls of them."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._given: dict[cst.Param, list[cst.BaseExpression | None]] = defaultdict(list)
        self._returns: dict[cst.CSTNode | None, list[cst.Return]] = {}
        for one in reading.all(cst.Return):
            self._returns.setdefault(self._around(one, cst.FunctionDef), []).append(one)
        for call in reading.all(cst.Call):
            for parameter, value in self._arguments(call):
                self._given[parameter].append(value)

    def returned(self, value: cst.CSTNode) -> cst.BaseExpression | None:
        """What a call of a function returns, where that is certain."""
        function = self._named(value.func) if isinstance(value, cst.Call) else None
        if not isinstance(function, cst.FunctionDef) or function.decorators or function.asynchronous is not None:
            return None
        returns = self._returns.get(function, [])
        return returns[0].value if len(returns) == 1 else None

    def given(self, parameter: cst.Param) -> list[cst.BaseExpression | None]:
        """What a parameter is given by the calls in the module, its default included; None for what is unknown."""
        values = self._given.get(parameter, [])
        return [*values, parameter.default] if values and parameter.default is not None else values

    def _arguments(self, call: cst.Call) -> Iterator[tuple[cst.Param, cst.BaseExpression | None]]:
        """Each parameter of the function or constructor that is called, with its argument; None where that is unknown.

        A parameter that is left out has no argument.
        """
        by_place, by_name = self._parameters(call)
        is_certain = True
        for place, argument in enumerate(call.args):
            if argument.star:
                is_certain = False
            elif argument.keyword is not None:
                if (parameter := by_name.pop(argument.keyword.value, None)) is not None:
                    yield parameter, argument.value
            elif is_certain and place < len(by_place):
                yield by_place[place], argument.value
                by_name.pop(by_place[place].name.value, None)
        if not is_certain:
            yield from ((parameter, None) for parameter in by_name.values())

    def _parameters(self, call: cst.Call) -> tuple[list[cst.Param], dict[str, cst.Param]]:
        """The parameters that a call gives values to, those by position, and all of them by name."""
        function, is_method = self._called(call)
        if function is None:
            return [], {}
        by_place = [*function.params.posonly_params, *function.params.params]
        by_place = by_place[1:] if is_method else by_place
        return by_place, {one.name.value: one for one in (*by_place, *function.params.kwonly_params)}

    def _called(self, call: cst.Call) -> tuple[cst.FunctionDef | None, bool]:
        """The function that is called, and whether its first parameter is the object itself."""
        if isinstance(call.func, cst.Attribute) and code(call.func.value) == "self":
            around = self._around(call, cst.ClassDef)
            method = _method(around, call.func.attr.value)
            return method, method is not None and "staticmethod" not in _decorators(method)
        named = self._named(call.func)
        if isinstance(named, cst.ClassDef):
            return _method(named, "__init__"), True
        return (named, False) if isinstance(named, cst.FunctionDef) else (None, False)

    def _named(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """The one statement that gives a name its value."""
        holders = self._reading.holders(node) if isinstance(node, cst.Name) else set()
        return next(iter(holders)) if len(holders) == 1 else None

    def _around(self, node: cst.CSTNode, kind: type[cst.CSTNode]) -> cst.CSTNode | None:
        return next((one for one in self._reading.parents(node) if isinstance(one, kind)), None)


def _method(definition: cst.CSTNode | None, name: str) -> cst.FunctionDef | None:
    """A method of a class, where the class itself has it."""
    if not isinstance(definition, cst.ClassDef):
        return None
    found = [one for one in definition.body.body if isinstance(one, cst.FunctionDef) and one.name.value == name]
    return found[0] if len(found) == 1 else None


def _decorators(function: cst.FunctionDef) -> set[str]:
    return {code(one.decorator) for one in function.decorators}
