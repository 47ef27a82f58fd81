# SPDX-License-Identifier: Apache-2.0
"""Creates an HDF5 file with groups, attributes and datasets laid out as Keras 2 or 3 does, without any values yet.

Each dataset has its place in the file, which the caller fills without HDF5: that needs no second copy of a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py  # type: ignore[import-untyped]
import numpy as np

from distilbert.convert.hdf5_structure import TOP_LEVEL
from distilbert.convert.raw import Dtype, native
from distilbert.convert.tensor import BFLOAT16, StoredTensor
from distilbert.errors import FileError

_BACKEND = b"tensorflow"
_KERAS_VERSION = b"2.15.0"  # the last Keras with this layout; nothing depends on it
_ATTRIBUTE_LIMIT = 64512  # bytes; Keras splits longer lists of names, HDF5 cannot hold them in one attribute


def allocate(
    path: Path, tensors: Sequence[StoredTensor], model_name: str | None, repeated: Mapping[str, Sequence[str]]
) -> list[int]:
    """Create the file; where the values of each tensor go in it. Without `model_name` the layout is that of a shard."""
    with _create(path) as file:
        if model_name is not None:
            return _layers(file, tensors, model_name, repeated)
        _write_names(file, "layer_names", [tensor.name for tensor in tensors])
        return [_allocate(file, tensor.name, tensor) for tensor in tensors]


def allocate_paths(path: Path, tensors: Sequence[StoredTensor]) -> list[int]:
    """Create a file of Keras 3, whose datasets lie at the paths that the tensors' names are; where the values go."""
    with _create(path) as file:
        offsets = [_allocate(file, tensor.name, tensor, _type_in_keras_3) for tensor in tensors]
        for tensor in tensors:
            if native(tensor.dtype) == BFLOAT16:
                file[tensor.name].attrs["dtype"] = BFLOAT16.name
    return offsets


@contextmanager
def _create(path: Path) -> Iterator[h5py.File]:
    # The oldest layout is the one every reader knows; aligned values can be mapped.
    layout = {"libver": ("earliest", "v110"), "alignment_threshold": 4096, "alignment_interval": 64}
    try:
        with h5py.File(path, "w", **layout) as file:
            yield file
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error})") from None


def _layers(
    file: h5py.File, tensors: Sequence[StoredTensor], model_name: str, repeated: Mapping[str, Sequence[str]]
) -> list[int]:
    layers: dict[str, list[str]] = {}
    for tensor in tensors:
        layers.setdefault(_layer(tensor.name), []).append(tensor.name)
    for layer in repeated:
        layers.setdefault(layer, [])
    _write_names(file, "layer_names", list(layers))
    file.attrs["backend"] = np.bytes_(_BACKEND)
    file.attrs["keras_version"] = np.bytes_(_KERAS_VERSION)
    for layer, names in [*layers.items(), (TOP_LEVEL, [])]:
        listed = [f"{model_name}/{name}" for name in (*names, *repeated.get(layer, ()))]
        _write_names(file.create_group(layer), "weight_names", listed)
    offsets = [_allocate(file[_layer(tensor.name)], f"{model_name}/{tensor.name}", tensor) for tensor in tensors]
    for layer, again in repeated.items():
        for name in again:
            file[f"{layer}/{model_name}/{name}"] = file[f"{_layer(name)}/{model_name}/{name}"]
    return offsets


def _layer(name: str) -> str:
    return name.partition("/")[0]


def _write_names(group: h5py.Group, attribute: str, names: Sequence[str]) -> None:
    encoded = np.array([name.encode("utf-8") for name in names], dtype=np.bytes_)
    parts = -(-encoded.nbytes // _ATTRIBUTE_LIMIT)
    if parts <= 1:
        group.attrs[attribute] = encoded
        return
    for index, part in enumerate(np.array_split(encoded, parts)):
        group.attrs[f"{attribute}{index}"] = part


def _allocate(
    group: h5py.Group, name: str, tensor: StoredTensor, type_of: Callable[[Dtype], h5py.h5t.TypeID] | None = None
) -> int:
    """Create a dataset without writing it; where its values go in the file."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)
    link = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    link.set_create_intermediate_group(True)
    space = h5py.h5s.create_simple(tensor.shape) if tensor.shape else h5py.h5s.create(h5py.h5s.SCALAR)
    kind = (type_of or _type)(native(tensor.dtype))
    dataset = h5py.h5d.create(group.id, name.encode("utf-8"), kind, space, creation, link)
    return int(dataset.get_offset() or 0)


def _type(dtype: Dtype) -> h5py.h5t.TypeID:
    if dtype != BFLOAT16:
        return h5py.h5t.py_create(dtype)
    # HDF5 has no name for this type but can describe it, and converts it to float32 for readers that do not know it.
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_precision(16)
    kind.set_size(2)
    kind.set_ebias(127)
    return kind


def _type_in_keras_3(dtype: Dtype) -> h5py.h5t.TypeID:
    """Keras 3 holds bfloat16 as bytes without a meaning, and an attribute says what they are."""
    if dtype != BFLOAT16:
        return h5py.h5t.py_create(dtype)
    return h5py.h5t.py_create(np.dtype("V2"))
