# SPDX-License-Identifier: Apache-2.0
"""Calls of classes and of models: arguments that are spelled differently here, and those that have no meaning here."""

from __future__ import annotations

import inspect
from functools import cache

import libcst as cst

from distilbert import hub
from distilbert.config import ALIASES, INERT_FIELDS, DistilBertConfig
from distilbert.migrate.arguments import CallEdit
from distilbert.migrate.names import Target
from distilbert.migrate.notes import DROPPED, KEYWORDS, OTHER_KEYWORD, RENAMED, Kind, Note
from distilbert.migrate.reading import Reading, code
from distilbert.pretrained import PreTrained
from distilbert.tokenizer.settings import Settings

# The order of arguments in transformers 4, up to where it is the same here.
_MODEL_CALLS = {
    "tf": (4, ("output_attentions", "output_hidden_states", "return_dict")),
    "flax": (
        3,
        ("params", "dropout_rng", "train", "output_attentions", "output_hidden_states", "return_dict"),
    ),
}
_TF_LABELS = {"QuestionAnswering": ("start_positions", "end_positions"), "Model": ()}
_FLAX_CONSTRUCTOR = (1, ("input_shape", "seed", "dtype", "_do_init"))
_FLAX_OPTIONS = ("_do_init", "input_shape", "seed", "dtype")
_WITHOUT_EFFECT = (("use_safetensors", "True"), ("use_safetensors", "None"))
_UNUSED = (("tokenizer", "config"),)  # transformers finds out the class by it


@cache
def keywords_of(target: Target, method: str) -> frozenset[str]:
    """The keywords that a class of this package takes in `from_pretrained`, or in its constructor."""
    config = {*DistilBertConfig.__dataclass_fields__, *ALIASES, *INERT_FIELDS, "num_labels"}
    source = {*hub.OPTIONS, "name_or_path"}
    if target.role == "tokenizer":
        own = {*Settings.__annotations__, "vocab_file", "tokenizer_file"}
        return frozenset(own if not method else {*own, *hub.OPTIONS, "pretrained_model_name_or_path"})
    if target.role == "config":
        return frozenset(config if not method else config | source)
    if not method:
        return frozenset({"config", "seed", *(_FLAX_OPTIONS if target.framework == "flax" else ())})
    given = set(inspect.signature(PreTrained.from_pretrained).parameters) - {"cls", "options"}
    extra = {"variant", "torch_dtype", *(("_do_init",) if target.framework == "flax" else ())}
    return frozenset(config | source | given | extra)


class ClassCall:
    """A call of `from_pretrained`, or of a constructor.

    Attributes:
        edit: what is to be changed.
        changes: the same in words.
        notes: what cannot be.
    """

    def __init__(self, reading: Reading, call: cst.Call, target: Target, method: str) -> None:
        self.edit = CallEdit()
        self.changes: list[str] = []
        self.notes: list[Note] = []
        self._line = reading.line(call)
        self._shown = f"{target.name}{'.' if method else ''}{method}"
        known = keywords_of(target, method)
        for place, argument in enumerate(call.args):
            if argument.keyword is not None:
                self._keyword(place, argument.keyword.value, argument.value, target, method, known)
            elif argument.star == "" and place > 0:
                self._by_position(place, target, method)

    def _keyword(
        self, place: int, name: str, value: cst.BaseExpression, target: Target, method: str, known: frozenset[str]
    ) -> None:
        if method and (name in DROPPED or (name, code(value)) in _WITHOUT_EFFECT or (target.role, name) in _UNUSED):
            self.edit.dropped.add(place)
            self.changes.append(f"{name} left out")
        elif name in known:
            if name == "dtype" and target.framework == "flax" and "float32" not in code(value):
                what = f"{self._shown}({name}={code(value)})"
                self._note(Kind.CHECK, what, "here the parameters are of this type too, there the computation alone is")
        elif method and RENAMED.get(name) in known:
            self.edit.keywords[place] = RENAMED[name]
            self.changes.append(f"{name} is {RENAMED[name]}")
        else:
            self._note(Kind.CHANGE, f"{self._shown}({name}=...)", KEYWORDS.get(name, OTHER_KEYWORD))

    def _by_position(self, place: int, target: Target, method: str) -> None:
        start, names = _FLAX_CONSTRUCTOR
        if target.framework == "flax" and not method and place - start < len(names):
            self.edit.keywords[place] = names[place - start]
            self.changes.append(f"{names[place - start]} by keyword")
        elif not (target.name == "DistilBertTokenizerFast" and not method and place == 1):
            self._note(Kind.CHANGE, f"{self._shown}, argument {place + 1} by position", "give it by keyword")

    def _note(self, kind: Kind, what: str, instead: str) -> None:
        self.notes.append(Note(kind, self._line, what, instead))


class ModelCall(ClassCall):
    """A call of a model: arguments by position where the order is another one here."""

    def __init__(self, reading: Reading, call: cst.Call, target: Target) -> None:
        self.edit = CallEdit()
        self.changes = []
        self.notes = []
        self._line = reading.line(call)
        self._shown = f"{code(call.func)}(...)"
        start, names = self._order(target)
        for place, argument in enumerate(call.args):
            name = argument.keyword.value if argument.keyword is not None else None
            if name is None and argument.star == "" and place >= start:
                if place - start < len(names):
                    name = names[place - start]
                    self.edit.keywords[place] = name
                    self.changes.append(f"{name} by keyword")
                else:
                    self._note(Kind.CHANGE, f"{self._shown}, argument {place + 1}", "give it by keyword")
            elif argument.star == "*" and target.framework != "pt":
                self._note(Kind.CHECK, f"{self._shown} with *", f"by position up to argument {start} only")
            if target.framework == "flax":
                self._flax(name, argument.value, target)

    @staticmethod
    def _order(target: Target) -> tuple[int, tuple[str, ...]]:
        if target.framework == "pt":
            return 100, ()  # the order is the same
        start, names = _MODEL_CALLS[target.framework]
        if target.framework == "tf":
            labels = next((one for end, one in _TF_LABELS.items() if target.name.endswith(end)), ("labels",))
            names = (*names, *labels, "training")
        return start, names

    def _flax(self, name: str | None, value: cst.BaseExpression, target: Target) -> None:
        text = code(value)
        if name == "head_mask" and text != "None":
            self._note(Kind.CHECK, f"{self._shown} with head_mask", "it has an effect here; transformers ignores it")
        if name == "return_dict" and text == "False" and target.name in ("FlaxDistilBertModel",):
            order = "(last_hidden_state, hidden_states, attentions)"
            self._note(Kind.CHECK, f"{self._shown} with return_dict=False", f"the tuple here is {order}")
