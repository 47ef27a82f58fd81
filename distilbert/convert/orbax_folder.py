# SPDX-License-Identifier: Apache-2.0
"""A folder in which Orbax keeps a tree of arrays: read by tensorstore array by array, written by Orbax itself.

Names are the paths of the tree, joined by "/"; what they mean is not known here. Reading imports no framework; writing
imports JAX, because Orbax does.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distilbert.checkpoint_files import ORBAX_FILE, is_orbax
from distilbert.convert.flax_msgpack import nested
from distilbert.convert.raw import check_tensors, refuse, shown
from distilbert.convert.tensor import FLOAT_DTYPES, Array, StoredFile, StoredTensor
from distilbert.errors import BackendError, FileError, WeightsError
from distilbert.files import read_json
from distilbert.threads import set_threads_from_environment

_PARAMS = "params"  # where a training state of Flax keeps the parameters
_KEY_OF_DICT = 2
_INSTALL = 'pip install "distilbert[orbax]"'


def read(path: Path) -> StoredFile:
    """Find out what a folder holds; values are read when a tensor is loaded.

    Where the tree has a branch "params" at its root, as a training state has, only that branch is read.

    Raises:
        BackendError: tensorstore is not installed.
        WeightsError: the folder is damaged, or not laid out by Orbax's PyTree or Standard checkpointer.
        FileError: a file cannot be read.
    """
    metadata = read_json(path / ORBAX_FILE)
    tensorstore = _tensorstore(path)
    opened = {
        "/".join(keys): tensorstore.open(_place(path, metadata, keys), open=True, read=True)
        for keys in _keys(path, metadata)
    }
    tensors, problems = {}, []
    for name, future in opened.items():
        try:
            tensors[name.removeprefix(f"{_PARAMS}/")] = _stored_tensor(path, name, future.result())
        except (ValueError, OSError, TypeError) as error:
            problems.append(f"{shown(name)}: {_reason(error)}")
    if problems:
        raise refuse(path, problems)
    return StoredFile(tensors, {})


def write(path: Path, tensors: Sequence[StoredTensor], metadata: Mapping[str, str]) -> None:
    """Write a folder as Orbax's StandardCheckpointer does; an older checkpoint at this place is replaced at the end.

    All tensors are in memory at once. `metadata` is dropped.

    Raises:
        BackendError: Orbax is not installed.
        WeightsError: a name is given twice or is also a folder of names, or the dtype is no float.
        FileError: the folder cannot be written, or another one is in its place.
    """
    if path.exists() and not is_orbax(path):
        raise FileError(f"{path}: is in the way; expected a checkpoint of Orbax to replace, or nothing")
    check_tensors(path, tensors, FLOAT_DTYPES.values(), "a checkpoint of Orbax")
    tree = _loaded(nested(path, tensors))
    set_threads_from_environment()  # Orbax starts JAX, which cannot be told later
    try:
        import orbax.checkpoint as orbax
    except ImportError as error:
        raise BackendError(
            f"{path}: writing a checkpoint of Orbax needs Orbax ({error})\n  install:  {_INSTALL}"
        ) from None
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".partial", dir=path.parent) as name:
            new, old = Path(name, "new"), Path(name, "old")
            with orbax.StandardCheckpointer() as checkpointer:
                checkpointer.save(new.absolute(), tree)
            if path.exists():
                path.rename(old)
            new.rename(path)
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error})") from None


def _tensorstore(path: Path) -> Any:
    try:
        import tensorstore
    except ImportError as error:
        raise BackendError(
            f"{path}: reading a checkpoint of Orbax needs tensorstore ({error})\n  install:  {_INSTALL}"
        ) from None
    return tensorstore


def _keys(path: Path, metadata: Mapping[str, Any]) -> list[list[str]]:
    """The path of every array that is wanted, as Orbax lists it."""
    tree = metadata.get("tree_metadata")
    entries = list(tree.values()) if isinstance(tree, dict) else []
    try:
        listed = [[(part["key"], part["key_type"]) for part in entry["key_metadata"]] for entry in entries]
    except (KeyError, TypeError):
        listed = []
    if not listed:
        raise WeightsError(f"{path / ORBAX_FILE}: tree_metadata: expected the arrays of a tree, as Orbax lists them")
    if any(keys and keys[0][0] == _PARAMS for keys in listed):
        listed = [keys for keys in listed if keys and keys[0][0] == _PARAMS]
    problems = [
        f"{shown([key for key, _ in keys])}: expected a path of names through nested dictionaries"
        for keys in listed
        if not all(kind == _KEY_OF_DICT and _is_name(key) for key, kind in keys)
    ]
    if problems:
        raise refuse(path / ORBAX_FILE, problems)
    return [[key for key, _ in keys] for keys in listed]


def _is_name(key: object) -> bool:
    return isinstance(key, str) and re.fullmatch(r"\w+", key) is not None


def _place(path: Path, metadata: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Where tensorstore finds an array; a chunk that is missing is an error, not an array of zeros."""
    folder, array = {"driver": "file", "path": f"{path.absolute()}/"}, ".".join(keys) + "/"
    if metadata.get("use_ocdbt", True):
        store = {"driver": "ocdbt", "base": folder, "path": array}
    else:
        store = {**folder, "path": f"{folder['path']}{array}"}
    driver = "zarr3" if metadata.get("use_zarr3") else "zarr"
    return {"driver": driver, "kvstore": store, "fill_missing_data_reads": False}


def _stored_tensor(path: Path, name: str, array: Any) -> StoredTensor:
    shape = tuple(map(int, array.shape))
    dtype = np.dtype(array.dtype.numpy_dtype)

    def load() -> Array:
        try:
            return np.asarray(array.read().result())
        except (ValueError, OSError) as error:
            raise WeightsError(f"{path}: {shown(name)}: {_reason(error)}") from None

    return StoredTensor(name, shape, dtype, load)


def _loaded(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: np.ascontiguousarray(node.load()) if isinstance(node, StoredTensor) else _loaded(node)
        for name, node in tree.items()
    }


def _reason(error: Exception) -> str:
    """The beginning of a message of tensorstore, which goes on with the whole request."""
    return str(error).partition(" [")[0][:300]
