# SPDX-License-Identifier: Apache-2.0
"""Reads the pickles of torch.save without running any of them: they can make plain values and tensors, nothing else.

This is an interpreter of its own, not a subclass of `pickle.Unpickler`: that one imports and calls what the file names,
allocates whatever size the file states, and can be brought down by deep nesting. Here a class is a row in a table, and
the work and memory are bounded by the length of the pickle, which the caller limits.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from distilbert.convert.pytorch_objects import GLOBALS, Global, Storage, describe_storage, fill_dict
from distilbert.convert.raw import Problem, shown


@dataclass(frozen=True)
class Unpickled:
    """A value, the storages that its tensors use, and where its pickle ended."""

    value: Any
    storages: dict[str, Storage]
    end: int


def unpickle(data: bytes, start: int = 0) -> Unpickled:
    """The value of the pickle that begins at `start` of `data`.

    Raises:
        Problem: the pickle is damaged, ends too early, or asks for a class or function that is not a tensor's.
    """
    machine = _Machine(data, start)
    try:
        while (code := machine.take(1)[0]) != _STOP:
            step = _STEPS.get(code)
            if step is None:
                raise Problem(f"unsupported pickle operation {code:#04x}, expected what torch.save writes")
            step(machine)
        return Unpickled(machine.pop(), machine.storages, machine.position)
    except UnicodeDecodeError:
        raise Problem(f"damaged pickle: text that is not UTF-8 before byte {machine.position}") from None


class _Machine:
    """The stack, marks and memo of one pickle."""

    def __init__(self, data: bytes, start: int) -> None:
        self.data = data
        self.position = start
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise Problem("damaged pickle: it ends too early, or is too long")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def skip(self, count: int) -> None:
        self.take(count)

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + 1000)
        if end < 0:
            raise Problem("damaged pickle: a name without an end")
        text = self.take(end - self.position).decode("utf-8")
        self.position += 1
        return text

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise Problem("damaged pickle: a value is missing")
        return self.stack.pop()

    def top(self, kind: type) -> Any:
        value = self.pop()
        self.push(value)
        if type(value) is not kind:
            raise Problem(f"damaged pickle: expected a {kind.__name__}, found a {type(value).__name__}")
        return value

    def pop_mark(self) -> list[Any]:
        if not self.marks:
            raise Problem("damaged pickle: a mark is missing")
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def pop_many(self, count: int) -> tuple[Any, ...]:
        return tuple(reversed([self.pop() for _ in range(count)]))

    def remember(self, index: int) -> None:
        value = self.pop()
        self.memo[index] = value
        self.push(value)

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise Problem("damaged pickle: it refers to a value that was not stored")
        self.push(self.memo[index])

    def find(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Problem("damaged pickle: expected the name of a class or function")
        found = GLOBALS.get((module, name))
        if found is None:
            raise Problem(
                f"refused: it asks for {shown(f'{module}.{name}')}, but weights need nothing but tensors "
                "(save the state_dict alone)"
            )
        self.push(found)

    def call(self) -> None:
        function, arguments = self.pop_many(2)
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise Problem("damaged pickle: a call of something that is not a function")
        self.push(function.call(arguments))

    def persistent(self) -> None:
        storage = describe_storage(self.pop())
        if self.storages.setdefault(storage.key, storage) != storage:
            raise Problem(f"storage {shown(storage.key)}: described in two ways")
        self.push(storage)

    def build(self) -> None:
        """Attributes of an OrderedDict (its `_metadata`, versions of modules): of no use here."""
        self.pop()
        self.top(dict)

    def update(self, items: list[Any]) -> None:
        fill_dict(self.top(dict), items)

    def extend(self, values: list[Any]) -> None:
        self.top(list).extend(values)


_STOP = ord(".")

_STEPS: dict[int, Callable[[_Machine], None]] = {
    0x80: lambda m: m.skip(1),  # the protocol, whose operations are all here or refused
    0x95: lambda m: m.skip(8),  # the length of a frame
    ord("("): lambda m: m.marks.append(len(m.stack)),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    ord("J"): lambda m: m.push(m.number("<i")),
    0x8A: lambda m: m.push(int.from_bytes(m.take(m.number("<B")), "little", signed=True)),
    ord("G"): lambda m: m.push(m.number(">d")),
    ord("X"): lambda m: m.push(m.take(m.number("<I")).decode("utf-8")),
    0x8C: lambda m: m.push(m.take(m.number("<B")).decode("utf-8")),
    ord(")"): lambda m: m.push(()),
    0x85: lambda m: m.push(m.pop_many(1)),
    0x86: lambda m: m.push(m.pop_many(2)),
    0x87: lambda m: m.push(m.pop_many(3)),
    ord("t"): lambda m: m.push(tuple(m.pop_mark())),
    ord("]"): lambda m: m.push([]),
    ord("a"): lambda m: m.extend([m.pop()]),
    ord("e"): lambda m: m.extend(m.pop_mark()),
    ord("}"): lambda m: m.push({}),
    ord("s"): lambda m: m.update([*m.pop_many(2)]),
    ord("u"): lambda m: m.update(m.pop_mark()),
    ord("q"): lambda m: m.remember(m.number("<B")),
    ord("r"): lambda m: m.remember(m.number("<I")),
    0x94: lambda m: m.remember(len(m.memo)),
    ord("h"): lambda m: m.recall(m.number("<B")),
    ord("j"): lambda m: m.recall(m.number("<I")),
    ord("c"): lambda m: m.find(m.line(), m.line()),
    0x93: lambda m: m.find(*m.pop_many(2)),
    ord("Q"): lambda m: m.persistent(),
    ord("R"): lambda m: m.call(),
    ord("b"): lambda m: m.build(),
}
