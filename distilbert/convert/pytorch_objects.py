# SPDX-License-Identifier: Apache-2.0
"""The few things that a pickle of torch.save may ask for: tensors, their storages, ordered dictionaries, sizes.

Nothing of PyTorch is called: each name stands for a function here that checks its arguments and returns plain values.
"""

from __future__ import annotations

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
class Global:
    """A name that pickles may refer to, and what calling it does here."""

    call: Callable[[tuple[Any, ...]], Any]
    dtype: Dtype | None = None


def _not_callable(_: tuple[Any, ...]) -> Any:
    raise Problem("damaged pickle: a call of a storage class")


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if arguments:
        raise Problem("damaged pickle: expected an empty OrderedDict to fill")
    return {}


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
    if not isinstance(strides, tuple) or len(strides) != len(shape) or not all(map(_is_count, (offset, *strides))):
        raise Problem("damaged pickle: a tensor with an impossible offset or strides")
    return View(storage, offset, shape, strides)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _parameter(arguments: tuple[Any, ...]) -> View:
    if not arguments or not isinstance(arguments[0], View):
        raise Problem("damaged pickle: expected the tensor of a parameter")
    return arguments[0]


def describe_storage(arguments: Any) -> Storage:
    """`"storage", class, key, device, size` and, in old files, which part of another storage it is (never used)."""
    if not isinstance(arguments, tuple) or not 5 <= len(arguments) <= 6 or arguments[0] != "storage":
        raise Problem("damaged pickle: expected the description of a storage")
    kind, key, size = arguments[1], arguments[2], arguments[4]
    if not isinstance(kind, Global) or kind.dtype is None or type(key) is not str or not _is_count(size):
        raise Problem("damaged pickle: expected the class, name and size of a storage")
    if arguments[5:] not in ((), (None,)):
        raise Problem("a storage that is part of another one, as PyTorch before 1.0 wrote; save it again")
    return Storage(key, kind.dtype, size)


GLOBALS: dict[tuple[str, str], Global] = {
    ("collections", "OrderedDict"): Global(_ordered_dict),
    ("torch", "Size"): Global(_size),
    ("torch._utils", "_rebuild_tensor"): Global(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Global(_tensor),
    ("torch._utils", "_rebuild_parameter"): Global(_parameter),
    ("torch.storage", "UntypedStorage"): Global(_not_callable, np.dtype(np.uint8)),
    **{("torch", name): Global(_not_callable, dtype) for name, dtype in STORAGES.items()},
}


def fill_dict(target: dict[Any, Any], items: list[Any]) -> None:
    """Add keys and values, which alternate in `items`; Problem for a doubled key."""
    if len(items) % 2:
        raise Problem("damaged pickle: a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) not in (str, int):
            raise Problem(f"damaged pickle: expected text or a number as a key, found a {type(key).__name__}")
        if key in target:
            raise Problem(f"{shown(key)}: occurs twice")
        target[key] = value
