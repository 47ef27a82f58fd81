# SPDX-License-Identifier: Apache-2.0
"""Lists and arrays to tensors of a framework, which is imported when the first tensor of it is asked for."""

from __future__ import annotations

import importlib
from reprlib import repr as shown
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.errors import BackendError, TokenizerError

# For each value of return_tensors: the module, the title, and the extra that installs it.
FRAMEWORKS = {
    "np": ("numpy", "NumPy", ""),
    "pt": ("torch", "PyTorch", "pt"),
    "tf": ("tensorflow", "TensorFlow", "tf"),
    "jax": ("jax.numpy", "JAX", "flax"),
}
_KINDS = {"numpy": "np", "torch": "pt", "tensorflow": "tf", "jax": "jax", "jaxlib": "jax"}


def load_framework(kind: str) -> Any:
    """The module that makes tensors of this kind.

    Raises:
        TokenizerError: There is no such kind.
        BackendError: The framework is not installed.
    """
    if kind not in FRAMEWORKS:
        raise TokenizerError(f"return_tensors: expected one of {', '.join(FRAMEWORKS)} or None, found {shown(kind)}")
    module, title, extra = FRAMEWORKS[kind]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BackendError(
            f"return_tensors={kind!r} needs {title}, which cannot be imported ({error}).\n"
            f'  install:  pip install "distilbert[{extra}]"'
        ) from None


def kind_of(value: object) -> str | None:
    """Which return_tensors makes values like this one; None for lists and numbers."""
    return _KINDS.get(type(value).__module__.partition(".")[0]) if hasattr(value, "shape") else None


def from_array(array: NDArray[np.int64], kind: str) -> Any:
    """Our own array of ids or masks as a tensor: int64, but int32 in TensorFlow and JAX."""
    framework = load_framework(kind)
    if kind == "pt":
        return framework.from_numpy(array)
    if kind == "tf":
        return framework.constant(array.astype(np.int32))
    return framework.asarray(array.astype(np.int32)) if kind == "jax" else array


def from_values(value: Any, kind: str, name: str) -> Any:
    """Nested lists, arrays or tensors as a tensor. Lists become int64 or float32 (int32 in TensorFlow and JAX).

    Args:
        name: What the values are, for the error.

    Raises:
        TokenizerError: The values are no numbers, or no rectangle.
    """
    framework = load_framework(kind)
    if kind_of(value) == kind:
        return value
    array = _rectangle(value, name)
    if kind == "np":
        return array
    if not _holds_arrays(value):
        array = array.astype(_list_dtype(array.dtype, kind))
    if kind == "pt":
        return framework.tensor(array)
    return framework.constant(array) if kind == "tf" else framework.asarray(array)


def to_lists(value: Any) -> Any:
    """Arrays and tensors, also inside lists, as numbers in lists; everything else as it is."""
    if isinstance(value, list | tuple):
        return [to_lists(item) for item in value] if any(hasattr(item, "shape") for item in value) else list(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return np.asarray(value).tolist() if hasattr(value, "shape") else value


def ragged(name: str) -> TokenizerError:
    """The error for rows of different length that should become one tensor."""
    return TokenizerError(
        f"return_tensors: the rows of {name} have different lengths; pad them (padding=True, with truncation=True to "
        "bound them) or leave return_tensors out"
    )


def _rectangle(value: Any, name: str) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError:
        raise ragged(name) from None
    if array.size == 0 and not hasattr(value, "dtype"):
        array = array.astype(np.int64)
    if array.dtype.kind not in "biuf":
        raise TokenizerError(f"return_tensors: expected numbers in {name}, found {shown(value)}")
    return array


def _holds_arrays(value: Any) -> bool:
    return hasattr(value, "shape") or (
        isinstance(value, list | tuple) and len(value) > 0 and hasattr(value[0], "shape")
    )


def _list_dtype(dtype: np.dtype[Any], kind: str) -> np.dtype[Any]:
    if dtype.kind == "f":
        return np.dtype(np.float32)
    if dtype.kind == "i":
        return np.dtype(np.int64 if kind == "pt" else np.int32)
    return dtype
