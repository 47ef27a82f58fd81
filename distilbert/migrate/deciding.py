# SPDX-License-Identifier: Apache-2.0
"""Which uses of transformers' names become uses of this package's."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from distilbert.migrate.checkpoints import Checkpoints
from distilbert.migrate.functions import Functions
from distilbert.migrate.names import AUTOS, CLASSES, PIPELINE, PIPELINES, Target, is_module
from distilbert.migrate.notes import TRAINERS
from distilbert.migrate.pipelines import PipelineCall
from distilbert.migrate.reading import Reading, code
from distilbert.migrate.variables import Variables

_HANDED_ON = "it is not called here; distilbert.pipeline takes the same arguments, and framework= as backend="


class Decisions:
    """What is decided about a module.

    Attributes:
        taken: names and attributes that become another, and which.
        left: uses of Auto classes and of `pipeline` that stay, and why; empty for those that are none of ours.
        pipelines: the calls of `pipeline` that are taken.
        variables: what holds what is made by the names that are taken.
        trained: a use of transformers' Trainer, which takes models of its own only; so PyTorch's stay as they are.
    """

    def __init__(self, reading: Reading, all_auto: bool) -> None:
        self.reading = reading
        self.taken: dict[cst.CSTNode, Target] = {}
        self.left: dict[cst.CSTNode, str] = {}
        self.pipelines: dict[cst.CSTNode, PipelineCall] = {}
        self.trained = self._find_trainer()
        self._all_auto = all_auto
        functions = Functions(reading)
        self.variables = Variables(reading, functions, self.taken, self._imported())
        self._checkpoints = Checkpoints(reading, functions)
        uses = list(self._uses())
        self._take_classes(uses)
        self._add_loaded()
        self._take_autos(uses)
        self.variables.follow()
        self._add_saved()
        self._take_autos(uses)
        self.variables.follow()
        self._take_pipelines(uses)
        self.variables.follow()

    # What a module asks for.

    def frameworks(self) -> set[str]:
        """The frameworks of the models that are taken, used here or imported for others."""
        targets = {*self.taken.values(), *self._imported().values()}
        return {target.framework for target in targets if target.framework}

    def _imported(self) -> dict[str, Target]:
        """The classes that are imported and taken, by the names that they get."""
        found = {}
        for statement in self.reading.all(cst.ImportFrom):
            module = code(statement.module) if statement.module is not None and not statement.relative else ""
            if is_module(module) and not isinstance(statement.names, cst.ImportStar):
                for alias in statement.names:
                    target = CLASSES.get(code(alias.name))
                    if target is not None and not self.stays_with_trainer(target):
                        found[code(alias.asname.name) if alias.asname is not None else target.name] = target
        return found

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

    def _add_loaded(self) -> None:
        """Note the checkpoints that models of DistilBERT are loaded from; its tokenizer goes with BERT too."""
        for call in self.reading.all(cst.Call):
            made = self.variables.made_by(call)
            if made is not None and made[0].role == "model" and made[1] == "from_pretrained" and call.args:
                self._checkpoints.add(call.args[0].value)

    def _add_saved(self) -> None:
        """Note the folders that models of DistilBERT are saved in; an Auto class may load one back."""
        for call in self.reading.all(cst.Call):
            if isinstance(call.func, cst.Attribute) and call.func.attr.value == "save_pretrained" and call.args:
                saved = self.variables.object(call.func.value)
                if saved is not None and saved.role == "model":
                    self._checkpoints.add(call.args[0].value)

    def _take_autos(self, uses: list[tuple[cst.CSTNode, str]]) -> None:
        for node, name in uses:
            if name not in AUTOS:
                continue
            call = self._loading_call(node)
            if self.stays_with_trainer(AUTOS[name]):
                self.left[node] = "" if call is None or not self._is_distilbert(call) else "Trainer"
            elif call is None:
                self.left[node] = "" if not self._all_auto else "not called as from_pretrained(name)"
            elif self._all_auto or (self._is_distilbert(call) and not _runs_code(call)):
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

    def _is_distilbert(self, call: cst.Call) -> bool:
        names = [one.value for one in call.args if one.keyword is None or one.keyword.value.endswith("name_or_path")]
        return bool(names) and names[0] in self._checkpoints

    def _take_pipelines(self, uses: list[tuple[cst.CSTNode, str]]) -> None:
        for node, name in uses:
            if name != PIPELINE:
                continue
            call = self.reading.parent(node)
            if not isinstance(call, cst.Call) or call.func is not node:
                self.left[node] = _HANDED_ON if self._is_for_distilbert(call) else ""
                continue
            found = PipelineCall(self.reading, call, self.variables.object)
            if self.stays_with_trainer(PIPELINES[PIPELINE]) or not found.is_ours(self._checkpoints, self._all_auto):
                self.left[node] = found.unknown
            elif found.obstacle:
                self.left[node] = found.obstacle
            else:
                self.taken[node] = PIPELINES[PIPELINE]
                self.pipelines[call] = found

    def _is_for_distilbert(self, argument: cst.CSTNode | None) -> bool:
        """Whether what a function is handed to, as `partial(pipeline, model=...)`, gets a DistilBERT beside it."""
        call = self.reading.parent(argument) if isinstance(argument, cst.Arg) else None
        if not isinstance(call, cst.Call) or self.stays_with_trainer(PIPELINES[PIPELINE]):
            return False
        values = [one.value for one in call.args]
        return self._all_auto or any(one in self._checkpoints or self.variables.origin(one) for one in values)


def _runs_code(call: cst.Call) -> bool:
    """Whether a call runs code of the checkpoint, which may make something else than its name says."""
    found = (one for one in call.args if one.keyword is not None and one.keyword.value == "trust_remote_code")
    return any(code(one.value) not in ("False", "None") for one in found)
