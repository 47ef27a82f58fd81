# SPDX-License-Identifier: Apache-2.0
"""Places that no rewriting can settle: each becomes a note that says what to write, or what to compare."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set

import libcst as cst

from distilbert.migrate import keras_remarks, tokenizer_remarks
from distilbert.migrate.deciding import Decisions
from distilbert.migrate.names import KNOWN, Target, says_distilbert
from distilbert.migrate.notes import (
    ABSENT,
    COLLATORS,
    DISTINCTIVE,
    KEYWORDS,
    NO_PIPELINE_HAS,
    NOT_PUSHED,
    OTHER_KEYWORD,
    PIPELINE_CLASSES,
    STAYING,
    TRAINERS,
    Kind,
    Note,
)
from distilbert.migrate.reading import IMPORTING, Reading, code

_STRING = re.compile(r"transformers\.[\w.]*DistilBert[\w.]*")
_BASES = ("PreTrainedModel", "TFPreTrainedModel", "FlaxPreTrainedModel")
_CALL = "name them, as call(self, input_ids=None, attention_mask=None, **options): a dict comes apart before call"


def remarks(reading: Reading, decisions: Decisions, settled: Set[cst.CSTNode]) -> Iterator[Note]:
    """The notes on a module of which something is taken, or is DistilBERT's and stays; none on what is `settled`."""
    yield from _left(reading, decisions)
    yield from _names(reading, decisions)
    yield from _strings(reading)
    if decisions.taken:
        yield from _attributes(reading, decisions, settled)
        yield from _calls(reading, decisions)
        yield from _classes(reading, decisions)
        yield from _assignments(reading, decisions)
        yield from tokenizer_remarks.remarks(reading, decisions)
    if "tf" in decisions.frameworks():
        yield from keras_remarks.remarks(reading, decisions)


def _left(reading: Reading, decisions: Decisions) -> Iterator[Note]:
    """Uses that stay because of what is asked of them."""
    for node, reason in decisions.left.items():
        if reason == "Trainer":
            continue  # said where the Trainer is
        if reason.startswith("its checkpoint"):
            yield Note(Kind.LEFT, reading.line(node), f"{code(node)} stays", f"{reason}; --all-auto takes it")
        elif reason:
            yield Note(Kind.CHANGE, reading.line(node), f"{code(node)} stays", reason)
    if decisions.trained is not None and _has_pytorch(reading):
        what = "PyTorch's DistilBERT stays, for Trainer takes models of transformers only"
        yield Note(Kind.CHANGE, reading.line(decisions.trained), what, STAYING["Trainer"][1])


def _has_pytorch(reading: Reading) -> bool:
    found = (reading.there(node) for node in reading.all(cst.Name))
    names = {one[0] for one in found if one is not None}
    return any(name in KNOWN and KNOWN[name].framework == "pt" and "DistilBert" in name for name in names)


def _names(reading: Reading, decisions: Decisions) -> Iterator[Note]:
    """Names of transformers that are DistilBERT's and not here, or that do not go with the models here."""
    frameworks = decisions.frameworks()
    seen = set()
    for statement in reading.all(cst.ImportFrom):
        module = code(statement.module) if statement.module is not None and not statement.relative else ""
        if not module.startswith("transformers"):
            continue
        if isinstance(statement.names, cst.ImportStar):
            if _uses_unbound(reading):
                what = f"from {module} import *"
                yield Note(Kind.CHANGE, reading.line(statement), what, "import the names of DistilBERT from distilbert")
            continue
        for alias in statement.names:
            name = code(alias.name)
            if (advice := _advice(name, frameworks)) is not None:
                seen.add(name)
                yield Note(Kind.CHANGE, reading.line(alias), name, advice)
    for attribute in reading.all(cst.Attribute):
        there = reading.there(attribute)
        if there is not None and not there[1] and (advice := _advice(there[0], frameworks)) is not None:
            yield Note(Kind.CHANGE, reading.line(attribute), code(attribute), advice)


def _advice(name: str, frameworks: set[str]) -> str | None:
    if name in TRAINERS:
        return None
    if name in STAYING:
        framework, advice = STAYING[name]
        return advice if not framework or framework in frameworks else None
    if name not in KNOWN and re.search(r"DistilBert[A-Z]", name):
        return "a part of transformers' model; distilbert.pt, distilbert.tf and distilbert.flax have their own"
    return None


def _uses_unbound(reading: Reading) -> bool:
    names = (node for node in reading.all(cst.Name) if node.value in KNOWN and "DistilBert" in node.value)
    return any(not reading.assignments(name) for name in names)


def _strings(reading: Reading) -> Iterator[Note]:
    """Texts that name a class by its path, and classes and modules looked up by a text."""
    for node in reading.all(cst.SimpleString):
        if _STRING.fullmatch(reading.text(node) or ""):
            yield Note(Kind.CHANGE, reading.line(node), f"the text {node.value}", "the name in distilbert")
    for call in reading.all(cst.Call):
        if _imports_by_name(reading, call) and says_distilbert(reading.module.code):
            yield Note(Kind.CHANGE, reading.line(call), code(call)[:60], "the classes of DistilBERT are in distilbert")
        if code(call.func) != "getattr" or len(call.args) < 2:
            continue
        name = reading.text(call.args[1].value)
        if name in KNOWN and reading.is_transformers(call.args[0].value):
            yield Note(Kind.CHANGE, reading.line(call), code(call)[:60], f"getattr(distilbert, {name!r})")


def _imports_by_name(reading: Reading, call: cst.Call) -> bool:
    """Whether a call imports transformers, or a module of it, by a text."""
    module = reading.text(call.args[0].value) if call.args else None
    is_import = code(call.func).split(".")[-1] in IMPORTING
    return is_import and module is not None and module.split(".")[0] == "transformers"


def _attributes(reading: Reading, decisions: Decisions, settled: Set[cst.CSTNode]) -> Iterator[Note]:
    """What is asked of a model, tokenizer or config that has it there and not here."""
    for node in reading.all(cst.Attribute):
        if not settled.isdisjoint(reading.parents(node)):
            continue
        name, target = node.attr.value, decisions.variables.object(node.value)
        if target is None:
            target = decisions.taken.get(node.value)
        if name in DISTINCTIVE and "tf" in decisions.frameworks():
            yield Note(Kind.CHANGE, reading.line(node), code(node), ABSENT["tf"][name])
        elif target is not None and (advice := _absent(target, name)) is not None:
            yield Note(Kind.CHANGE, reading.line(node), code(node), advice)


def _absent(target: Target, name: str) -> str | None:
    if target.name == "TFDistilBertModel" and name == "distilbert":
        return "the model itself, which is a layer too"
    if target.role == "model":
        return ABSENT[target.framework].get(name)
    if target.role == "pipeline":
        return NO_PIPELINE_HAS.get(name)
    if name.startswith("__"):
        return None
    from distilbert.config import DistilBertConfig
    from distilbert.tokenizer import DistilBertTokenizer

    here = DistilBertConfig if target.role == "config" else DistilBertTokenizer
    fields = DistilBertConfig.__dataclass_fields__ if target.role == "config" else ()
    if hasattr(here, name) or name in fields:
        return None
    if name == "push_to_hub":
        return "model.push_to_hub(name), which sends the config too"
    if target.role == "config" and name == "update":
        return "config = config.replace(...); a config is immutable"
    return f"{target.name} has no {name} here"


def _calls(reading: Reading, decisions: Decisions) -> Iterator[Note]:
    """Methods with another meaning, and things of this package that are given to transformers."""
    for call in reading.all(cst.Call):
        yield from _foreign(reading, decisions, call)
        if not isinstance(call.func, cst.Attribute):
            continue
        target, method = decisions.variables.object(call.func.value), call.func.attr.value
        if target is not None and target.role == "model":
            yield from _method(reading, call, target, method)
        if target is not None and target.role in ("model", "tokenizer") and method == "push_to_hub":
            yield from _push(reading, call)


def _push(reading: Reading, call: cst.Call) -> Iterator[Note]:
    for name in sorted(_keywords(call) & set(NOT_PUSHED)):
        yield Note(Kind.CHANGE, reading.line(call), f"{code(call.func)}(...) with {name}", OTHER_KEYWORD)


def _keywords(call: cst.Call) -> set[str]:
    return {one.keyword.value for one in call.args if one.keyword is not None}


def _method(reading: Reading, call: cst.Call, target: Target, method: str) -> Iterator[Note]:
    line, keywords = reading.line(call), _keywords(call)
    shown = f"{code(call.func)}(...)"
    if method == "save_pretrained":
        for name in sorted(keywords & {"saved_model", "push_to_hub"}):
            yield Note(Kind.CHANGE, line, f"{shown} with {name}", KEYWORDS[name])
        old = {"tf": ("tf_model.h5", "tensorflow"), "flax": ("flax_model.msgpack", "flax")}.get(target.framework)
        if old is not None and not keywords & {"format", "safe_serialization", "saved_model"}:
            instead = f'model.safetensors is written; save_pretrained(folder, format="{old[1]}") writes {old[0]}'
            yield Note(Kind.CHECK, line, shown, instead)
    if target.framework == "flax" and method in ("to_bf16", "to_fp16", "to_fp32") and len(call.args) > 1:
        yield Note(Kind.CHANGE, line, f"{shown} with a mask", "cast the other parameters with jax.tree.map")
    if method == "num_parameters" and call.args:
        yield Note(Kind.CHANGE, line, shown, "num_parameters() counts all parameters and takes no argument")


def _foreign(reading: Reading, decisions: Decisions, call: cst.Call) -> Iterator[Note]:
    there = reading.there(call.func)
    if there is None or decisions.variables.made_by(call) is not None or there[0].startswith((COLLATORS, *TRAINERS)):
        return
    for argument in call.args:
        target = decisions.variables.origin(argument.value)
        if target is not None:
            what = f"{code(call.func)}({code(argument.value)})"
            instead = f"it gets a {target.role} of this package now, and transformers expects its own"
            if (task := PIPELINE_CLASSES.get(there[0])) is not None:
                instead = f'distilbert.pipeline("{task}", model=..., tokenizer=...)'
            yield Note(Kind.CHANGE, reading.line(call), what, instead)


def _classes(reading: Reading, decisions: Decisions) -> Iterator[Note]:
    """Classes that are derived from, or compared with."""
    for definition in reading.all(cst.ClassDef):
        for base in definition.bases:
            if (target := decisions.taken.get(base.value)) is not None:
                what = f"class {definition.name.value}({target.name})"
                yield Note(Kind.CHECK, reading.line(definition), what, "the constructor here is (config, *, seed=None)")
                if target.framework == "tf":
                    yield from _own_call(reading, definition)
    for call in reading.all(cst.Call):
        if code(call.func) in ("isinstance", "issubclass") and len(call.args) == 2:
            kinds = call.args[1].value
            parts = [one.value for one in kinds.elements] if isinstance(kinds, cst.Tuple) else [kinds]
            if any(part in decisions.taken for part in parts):
                yield Note(Kind.CHECK, reading.line(call), code(call), "true for objects of this package only")
            elif any((reading.there(part) or ("",))[0] in _BASES for part in parts):
                yield Note(Kind.CHECK, reading.line(call), code(call), "false for models of this package")


def _own_call(reading: Reading, definition: cst.ClassDef) -> Iterator[Note]:
    """A model's `call` that takes all inputs as one argument."""
    for method in definition.body.body:
        if isinstance(method, cst.FunctionDef) and method.name.value == "call" and len(method.params.params) > 1:
            first = method.params.params[1].name.value
            if first != "input_ids":
                yield Note(Kind.CHANGE, reading.line(method), f"call(self, {first}, ...)", _CALL)


def _assignments(reading: Reading, decisions: Decisions) -> Iterator[Note]:
    """Fields of a config that are set: here it is immutable."""
    for statement in reading.all(cst.Assign):
        for target in (one.target for one in statement.targets):
            if not isinstance(target, cst.Attribute):
                continue
            owner = decisions.variables.object(target.value)
            of_model = isinstance(target.value, cst.Attribute) and target.value.attr.value == "config"
            model = decisions.variables.object(target.value.value) if isinstance(target.value, cst.Attribute) else None
            if (owner is not None and owner.role == "config") or (of_model and model is not None):
                name = target.attr.value
                instead = f"from_pretrained(name, {name}=...), or config = config.replace({name}=...)"
                yield Note(Kind.CHANGE, reading.line(statement), f"{code(target)} = ...", instead)
