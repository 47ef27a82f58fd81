# SPDX-License-Identifier: Apache-2.0
"""Which expressions name a checkpoint that is a DistilBERT."""

from __future__ import annotations

import libcst as cst

from distilbert.migrate.functions import Functions
from distilbert.migrate.reading import Reading


class Checkpoints:
    """The checkpoints of a module that are known to be a DistilBERT: `expression in checkpoints`."""

    def __init__(self, reading: Reading, functions: Functions) -> None:
        self._reading = reading
        self._functions = functions
        self._known: set[tuple[str, frozenset[int]]] = set()

    def add(self, name: cst.BaseExpression) -> None:
        """What this expression names is a DistilBERT, for a model of it is loaded from there or saved there."""
        self._known.add(self._reading.key(name))

    def __contains__(self, name: cst.BaseExpression) -> bool:
        return self._is_one(name, frozenset())

    def _is_one(self, name: cst.BaseExpression, asked: frozenset[cst.CSTNode | None]) -> bool:
        """Whether a name says it, or is added; a parameter does if every call in the module gives it one."""
        if self._reading.says_distilbert(name) or self._reading.key(name) in self._known:
            return True
        holders = self._reading.holders(name) if isinstance(name, cst.Name) else set()
        holder = next(iter(holders)) if len(holders) == 1 else None
        if not isinstance(holder, cst.Param) or holder in asked:
            return False
        given = self._functions.given(holder)
        return bool(given) and all(one is not None and self._is_one(one, asked | {holder}) for one in given)
