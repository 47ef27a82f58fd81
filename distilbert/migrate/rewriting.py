# SPDX-License-Identifier: Apache-2.0
"""A module's text with the names and calls of transformers' DistilBERT as this package has them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import libcst as cst

from distilbert.migrate import legacy_keras
from distilbert.migrate.arguments import CallEdit
from distilbert.migrate.calls import ClassCall, ModelCall
from distilbert.migrate.deciding import Decisions
from distilbert.migrate.imports import FromEdit, ImportEdit
from distilbert.migrate.names import CLASSES, KNOWN, PACKAGE, PIPELINE, is_module
from distilbert.migrate.notes import Change, Kind, Note
from distilbert.migrate.reading import Reading, code, imports_transformers, root
from distilbert.migrate.remarks import remarks
from distilbert.migrate.result import Rewritten


def rewrite(text: str, all_auto: bool = False) -> Rewritten:
    """Rewrite a module.

    Args:
        text: of the module.
        all_auto: take every Auto class, and every pipeline of a task that there is here, for a DistilBERT's.

    Raises:
        InputError: it is not Python, or would not come back the same.
    """
    if "transformers" not in text or not imports_transformers(text):
        return Rewritten(text)
    reading = Reading(text)
    plan = Plan(reading, Decisions(reading, all_auto))
    changed = reading.module.visit(_Rewriter(plan))
    return Rewritten(changed.code, tuple(sorted(set(plan.changes), key=_place)), tuple(sorted(plan.notes, key=_place)))


def _place(one: Change | Note) -> tuple[int, str]:
    return one.line, one.what


class Plan:
    """What is to be done with which node.

    Attributes:
        names: nodes that get another text.
        calls: what changes in calls.
        imports: what becomes of import statements.
        replaced: nodes that others stand in the place of.
        removed: lines that go.
        changes: all of that in words.
        notes: what is left to do.
    """

    def __init__(self, reading: Reading, decisions: Decisions) -> None:
        self.names: dict[cst.CSTNode, str] = {}
        self.calls: dict[cst.Call, CallEdit] = {}
        self.imports: dict[cst.CSTNode, FromEdit | ImportEdit] = {}
        self.replaced: dict[cst.CSTNode, cst.CSTNode] = {}
        self.removed: set[cst.CSTNode] = set()
        self.changes: list[Change] = []
        self.notes: list[Note] = []
        self._reading = reading
        self._decisions = decisions
        self._module = PACKAGE if PACKAGE not in reading.bound_names() else f"{PACKAGE}_package"
        self._plan_from_imports()
        self._plan_imports()
        self._plan_calls()
        self._plan_keras()
        settled = {call.args[place] for call, edit in self.calls.items() for place in edit.dropped}
        found = [*self.notes, *remarks(reading, decisions, settled)]
        self.notes = list(dict.fromkeys(found))

    def _changed(self, node: cst.CSTNode, what: str) -> None:
        self.changes.append(Change(self._reading.line(node), what))

    # Imports.

    def _uses(self) -> dict[tuple[cst.CSTNode, str], list[cst.Name]]:
        """Uses of every imported name, by the statement they come from."""
        uses = defaultdict(list)
        for name in self._reading.all(cst.Name):
            for statement in self._reading.imports_of(name):
                uses[statement, name.value].append(name)
        return uses

    def _plan_from_imports(self) -> None:
        uses = self._uses()
        for statement in self._reading.all(cst.ImportFrom):
            module = code(statement.module) if statement.module is not None and not statement.relative else ""
            if module.split(".")[0] != "transformers" or isinstance(statement.names, cst.ImportStar):
                continue
            edit, taken = FromEdit(), set[tuple[str, str | None]]()
            for place, alias in enumerate(statement.names):
                bound = code(alias.asname.name) if alias.asname is not None else code(alias.name)
                if attributes := self._rename_attributes(statement, bound):  # it is a module
                    edit.package = self._module
                    if len(attributes) < len(uses[statement, bound]):
                        edit.kept.add(place)
                    continue
                moved, stays = self._settle(module, alias, bound, uses[statement, bound])
                moved = [one for one in moved if one not in taken]
                taken.update(moved)
                if moved:
                    edit.moved[place] = moved
                    self._changed(alias, f"{', '.join(name for name, _ in moved)} from {PACKAGE}")
                if stays:
                    edit.kept.add(place)
            if edit.moved or edit.package:
                self.imports[statement] = edit

    def _settle(
        self, module: str, alias: cst.ImportAlias, bound: str, uses: list[cst.Name]
    ) -> tuple[list[tuple[str, str | None]], bool]:
        """What a name is imported as from this package, and whether it stays in the import of transformers."""
        name, asname = code(alias.name), code(alias.asname.name) if alias.asname is not None else None
        taken = [use for use in uses if use in self._decisions.taken]
        if name not in KNOWN or not is_module(module):
            return [], True
        if name in CLASSES:
            stays = self._decisions.stays_with_trainer(CLASSES[name])
            return ([], True) if stays else ([(name, asname)], False)
        if not taken:
            return [], True
        stays = len(taken) < len(uses)
        targets = sorted({self._decisions.taken[use].name for use in taken})
        if name == PIPELINE:
            new = bound if not stays else f"{PACKAGE}_{PIPELINE}"
            for use in taken:
                if new != bound:
                    self.names[use] = new
            return [(PIPELINE, new if new != PIPELINE else None)], stays
        if asname is not None and not stays and len(targets) == 1:
            return [(targets[0], asname)], False
        clashing = set(targets) & self._reading.bound_names()
        new_names = {target: f"{PACKAGE}_{target}" if target in clashing else target for target in targets}
        for use in taken:
            self.names[use] = new_names[self._decisions.taken[use].name]
            self._changed(use, f"{bound} is {self.names[use]}")
        return [(target, new if new != target else None) for target, new in new_names.items()], stays

    def _plan_imports(self) -> None:
        uses = self._uses()
        for statement in self._reading.all(cst.Import):
            kept, moved = set(), False
            for place, alias in enumerate(statement.names):
                bound = code(alias.asname.name) if alias.asname is not None else code(alias.name).split(".")[0]
                taken = self._rename_attributes(statement, bound)
                moved = moved or bool(taken)
                if not taken or len(taken) < len(uses[statement, bound]):
                    kept.add(place)
            if moved:
                self.imports[statement] = ImportEdit(kept, self._module)

    def _rename_attributes(self, statement: cst.Import | cst.ImportFrom, bound: str) -> list[cst.Attribute]:
        """What is taken from a module that is imported under a name, now of this package."""
        found = self._attributes_of(statement, bound)
        for node in found:
            self.names[node] = f"{self._module}.{self._decisions.taken[node].name}"
            self._changed(node, f"{code(node)} is {self.names[node]}")
        return found

    def _attributes_of(self, statement: cst.Import | cst.ImportFrom, bound: str) -> list[cst.Attribute]:
        found = []
        for node in self._decisions.taken:
            name = root(node) if isinstance(node, cst.Attribute) else None
            if name is not None and name.value == bound and statement in self._reading.imports_of(name):
                found.append(node)
        return found  # type: ignore[return-value]  # names are none of these

    # Calls.

    def _plan_calls(self) -> None:
        for call in self._reading.all(cst.Call):
            if (pipe := self._decisions.pipelines.get(call)) is not None:
                self._edit(call, pipe.edit)
                self._changed(call, f"{PACKAGE}.{PIPELINE}")
                continue
            found: ClassCall | None = None
            made, target = self._decisions.variables.made_by(call), self._decisions.variables.object(call.func)
            if made is not None and made[1] in ("", "from_pretrained"):
                found = ClassCall(self._reading, call, *made)
            elif target is not None and target.role == "model":
                found = ModelCall(self._reading, call, target)
            if found is not None:
                self._edit(call, found.edit)
                self.notes += found.notes
                for change in found.changes:
                    self._changed(call, change)
            self._plan_compile(call)

    def _plan_compile(self, call: cst.Call) -> None:
        """`compile` without the loss that means the model's own."""
        if not isinstance(call.func, cst.Attribute) or call.func.attr.value != "compile":
            return
        for place, argument in enumerate(call.args):
            if argument.keyword is None or argument.keyword.value != "loss":
                continue
            target, value = self._decisions.variables.object(call.func.value), code(argument.value)
            own = f"{code(call.func.value)}.hf_compute_loss"
            if target is not None and target.framework == "tf" and value in (own, '"auto"', "'auto'"):
                self._edit(call, CallEdit(dropped={place}))
                self._changed(call, "the model's own loss, without loss=")
            elif value in ('"auto"', "'auto'") and "tf" in self._decisions.frameworks():
                self.notes.append(Note(Kind.CHANGE, self._reading.line(call), 'loss="auto"', "leave loss out"))

    def _edit(self, call: cst.Call, edit: CallEdit) -> None:
        if edit != CallEdit():
            self.calls[call] = edit

    def _plan_keras(self) -> None:
        if "tf" not in self._decisions.frameworks():
            return
        for line in legacy_keras.switches(self._reading):
            self.removed.add(line)
            self._changed(line, "TF_USE_LEGACY_KERAS is not set")
        for node, other in legacy_keras.imports(self._reading):
            self.replaced[node] = other
            self._changed(node, f"{legacy_keras.NEW} for {legacy_keras.OLD}")


class _Rewriter(cst.CSTTransformer):
    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        plan = self._plan
        updated_node = super().on_leave(original_node, updated_node)
        if original_node in plan.removed:
            return cst.RemoveFromParent()
        if original_node in plan.replaced:
            return plan.replaced[original_node]
        if original_node in plan.names:
            return _written(plan.names[original_node], updated_node)
        if original_node in plan.calls:
            return plan.calls[original_node].apply(updated_node)
        if original_node in plan.imports:
            return cst.FlattenSentinel(plan.imports[original_node].apply(updated_node))
        return updated_node

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> Any:
        """One statement that has become several gets a line for each."""
        if len(original_node.body) > 1 or len(updated_node.body) < 2:
            return updated_node
        parts = [one.with_changes(semicolon=cst.MaybeSentinel.DEFAULT) for one in updated_node.body]
        lines = [cst.SimpleStatementLine([part]) for part in parts]
        lines[0] = lines[0].with_changes(leading_lines=updated_node.leading_lines)
        lines[-1] = lines[-1].with_changes(trailing_whitespace=updated_node.trailing_whitespace)
        return cst.FlattenSentinel(lines)


def _written(text: str, node: cst.CSTNode) -> cst.BaseExpression:
    """The expression with the brackets that the node had."""
    written = cst.parse_expression(text)
    if isinstance(node, cst.Name | cst.Attribute):
        return written.with_changes(lpar=node.lpar, rpar=node.rpar)
    return written
