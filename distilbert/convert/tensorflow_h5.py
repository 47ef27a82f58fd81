# SPDX-License-Identifier: Apache-2.0
"""`tf_model.h5`: the HDF5 layouts in which TensorFlow models of Hugging Face are saved.

A single file is laid out by Keras 2: a group per layer, whose attribute `weight_names` lists the datasets below it; the
first component of each of these names is the model's own and is no part of a tensor's name here. A shard has no such
groups: its attribute `layer_names` lists the datasets themselves. What the names mean is not known here, and how HDF5
keeps groups and attributes is the business of `hdf5_structure.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from distilbert.convert.hdf5_structure import SIGNATURE, TOP_LEVEL, Dataset, Structure
from distilbert.convert.raw import (
    BLOCK,
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

_MAX_DATASETS = 20_000
_DTYPES = {*FLOAT_DTYPES.values(), *(np.dtype(f"{sign}{size}") for sign in "iu" for size in (1, 2, 4, 8))}


def read(path: Path) -> StoredFile:
    """Check the structure of a TensorFlow weights file; values are read when a tensor is loaded.

    The same tensor in several groups (Keras repeats the embeddings in the masked-LM head) is returned once; that its
    copies are equal is checked when it is loaded.

    Raises:
        WeightsError: the file is damaged, refers to other files, or is not laid out by Keras.
        FileError: the file cannot be read.
    """
    with open_binary(path) as stream:
        head = read_exactly(stream, 64)
        if not head.startswith(SIGNATURE):
            raise wrong_format(path, "an HDF5 file", head)
        try:
            structure = Structure(stream)
            found = _datasets(path, structure)
            metadata = {key: structure.texts(structure.root, key) for key in ("backend", "keras_version")}
        except Problem as problem:
            raise WeightsError(f"{path}: {problem}") from None
    tensors = {name: _stored_tensor(path, name, list(copies.values())) for name, copies in found.items()}
    return StoredFile(tensors, {key: texts[0] for key, texts in metadata.items() if texts})


def write(
    path: Path,
    tensors: Sequence[StoredTensor],
    metadata: Mapping[str, str],
    model_name: str = "tf_distil_bert_model",
    sharded: bool = False,
    repeated: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write a TensorFlow weights file, one tensor in memory at a time.

    Args:
        path: where to write.
        tensors: what to write; the first component of a name is the name of its layer.
        metadata: dropped; the layout has no place for it.
        model_name: the model's own name, which Keras puts before the names of the weights.
        sharded: use the layout of a shard, which has neither the model's name nor layers.
        repeated: tensors that further layers list too: Keras repeats in a layer the weights of the layers it refers to,
            and transformers warns of missing weights without them. They become links and take no space.

    Raises:
        WeightsError: a name is given twice or is also a folder of names, or the dtype is not a number.
    """
    check_tensors(path, tensors, _DTYPES, "tf_model.h5")
    repeated = repeated or {}
    _check_names(path, tensors, repeated)
    from distilbert.convert.hdf5_writer import allocate  # h5py is slow to import, and reading does without

    offsets = allocate(path, tensors, None if sharded else model_name, repeated)
    with create_binary(path, "r+b") as stream:
        for tensor, offset in zip(tensors, offsets, strict=True):
            stream.seek(offset)
            stream.writelines(blocks(path, tensor))


def _datasets(path: Path, structure: Structure) -> dict[str, dict[int, Dataset]]:
    """The datasets of each tensor by address: usually one, several when groups hold copies."""
    layers = structure.texts(structure.root, "layer_names")
    if layers is None:
        raise Problem("no attribute layer_names: not saved by Keras 2 (save_weights) or as a Hugging Face shard")
    if len(set(layers)) != len(layers):
        raise Problem("layer_names lists a layer twice")
    if TOP_LEVEL not in layers and structure.has(structure.root, TOP_LEVEL):
        layers = [*layers, TOP_LEVEL]
    found: dict[str, dict[int, Dataset]] = {}
    problems: list[str] = []
    for count, (name, group, below) in enumerate(_names(structure, layers)):
        if count == _MAX_DATASETS:
            raise Problem(f"more than {_MAX_DATASETS:,} datasets")
        try:
            address = structure.find(group, below)
            dataset = structure.dataset(address)
            copies = found.setdefault(name, {})
            copies[address] = dataset
            other = next(iter(copies.values()))
            if (other.shape, other.dtype) != (dataset.shape, dataset.dtype):
                raise Problem("several copies, of different shape or dtype")
        except Problem as problem:
            problems.append(f"{shown(name)}: {problem}")
    if problems:
        raise refuse(path, problems)
    _check_overlap({address: item for copies in found.values() for address, item in copies.items()})
    return found


def _names(structure: Structure, layers: Sequence[str]) -> Sequence[tuple[str, int, str]]:
    """The name of each tensor, and its path below which group."""
    names: list[tuple[str, int, str]] = []
    for layer in layers:
        group = structure.find(structure.root, layer)
        if not structure.is_group(group):
            names.append((layer, structure.root, layer))
            continue
        weights = structure.texts(group, "weight_names")
        if weights is None:
            raise Problem(f"layer {shown(layer)}: no attribute weight_names")
        for weight in weights:
            _, slash, name = weight.partition("/")
            names.append((name if slash else weight, group, weight))
        if len(names) > _MAX_DATASETS:
            raise Problem(f"more than {_MAX_DATASETS:,} datasets")
    return names


def _check_overlap(datasets: Mapping[int, Dataset]) -> None:
    """Raise Problem when two datasets claim the same bytes (one dataset with two names is fine)."""
    spans = sorted((item.offset, item.offset + nbytes_of(item.shape, item.dtype)) for item in datasets.values())
    for (_, end), (begin, _) in pairwise([span for span in spans if span[0] < span[1]]):
        if begin < end:
            raise Problem(f"damaged: two datasets overlap at byte {begin:,}")


def _stored_tensor(path: Path, name: str, copies: Sequence[Dataset]) -> StoredTensor:
    first = copies[0]
    return StoredTensor(name, first.shape, native(first.dtype), partial(_load, path, name, copies))


def _load(path: Path, name: str, copies: Sequence[Dataset]) -> Array:
    first, *others = copies
    values = load_array(path, first.offset, first.shape, first.dtype)
    for other in others:
        if not _same_bytes(values, load_array(path, other.offset, other.shape, other.dtype)):
            raise WeightsError(f"{path}: {shown(name)}: the file holds two copies with different values")
    return values.astype(native(first.dtype), copy=False)


def _same_bytes(one: Array, other: Array) -> bool:
    left, right = one.reshape(-1).view(np.uint8), other.reshape(-1).view(np.uint8)
    steps = range(0, left.size, BLOCK)
    return all(np.array_equal(left[start : start + BLOCK], right[start : start + BLOCK]) for start in steps)


def _check_names(path: Path, tensors: Sequence[StoredTensor], repeated: Mapping[str, Sequence[str]]) -> None:
    names = {tensor.name for tensor in tensors}
    absent = {name for again in repeated.values() for name in again} - names
    problems = [f"{shown(name)}: cannot be repeated in another layer, it is not among the tensors" for name in absent]
    for name in sorted(names):
        parts = name.split("/")
        if not all(part.strip(".") and part.isascii() and part.isprintable() for part in parts):
            problems.append(f"{shown(name)}: tf_model.h5 cannot hold this name, expected plain ASCII")
        problems += [
            f"{shown(name)}: is inside {shown('/'.join(parts[:end]))}, which is a tensor too"
            for end in range(1, len(parts))
            if "/".join(parts[:end]) in names
        ]
    if problems:
        raise refuse(path, problems)
