# SPDX-License-Identifier: Apache-2.0
"""Notes on TensorFlow: losses that are vectors in transformers, and what Keras 3 has not or has in another way."""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from distilbert.migrate.deciding import Decisions
from distilbert.migrate.notes import Kind, Note
from distilbert.migrate.reading import Reading, code, root

_LAYER = re.compile(r"tf_distil_bert\w*")
_MEANS = ("reduce_mean", "mean")
_LOSS = "a number here, the mean; in transformers one for each row, whose gradients are added up"
_KERAS_2 = re.compile(r"keras\.(?:optimizers\.(?:legacy|experimental)\.|mixed_precision\.experimental|backend\.)")
_OLD_RATES = ("lr", "decay")
_WEIGHTS: tuple[str, ...] = (".weights.h5",)
_WHOLE: tuple[str, ...] = (".keras",)
_OLD = ".h5"
_NOT_READ = "Keras 3 does not read every model back from .h5; with a name that ends in .keras it does"
_FILES = {"save": _WHOLE, "save_weights": _WEIGHTS, "load_weights": (*_WEIGHTS, ".keras")}  # ends of their names
_ELSE = {
    "save": ", or use save_pretrained",
    "save_weights": ", or use save_pretrained",
    "load_weights": "; what tf-keras saved goes by save_pretrained and from_pretrained",
}
_LABELS = 7  # their place in a call of transformers' TensorFlow models
_WEIGHTS_ONLY = 4  # the place of save_weights_only in ModelCheckpoint(...)


def remarks(reading: Reading, decisions: Decisions) -> Iterator[Note]:
    """The notes on a module that uses models of TensorFlow."""
    yield from _losses(reading, decisions)
    yield from _old_keras(reading)
    yield from _files(reading, decisions)
    yield from _tables(reading, decisions)


def _losses(reading: Reading, decisions: Decisions) -> Iterator[Note]:
    """Losses of TensorFlow models, which are vectors there."""
    for node in reading.all(cst.Attribute):
        is_read = not isinstance(reading.parent(node), cst.AssignTarget)
        if node.attr.value == "loss" and is_read and not decisions.variables.is_other_output(node.value):
            is_output = root(node) is not None and not isinstance(node.value, cst.Attribute)
            if is_output and not _is_averaged(reading, node):
                yield Note(Kind.CHECK, reading.line(node), code(node), _LOSS)
    for item in reading.all(cst.Subscript):
        if _holds_loss(item) and _is_of_labels(decisions, item.value) and not _is_averaged(reading, item):
            yield Note(Kind.CHECK, reading.line(item), f"{_shown(item.value)}[...]", _LOSS)
    for statement in reading.all(cst.Assign):
        unpacks = any(isinstance(one.target, cst.Tuple | cst.List) for one in statement.targets)
        if unpacks and _is_of_labels(decisions, statement.value):
            yield Note(Kind.CHECK, reading.line(statement), _shown(statement.value), _LOSS)


def _is_averaged(reading: Reading, node: cst.CSTNode) -> bool:
    above = next((one for one in reading.parents(node) if isinstance(one, cst.Call)), None)
    return above is not None and code(above.func).split(".")[-1] in _MEANS


def _shown(node: cst.CSTNode) -> str:
    return f"{code(node.func)}(..., labels=...)" if isinstance(node, cst.Call) else code(node)


def _holds_loss(item: cst.Subscript) -> bool:
    """Whether the first of the outputs is among those that are asked for."""
    part = item.slice[0].slice
    if isinstance(part, cst.Index):
        return code(part.value) in ("0", "'loss'", '"loss"')
    return isinstance(part, cst.Slice) and (part.lower is None or code(part.lower) == "0")


def _is_of_labels(decisions: Decisions, node: cst.CSTNode) -> bool:
    """Whether something is the output of a TensorFlow model that was given labels."""
    calls = decisions.variables.calls_behind(node)
    return bool(calls) and all(call is not None and _is_labelled(decisions, call) for call in calls)


def _is_labelled(decisions: Decisions, call: cst.Call) -> bool:
    model = decisions.variables.object(call.func)
    names = {one.keyword.value for one in call.args if one.keyword is not None}
    by_position = [one.value for one in call.args if one.keyword is None and not one.star]
    is_given = any(code(one) != "None" for one in by_position[_LABELS:])
    return (
        model is not None
        and model.framework == "tf"
        and (is_given or not names.isdisjoint(("labels", "start_positions")))
    )


def _old_keras(reading: Reading) -> Iterator[Note]:
    """What Keras 3 has not."""
    for text in reading.all(cst.SimpleString):
        if _LAYER.fullmatch(reading.text(text) or ""):
            yield Note(Kind.CHANGE, reading.line(text), text.value, "layers have other names here; see model.summary()")
    for node in reading.all(cst.Attribute):
        if _KERAS_2.search(code(node) + ".") and not isinstance(reading.parent(node), cst.Attribute):
            yield Note(Kind.CHANGE, reading.line(node), code(node), "is of Keras 2; these are Keras 3 models")
    for call in reading.all(cst.Call):
        if code(call.func).endswith("models.load_model"):
            instead = "Keras 3 reads .keras files; what tf-keras saved goes by save_pretrained and from_pretrained"
            yield Note(Kind.CHECK, reading.line(call), code(call.func), instead)
        if any("optimizers." in name for name in (code(call.func), *reading.qualified(call.func))):
            for argument in call.args:
                if argument.keyword is not None and argument.keyword.value in _OLD_RATES:
                    what = f"{code(call.func)}({argument.keyword.value}=...)"
                    instead = "learning_rate=..., a number or a schedule of keras.optimizers.schedules"
                    yield Note(Kind.CHANGE, reading.line(call), what, instead)


def _files(reading: Reading, decisions: Decisions) -> Iterator[Note]:
    """Files of models and weights, whose names end in what Keras 3 asks for."""
    for call in reading.all(cst.Call):
        name = code(call.func).split(".")[-1]
        if name == "ModelCheckpoint":
            ends, other = _WEIGHTS if _saves_weights(call) else _WHOLE, ""
        elif isinstance(call.func, cst.Attribute) and name in _FILES:
            ends, other = _FILES[name], _ELSE[name]
        else:
            continue
        shown = f"{code(call.func)}(...)"
        end = next((_end(reading, one.value) for one in call.args if _is_path(call, one)), None)
        if ends is _WHOLE and end is not None and end.endswith(_OLD):
            yield Note(Kind.CHECK, reading.line(call), shown, _NOT_READ)
        elif name == "save" and not _is_of_tensorflow(decisions, call.func):
            continue  # other things are saved too
        elif end is None or not end.endswith(ends):
            kind = Kind.CHECK if end is None else Kind.CHANGE
            instead = f"the name of the file ends in {ends[0]} in Keras 3{other}"
            yield Note(kind, reading.line(call), shown, instead)


def _is_of_tensorflow(decisions: Decisions, method: cst.CSTNode) -> bool:
    """Whether a method is one of a TensorFlow model."""
    model = decisions.variables.object(method.value) if isinstance(method, cst.Attribute) else None
    return model is not None and model.framework == "tf"


def _saves_weights(call: cst.Call) -> bool:
    given = [one.value for one in call.args if one.keyword is not None and one.keyword.value == "save_weights_only"]
    given += [one.value for one in call.args[_WEIGHTS_ONLY:] if one.keyword is None]
    return any(code(one) == "True" for one in given)


def _is_path(call: cst.Call, argument: cst.Arg) -> bool:
    is_first = argument is call.args[0] and argument.keyword is None and not argument.star
    return is_first or (argument.keyword is not None and argument.keyword.value == "filepath")


def _end(reading: Reading, path: cst.CSTNode) -> str | None:
    """How a path ends, where that is written out."""
    if isinstance(path, cst.BinaryOperation):
        return _end(reading, path.right)
    if isinstance(path, cst.Call):
        return _end(reading, path.args[-1].value) if path.args else None
    if isinstance(path, cst.FormattedString):
        last = path.parts[-1] if path.parts else None
        return last.value if isinstance(last, cst.FormattedStringText) else None
    return reading.text(path)


def _tables(reading: Reading, decisions: Decisions) -> Iterator[Note]:
    """The word vectors of a model, whose variable has another name here."""
    for node in reading.all(cst.Attribute):
        if node.attr.value == "weight":
            found = [_gives_table(decisions, call) for call in decisions.variables.calls_behind(node.value)]
            if (found and all(found)) or _is_table(decisions, node.value):
                yield Note(Kind.CHANGE, reading.line(node), code(node), "model.get_input_embeddings().embeddings")


def _gives_table(decisions: Decisions, call: cst.Call | None) -> bool:
    if call is None or not isinstance(call.func, cst.Attribute) or call.func.attr.value != "get_input_embeddings":
        return False
    return _is_of_tensorflow(decisions, call.func)


def _is_table(decisions: Decisions, node: cst.CSTNode) -> bool:
    """Whether something is `model.distilbert.embeddings` of a TensorFlow model."""
    if not isinstance(node, cst.Attribute) or node.attr.value != "embeddings":
        return False
    return _is_of_tensorflow(decisions, node.value)
