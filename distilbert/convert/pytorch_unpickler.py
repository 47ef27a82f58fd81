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

import numpy as np

from distilbert.convert.raw import Dtype, Problem, checked_shape, shown
from distilbert.convert.tensor import BFLOAT16

STORAGES: dict[str, Dtype] = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": BFLOAT16,
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}


@dataclass(frozen=True)
class Storage:
    """Flat values that tensors look into: the name of its bytes in the file, their dtype and number."""

    key: str
    dtype: Dtype
    size: int


@dataclass(frozen=True)
class View:
    """A tensor: where in its storage it begins and how many elements each dimension steps by."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def extent(self) -> int:
        """Number of storage elements from the first to the last one the tensor looks at."""
        if 0 in self.shape:
            return 0
        return 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))


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
        found = _GLOBALS.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if found is None:
            raise Problem(
                f"refused: it asks for {shown(f'{module}.{name}')}, but weights need nothing but tensors "
                "(save the state_dict alone)"
            )
        self.push(found)

    def call(self) -> None:
        function, arguments = self.pop_many(2)
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise Problem("damaged pickle: a call of something that is not a function")
        self.push(function.call(arguments))

    def persistent(self) -> None:
        storage = _storage(self.pop())
        if self.storages.setdefault(storage.key, storage) != storage:
            raise Problem(f"storage {shown(storage.key)}: described in two ways")
        self.push(storage)

    def build(self) -> None:
        """Attributes of an OrderedDict (its `_metadata`, versions of modules): of no use here."""
        self.pop()
        self.top(dict)

    def update(self, items: list[Any]) -> None:
        _fill(self.top(dict), items)

    def extend(self, values: list[Any]) -> None:
        self.top(list).extend(values)


def _fill(target: dict[Any, Any], items: list[Any]) -> None:
    if len(items) % 2:
        raise Problem("damaged pickle: a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) not in (str, int):
            raise Problem(f"damaged pickle: expected text or a number as a key, found a {type(key).__name__}")
        if key in target:
            raise Problem(f"{shown(key)}: occurs twice")
        target[key] = value


@dataclass(frozen=True)
class _Global:
    """A name that pickles may refer to, and what calling it does here."""

    call: Callable[[tuple[Any, ...]], Any]
    dtype: Dtype | None = None


def _not_callable(_: tuple[Any, ...]) -> Any:
    raise Problem("damaged pickle: a call of a storage class")


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    pairs = arguments[0] if len(arguments) == 1 else []
    if len(arguments) > 1 or not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
        raise Problem("damaged pickle: expected pairs for an OrderedDict")
    values: dict[Any, Any] = {}
    _fill(values, [item for pair in pairs for item in pair])
    return values


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2


def _size(arguments: tuple[Any, ...]) -> Any:
    if len(arguments) != 1 or not isinstance(arguments[0], tuple):
        raise Problem("damaged pickle: expected a tuple for a torch.Size")
    return arguments[0]


def _tensor(arguments: tuple[Any, ...]) -> View:
    """`storage, offset, shape, strides`, then what gradients need and weights do not."""
    if not 4 <= len(arguments) <= 7 or not isinstance(arguments[0], Storage):
        raise Problem("damaged pickle: expected storage, offset, shape and strides of a tensor")
    storage, offset, shape, strides = arguments[:4]
    shape = checked_shape(shape, storage.dtype)
    if not isinstance(strides, tuple) or not all(map(_is_count, (offset, *strides))) or len(strides) != len(shape):
        raise Problem("damaged pickle: a tensor with an impossible offset or strides")
    view = View(storage, offset, shape, strides)
    if offset + view.extent > storage.size:
        raise Problem(
            f"a tensor of shape {list(shape)}, strides {list(view.strides)} and offset {offset} "
            f"does not fit its storage of {storage.size} elements"
        )
    return view


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _parameter(arguments: tuple[Any, ...]) -> View:
    if not arguments or not isinstance(arguments[0], View):
        raise Problem("damaged pickle: expected the tensor of a parameter")
    return arguments[0]


def _storage(arguments: Any) -> Storage:
    """`"storage", class, key, device, size` and, in old files, which part of another storage it is (never used)."""
    if not isinstance(arguments, tuple) or not 5 <= len(arguments) <= 6 or arguments[0] != "storage":
        raise Problem("damaged pickle: expected the description of a storage")
    kind, key, size = arguments[1], arguments[2], arguments[4]
    if not isinstance(kind, _Global) or kind.dtype is None or type(key) is not str or not _is_count(size):
        raise Problem("damaged pickle: expected the class, name and size of a storage")
    if arguments[5:] not in ((), (None,)):
        raise Problem("a storage that is part of another one, as PyTorch before 1.0 wrote; save it again")
    return Storage(key, kind.dtype, size)


_GLOBALS: dict[tuple[str, str], _Global] = {
    ("collections", "OrderedDict"): _Global(_ordered_dict),
    ("torch", "Size"): _Global(_size),
    ("torch._utils", "_rebuild_tensor"): _Global(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Global(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Global(_parameter),
    ("torch.storage", "UntypedStorage"): _Global(_not_callable, np.dtype(np.uint8)),
    **{("torch", name): _Global(_not_callable, dtype) for name, dtype in STORAGES.items()},
}

_STOP = ord(".")

_STEPS: dict[int, Callable[[_Machine], None]] = {
    0x80: lambda m: m.take(1) and None,  # PROTO
    0x95: lambda m: m.take(8) and None,  # FRAME
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
    ord("T"): lambda m: m.push(m.take(m.number("<I")).decode("utf-8")),  # text of Python 2
    ord("U"): lambda m: m.push(m.take(m.number("<B")).decode("utf-8")),
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
