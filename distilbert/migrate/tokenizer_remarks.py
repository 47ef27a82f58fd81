# SPDX-License-Identifier: Apache-2.0
"""Notes on calls of tokenizers: transformers says that it ignores an argument it does not know, here it is an error."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import libcst as cst

from distilbert.migrate.deciding import Decisions
from distilbert.migrate.notes import OTHER_KEYWORD, Kind, Note
from distilbert.migrate.reading import Reading, code
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.tokenizer.call_defaults import OLD_ARGUMENTS, CallArguments

_METHODS = ("encode", "encode_plus", "batch_encode_plus", "tokenize")


def remarks(reading: Reading, decisions: Decisions) -> Iterator[Note]:
    """The notes on a module that uses a tokenizer of this package."""
    for call in reading.all(cst.Call):
        method = _method(decisions, call)
        if method is None:
            continue
        known = (
            inspect.signature(getattr(DistilBertTokenizer, method)).parameters.keys() | CallArguments.__annotations__
        )
        for argument in call.args:
            if argument.keyword is not None and argument.keyword.value not in known:
                name = argument.keyword.value
                instead = OLD_ARGUMENTS.get(name, OTHER_KEYWORD)
                yield Note(Kind.CHANGE, reading.line(call), f"{code(call.func)}(...) with {name}", instead)


def _method(decisions: Decisions, call: cst.Call) -> str | None:
    """The method that encodes, where a call is one of a tokenizer."""
    if _is_tokenizer(decisions, call.func):
        return "__call__"
    if isinstance(call.func, cst.Attribute) and call.func.attr.value in _METHODS:
        return call.func.attr.value if _is_tokenizer(decisions, call.func.value) else None
    return None


def _is_tokenizer(decisions: Decisions, node: cst.CSTNode) -> bool:
    target = decisions.variables.object(node)
    return target is not None and target.role == "tokenizer"
