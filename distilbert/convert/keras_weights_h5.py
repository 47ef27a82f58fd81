# SPDX-License-Identifier: Apache-2.0
"""`*.weights.h5`: the HDF5 layout in which Keras 3 saves the weights of a model.

The path of a dataset says which value of which layer it is, as in `layers/dense/vars/0`; it is the tensor's name here.
What the names mean is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

from distilbert.convert.hdf5_structure import SIGNATURE, Dataset, Structure
from distilbert.convert.raw import (
    Problem,
    blocks,
    check_tensors,
    create_binary,
    load_array,
    native,
    nbytes_of,
    open_binary,
    read_exactly,
    refuse,
    shown,
    wrong_format,
)
from distilbert.convert.tensor import FLOAT_DTYPES, Array, StoredFile, StoredTensor
from distilbert.errors import WeightsError

_LAYERS = "layers"  # the group of what is learned; beside it are the states of optimizer and metrics
_RANDOM = "seed_generator"  # the states of dropout's random numbers


def read(path: Path) -> StoredFile:
    """Check the structure of a weights file of Keras 3; values are read when a tensor is loaded.

    Raises:
        WeightsError: the file is damaged, refers to other files, or is not laid out by Keras 3.
        FileError: the file cannot be read.
    """
    with open_binary(path) as stream:
        head = read_exactly(stream, 64)
        if not head.startswith(SIGNATURE):
            raise wrong_format(path, "an HDF5 file", head)
        try:
            structure = Structure(stream)
            if not structure.has(structure.root, _LAYERS):
                raise Problem(f"no group {_LAYERS}: not saved by Keras 3 (save_weights)")
            found = _datasets(path, structure)
        except Problem as problem:
            raise WeightsError(f"{path}: {problem}") from None
    return StoredFile({name: _stored_tensor(path, name, dataset) for name, dataset in found.items()}, {})


def write(path: Path, tensors: Sequence[StoredTensor], metadata: Mapping[str, str]) -> None:
    """Write a weights file of Keras 3, one tensor in memory at a time; `metadata` is dropped, there is no place for it.

    Raises:
        WeightsError: a name is given twice, or the dtype is no float.
    """
    check_tensors(path, tensors, FLOAT_DTYPES.values(), "a weights file of Keras")
    from distilbert.convert.hdf5_writer import allocate_paths  # h5py is slow to import, and reading does without

    offsets = allocate_paths(path, tensors)
    with create_binary(path, "r+b") as stream:
        for tensor, offset in zip(tensors, offsets, strict=True):
            stream.seek(offset)
            stream.writelines(blocks(path, tensor))


def _datasets(path: Path, structure: Structure) -> dict[str, Dataset]:
    found: dict[str, Dataset] = {}
    problems: list[str] = []
    for name, address in structure.datasets(structure.find(structure.root, _LAYERS), _LAYERS):
        if _RANDOM not in name.split("/"):
            try:
                found[name] = structure.dataset(address)
            except Problem as problem:
                problems.append(f"{shown(name)}: {problem}")
    if problems:
        raise refuse(path, problems)
    spans = sorted((item.offset, item.offset + nbytes_of(item.shape, item.dtype)) for item in found.values())
    for (_, end), (begin, _) in pairwise([span for span in spans if span[0] < span[1]]):
        if begin < end:
            raise Problem(f"damaged: two datasets overlap at byte {begin:,}")
    return found


def _stored_tensor(path: Path, name: str, dataset: Dataset) -> StoredTensor:
    return StoredTensor(name, dataset.shape, native(dataset.dtype), partial(_load, path, dataset))


def _load(path: Path, dataset: Dataset) -> Array:
    values = load_array(path, dataset.offset, dataset.shape, dataset.dtype)
    return values.astype(native(dataset.dtype), copy=False)
