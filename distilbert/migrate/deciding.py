# SPDX-License-Identifier: Apache-2.0
"""Which uses of transformers' names become uses of this package's, and which variables hold what they make."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from distilbert.migrate.names import AUTOS, CLASSES, PIPELINE, PIPELINES, Target, is_module
from distilbert.migrate.notes import TRAINERS
from distilbert.migrate.pipelines import PipelineCall
from distilbert.migrate.reading import Reading, code, root

_SAME_OBJECT = ("to", "cuda", "cpu", "eval", "train", "half", "float")  # methods that return what they are called on
_HANDED_ON = "it is not called here; distilbert.pipeline takes the same arguments, and framework= as backend="


class Decisions:
    """What is decided about a module.

    Attributes:
        taken: names and attributes that become another, and which.
        left: uses of Auto classes and of `pipeline` that stay, and why; empty for those that are none of ours.
        pipelines: the calls of `pipeline` that are taken.
        trained: a use of transformers' Trainer, which takes models of its own only; so PyTorch's stay as they are.
    """

    def __init__(self, reading: Reading, all_auto: bool) -> None:
        self.reading = reading
        self.taken: dict[cst.CSTNode, Target] = {}
        self.left: dict[cst.CSTNode, str] = {}
        self.pipelines: dict[cst.CSTNode, PipelineCall] = {}
        self.trained = self._find_trainer()
        self._all_auto = all_auto
        self._objects: dict[tuple[cst.CSTNode | None, str], Target | None] = {}
        self._holders: dict[cst.CSTNode | None, Target] = {}
        self._empty: set[cst.CSTNode | None] = set()
        self._outputs: dict[cst.CSTNode | None, cst.Call] = {
            target.target: statement.value
            for statement in reading.all(cst.Assign)
            if isinstance(statement.value, cst.Call)
            for target in statement.targets
        }
        uses = list(self._uses())
        self._take_classes(uses)
        known = self._known_checkpoints()
        self._take_autos(uses, known)
        self._follow_objects()
        known |= self._saved_checkpoints()
        self._take_autos(uses, known)
        self._follow_objects()
        self._take_pipelines(uses, known)
        self._follow_objects()

    # What a module asks for.

    def made_by(self, call: cst.Call) -> tuple[Target, str] | None:
        """What a call makes, and whether by `from_pretrained` or by the constructor (an empty text)."""
        if (target := self.taken.get(call.func)) is not None:
            return target, ""
        if isinstance(call.func, cst.Attribute) and (target := self.taken.get(call.func.value)) is not None:
            return target, call.func.attr.value
        return None

    def object(self, node: cst.CSTNode) -> Target | None:
        """What a variable or attribute holds, or a call makes, where it is certain."""
        if isinstance(node, cst.Call):
            return self.origin(node)
        if isinstance(node, cst.Name):
            found = {self._holders.get(one) for one in self.reading.holders(node) - self._empty}
            return found.pop() if len(found) == 1 else None
        return self._in_attribute(node) if isinstance(node, cst.Attribute) else None

    def calls_behind(self, node: cst.CSTNode) -> list[cst.Call | None]:
        """The call that something is, or the calls whose results a variable holds; None for other contents."""
        if isinstance(node, cst.Call):
            return [node]
        return [self._outputs.get(one) for one in self.reading.holders(node)] if isinstance(node, cst.Name) else []

    def is_other_output(self, node: cst.CSTNode) -> bool:
        """Whether something is a model, or a variable that holds what a model of PyTorch or JAX has returned."""
        if self.object(node) is not None:
            return True
        calls = self.calls_behind(node) if isinstance(node, cst.Name) else []
        models = [self.object(call.func) for call in calls if call is not None]
        return bool(models) and all(model is not None and model.framework != "tf" for model in models)

    def frameworks(self) -> set[str]:
        """The frameworks of the models that are taken, used here or imported for others."""
        targets = {*self.taken.values(), *(target for _, target in self._imported())}
        return {target.framework for target in targets if target.framework}

    def _imported(self) -> Iterator[tuple[str, Target]]:
        """The classes that are imported and taken, by the names that they get."""
        for statement in self.reading.all(cst.ImportFrom):
            module = code(statement.module) if statement.module is not None and not statement.relative else ""
            if is_module(module) and not isinstance(statement.names, cst.ImportStar):
                for alias in statement.names:
                    target = CLASSES.get(code(alias.name))
                    if target is not None and not self.stays_with_trainer(target):
                        yield code(alias.asname.name) if alias.asname is not None else target.name, target

    # Deciding.

    def _uses(self) -> Iterator[tuple[cst.CSTNode, str]]:
        """Every use of a name of transformers, outside import statements."""
        for node in [*self.reading.all(cst.Name), *self.reading.all(cst.Attribute)]:
            found = self.reading.there(node)
            if found is not None and not found[1]:
                yield node, found[0]

    def _find_trainer(self) -> cst.CSTNode | None:
        return next((node for node, name in self._uses() if name in TRAINERS), None)

    def stays_with_trainer(self, target: Target) -> bool:
        """Whether a class stays because Trainer is to train its models."""
        return self.trained is not None and target.framework in ("", "pt")

    def _take_classes(self, uses: list[tuple[cst.CSTNode, str]]) -> None:
        for node, name in uses:
            if name in CLASSES and not self.stays_with_trainer(CLASSES[name]):
                self.taken[node] = CLASSES[name]

    def _known_checkpoints(self) -> set[tuple[str, frozenset[int]]]:
        """Names of checkpoints that models of DistilBERT are loaded from; its tokenizer goes with BERT too."""
        made = ((call, self.made_by(call)) for call in self.reading.all(cst.Call))
        return {
            self.reading.key(call.args[0].value)
            for call, found in made
            if found is not None and found[0].role == "model" and found[1] == "from_pretrained" and call.args
        }

    def _saved_checkpoints(self) -> set[tuple[str, frozenset[int]]]:
        """Folders that models of DistilBERT are saved in; an Auto class that loads one back is of the same kind."""
        found = set()
        for call in self.reading.all(cst.Call):
            if isinstance(call.func, cst.Attribute) and call.func.attr.value == "save_pretrained" and call.args:
                saved = self.object(call.func.value)
                if saved is not None and saved.role == "model":
                    found.add(self.reading.key(call.args[0].value))
        return found

    def _take_autos(self, uses: list[tuple[cst.CSTNode, str]], known: set[tuple[str, frozenset[int]]]) -> None:
        for node, name in uses:
            if name not in AUTOS:
                continue
            call = self._loading_call(node)
            if self.stays_with_trainer(AUTOS[name]):
                self.left[node] = "" if call is None or not self._is_distilbert(call, known) else "Trainer"
            elif call is None:
                self.left[node] = "" if not self._all_auto else "not called as from_pretrained(name)"
            elif self._all_auto or (self._is_distilbert(call, known) and not _runs_code(call)):
                self.taken[node] = AUTOS[name]
                self.left.pop(node, None)
            else:
                self.left[node] = self._unknown(call)

    def _unknown(self, call: cst.Call) -> str:
        """Why a checkpoint is not taken; nothing to say where its name is written out."""
        if _runs_code(call):
            return "its checkpoint may bring code of its own (trust_remote_code)"
        is_known = bool(call.args) and self.reading.text(call.args[0].value) is not None
        return "" if is_known else "its checkpoint is not known to be a DistilBERT"

    def _loading_call(self, node: cst.CSTNode) -> cst.Call | None:
        """The call of `from_pretrained` on a class."""
        above = self.reading.parent(node)
        if isinstance(above, cst.Attribute) and above.value is node and above.attr.value == "from_pretrained":
            call = self.reading.parent(above)
            return call if isinstance(call, cst.Call) and call.func is above else None
        return None

    def _is_distilbert(self, call: cst.Call, known: set[tuple[str, frozenset[int]]]) -> bool:
        names = [one.value for one in call.args if one.keyword is None or one.keyword.value.endswith("name_or_path")]
        return bool(names) and (self.reading.says_distilbert(names[0]) or self.reading.key(names[0]) in known)

    def _take_pipelines(self, uses: list[tuple[cst.CSTNode, str]], known: set[tuple[str, frozenset[int]]]) -> None:
        for node, name in uses:
            if name != PIPELINE:
                continue
            call = self.reading.parent(node)
            if not isinstance(call, cst.Call) or call.func is not node:
                self.left[node] = _HANDED_ON if self._is_for_distilbert(call, known) else ""
                continue
            found = PipelineCall(self.reading, call, self.object)
            if self.stays_with_trainer(PIPELINES[PIPELINE]) or not found.is_ours(known, self._all_auto):
                self.left[node] = found.unknown
            elif found.obstacle:
                self.left[node] = found.obstacle
            else:
                self.taken[node] = PIPELINES[PIPELINE]
                self.pipelines[call] = found

    def _is_for_distilbert(self, argument: cst.CSTNode | None, known: set[tuple[str, frozenset[int]]]) -> bool:
        """Whether what a function is handed to, as `partial(pipeline, model=...)`, gets a DistilBERT beside it."""
        call = self.reading.parent(argument) if isinstance(argument, cst.Arg) else None
        if not isinstance(call, cst.Call) or self.stays_with_trainer(PIPELINES[PIPELINE]):
            return False
        values = [one.value for one in call.args]
        named = any(self.reading.says_distilbert(one) or self.reading.key(one) in known for one in values)
        return self._all_auto or named or any(self.origin(one) is not None for one in values)

    # Variables.

    def _follow_objects(self) -> None:
        """Which variables hold what is made by the names that are taken."""
        self._objects, self._holders, self._empty = {}, {}, set()
        for statement in self.reading.all(cst.Assign):
            for one in statement.targets:
                for target, value in self._pairs(one.target, statement.value):
                    self._hold(target, self.origin(value), code(value) == "None")
        for named in self.reading.all(cst.NamedExpr):
            self._hold(named.target, self.origin(named.value), False)
        for parameter in self.reading.all(cst.Param):
            if parameter.annotation is not None and (kind := self._annotated(parameter.annotation.annotation)):
                self._holders[parameter] = kind
        for annotated in self.reading.all(cst.AnnAssign):
            if annotated.value is not None:
                self._hold(annotated.target, self.origin(annotated.value), code(annotated.value) == "None")

    def _annotated(self, node: cst.CSTNode) -> Target | None:
        """The one kind that an annotation names, be it with None, or as a text."""
        kinds = {self.taken.get(part) or self._imported_as(part) for part in _alternatives(node)}
        return kinds.pop() if len(kinds) == 1 else None

    def _imported_as(self, node: cst.CSTNode) -> Target | None:
        """What a name is in a text, which has no scope of its own: what it is imported as."""
        if isinstance(node, cst.Name) and self.reading.parent(node) is None:
            return next((target for bound, target in self._imported() if bound == node.value), None)
        return None

    def _pairs(self, target: cst.CSTNode, value: cst.CSTNode) -> Iterator[tuple[cst.CSTNode, cst.CSTNode]]:
        """Each target of an assignment with its value; of `model, params = ...` the model."""
        returned = self._returned(value)
        many = value if isinstance(value, cst.Tuple) else returned[0] if len(returned) == 1 else value
        if isinstance(target, cst.Tuple) and isinstance(many, cst.Tuple) and len(target.elements) == len(many.elements):
            yield from ((a.value, b.value) for a, b in zip(target.elements, many.elements, strict=True))
        else:
            yield _first(target), value

    def _returned(self, value: cst.CSTNode) -> list[cst.CSTNode]:
        """What a call of a function of the module returns, where that is certain; else empty."""
        holders = (
            self.reading.holders(value.func)
            if isinstance(value, cst.Call) and isinstance(value.func, cst.Name)
            else set()
        )
        function = next(iter(holders)) if len(holders) == 1 else None
        if not isinstance(function, cst.FunctionDef) or function.decorators or function.asynchronous is not None:
            return []
        returns = [one for one in self.reading.all(cst.Return) if self._function_of(one) is function]
        return [one.value for one in returns if one.value is not None] if len(returns) == 1 else []

    def _function_of(self, node: cst.CSTNode) -> cst.CSTNode | None:
        return next((one for one in self.reading.parents(node) if isinstance(one, cst.FunctionDef)), None)

    def _hold(self, target: cst.CSTNode, made: Target | None, is_empty: bool) -> None:
        """Note what a variable holds; that it is None before it is filled is no other kind of content."""
        if is_empty:
            self._empty.add(target)
        elif isinstance(target, cst.Name):
            if made is not None:
                self._holders[target] = made
        elif isinstance(target, cst.Attribute):
            key = self._attribute(target)
            self._objects[key] = made if self._objects.get(key, made) == made else None

    def _in_attribute(self, node: cst.Attribute) -> Target | None:
        """What an attribute holds; one that its own class does not fill may be filled by another, as by a base."""
        key = self._attribute(node)
        if key in self._objects:
            return self._objects[key]
        kinds = {made for (_, text), made in self._objects.items() if text == key[1]}
        return kinds.pop() if len(kinds) == 1 else None

    def _attribute(self, node: cst.Attribute) -> tuple[cst.CSTNode | None, str]:
        """What tells an attribute from others: `self.model` is another one in every class."""
        text = code(node)
        parents = self.reading.parents(node) if text.startswith("self.") else ()
        return next((one for one in parents if isinstance(one, cst.ClassDef)), None), text

    def origin(self, value: cst.CSTNode) -> Target | None:
        """What the value of an assignment or an argument is."""
        while isinstance(value, cst.Call):
            made = self.made_by(value)
            if made is not None:
                return made[0] if made[1] in ("", "from_pretrained") else None
            if len(returned := self._returned(value)) == 1 and isinstance(returned[0], cst.Name | cst.Attribute):
                return self.object(returned[0])
            if returned and isinstance(returned[0], cst.Call) and self.made_by(returned[0]) is not None:
                return self.origin(returned[0])
            if not isinstance(value.func, cst.Attribute) or value.func.attr.value not in _SAME_OBJECT:
                return None
            value = value.func.value
        name = root(value)
        if isinstance(value, cst.Name) and name is not None:
            kinds = {self._holders.get(one) for one in self.reading.holders(value)} - {None}
            return kinds.pop() if len(kinds) == 1 else None
        return self._in_attribute(value) if isinstance(value, cst.Attribute) else None


def _runs_code(call: cst.Call) -> bool:
    """Whether a call runs code of the checkpoint, which may make something else than its name says."""
    found = (one for one in call.args if one.keyword is not None and one.keyword.value == "trust_remote_code")
    return any(code(one.value) not in ("False", "None") for one in found)


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
