# SPDX-License-Identifier: Apache-2.0
"""Calls of transformers' `pipeline`: whether `distilbert.pipeline` means the same, and how it is then written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import libcst as cst

from distilbert import hub
from distilbert.errors import InputError
from distilbert.migrate.arguments import CallEdit
from distilbert.migrate.checkpoints import Checkpoints
from distilbert.migrate.names import Target
from distilbert.migrate.notes import KEYWORDS
from distilbert.migrate.reading import Reading, code
from distilbert.pipelines import registry

# What transformers 4 takes where no model is named, if that is a DistilBERT: the model and its revision.
DEFAULTS = {
    "text-classification": ("distilbert/distilbert-base-uncased-finetuned-sst-2-english", "714eb0f"),
    "question-answering": ("distilbert/distilbert-base-cased-distilled-squad", "564e9b5"),
    "feature-extraction": ("distilbert/distilbert-base-cased", "6ea8117"),
}
_HERE_ONLY = ("multiple-choice", "sentence-embedding", "sentence-similarity")
_POSITIONAL = ("task", "model", "config", "tokenizer")
_PLAIN = ("task", "model", "tokenizer", *hub.OPTIONS)
_OLD_OPTIONS = {  # of transformers, which the pipelines here know too
    "token-classification": ("grouped_entities", "ignore_subwords"),
    "fill-mask": ("tokenizer_kwargs",),
}
_BACKENDS = ("'pt'", '"pt"', "'tf'", '"tf"', "None")
_CPU = ("-1", "'cpu'", '"cpu"', "None", 'torch.device("cpu")', "torch.device('cpu')")
_FLOAT32 = ("'float32'", '"float32"', "torch.float32", "None")
_WITHOUT_EFFECT = {
    "device": _CPU,
    "config": ("None",),
    "trust_remote_code": ("False", "None"),
    "dtype": _FLOAT32,
    "torch_dtype": _FLOAT32,
}


class PipelineCall:
    """One call.

    Attributes:
        call: the node.
        task: by its own name, not by another one; None where the checkpoint decides.
        edit: what is to be changed in it.
        obstacle: why it cannot be rewritten; empty where it can.
        unknown: why it is not known to be one of ours.
    """

    def __init__(self, reading: Reading, call: cst.Call, object_of: Callable[[cst.CSTNode], Target | None]) -> None:
        self.reading = reading
        self.call = call
        self.edit = CallEdit()
        self._object_of = object_of
        self._problems: list[str] = []
        self._given: dict[str, cst.BaseExpression] = {}
        self._places: dict[str, int] = {}
        for place, argument in enumerate(call.args):
            self._take(place, argument)
        task = self.reading.text(self._given["task"]) if "task" in self._given else None
        self.task = registry.ALIASES.get(task, task) if task is not None else None
        self.unknown = ""
        self._options()
        self.obstacle = "; ".join(self._problems)

    def is_ours(self, checkpoints: Checkpoints, all_auto: bool) -> bool:
        """Whether it is a task of this package with a model that is a DistilBERT; else `unknown` says why not."""
        model = self._given.get("model")
        if isinstance(model, cst.Name) and model.value == "None":
            model = None
        if "task" in self._given and (self.task not in registry.PIPELINES or self.task in _HERE_ONLY):
            return False
        if model is None:
            return self._takes_default()
        target = self._object_of(model)
        if target is not None:
            return target.role == "model" and self._tokenizer_is_ours()
        if model not in checkpoints and not all_auto:
            if "task" in self._given and self.reading.text(model) is None:
                self.unknown = "its checkpoint is not known to be a DistilBERT"
            return False
        return self._tokenizer_is_ours()

    def _take(self, place: int, argument: cst.Arg) -> None:
        if argument.star:
            self._problems.append(f"{code(argument.value)} is not known; write its keywords out")
        elif argument.keyword is not None:
            self._name(argument.keyword.value, place, argument.value)
        elif place < len(_POSITIONAL):
            self._name(_POSITIONAL[place], place, argument.value)
            if place > 1:
                self.edit.keywords[place] = _POSITIONAL[place]
        else:
            self._problems.append("more than four arguments by position; write their keywords")

    def _name(self, name: str, place: int, value: cst.BaseExpression) -> None:
        self._given[name] = value
        self._places[name] = place

    def _takes_default(self) -> bool:
        if self.task not in DEFAULTS:
            return False
        name, revision = DEFAULTS[self.task]
        if "model" in self._places:
            self.edit.values[self._places["model"]] = f'"{name}"'
        else:
            self.edit.added.append(("model", f'"{name}"'))
        if "revision" not in self._given:
            self.edit.added.append(("revision", f'"{revision}"'))
        return True

    def _tokenizer_is_ours(self) -> bool:
        tokenizer = self._given.get("tokenizer")
        if tokenizer is None or self.reading.text(tokenizer) is not None:
            return True
        model = self._given.get("model")
        if model is not None and code(tokenizer) == code(model):
            return True
        target = self._object_of(tokenizer)
        if target is not None and target.role == "tokenizer":
            return True
        self.unknown = f"its tokenizer ({code(tokenizer)}) is not known to be one of this package"
        return False

    def _options(self) -> None:
        known = _options_of(self.task)
        for name, value in self._given.items():
            text = code(value)
            place = self._places[name]
            if name == "use_fast" or text in _WITHOUT_EFFECT.get(name, ()):
                self.edit.dropped.add(place)
            elif name == "framework" and text in _BACKENDS:
                self.edit.keywords[place] = "backend"
            elif name == "use_auth_token":
                self.edit.keywords[place] = "token"
            elif name not in _PLAIN and name not in known:
                advice = KEYWORDS.get(name, "not an option of this pipeline")
                self._problems.append(f"{name}={text}: {advice}")


def _options_of(task: str | None) -> set[str]:
    """The options of calls of a task; of every task where it is not known."""
    tasks = [task] if task is not None else list(registry.PIPELINES)
    try:
        classes = [registry.find(name) for name in tasks]
    except InputError:
        return set()
    known = {entry.name for kind in classes for entry in fields(kind.options_class)}
    return known.union(*(_OLD_OPTIONS.get(kind.task, ()) for kind in classes))
