# SPDX-License-Identifier: Apache-2.0
"""Where a checkpoint's weights are, and what all their files together hold: one file, or shards and their index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distilbert.checkpoint_files import best_weights, files_in, is_index, is_orbax, shard_names, weights_names
from distilbert.convert.formats import Format, format_of
from distilbert.convert.raw import refuse, shown
from distilbert.convert.tensor import StoredTensor
from distilbert.errors import FileError, WeightsError, describe
from distilbert.files import check_regular_file, read_json

_SHOWN = 8  # shards listed as missing; a hostile index can list any number


@dataclass(frozen=True)
class StoredWeights:
    """The tensors of a weights file, or of all shards together, by the names in the file.

    Attributes:
        path: the weights file, or the index of its shards.
        files: the files that hold the values.
    """

    path: Path
    files: tuple[Path, ...]
    format: Format
    tensors: dict[str, StoredTensor]


def read_weights(path: Path, variant: str | None = None) -> StoredWeights:
    """Read the headers of the best weights in a folder, of a weights file, or of the shards that an index lists.

    A checkpoint of Orbax is a folder itself; in a folder without any weights file the only one is taken.

    Raises:
        FileError: there are no weights, or a shard is missing.
        WeightsError: a file is damaged, or the index and the shards contradict each other.
    """
    path = _find(path, variant)
    row = format_of(path)
    if not is_index(path.name):
        stored = row.codec.read(path).tensors
        files: tuple[Path, ...] = (path,)
    else:
        files = _shards(path)
        stored = _read_shards(path, files, row)
    if not stored:
        raise WeightsError(f"{path}: holds no tensors")
    return StoredWeights(path, files, row, stored)


def _find(path: Path, variant: str | None) -> Path:
    if not path.is_dir():
        check_regular_file(path)
        return path
    if is_orbax(path):
        return path
    names = weights_names(variant)
    present = files_in(path)
    best = best_weights(present, names)
    if best is None:
        return _find_orbax(path, names, present)
    return path / best


def _find_orbax(path: Path, names: Sequence[str], present: Sequence[str]) -> Path:
    """The one checkpoint of Orbax in a folder that has no weights in a file."""
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and is_orbax(folder))
    if not folders:
        found = ", ".join(map(shown, present[:10])) or "nothing"
        raise FileError(f"{path}: no weights; expected one of {', '.join(names)}; found {found}")
    if len(folders) > 1:
        listed = ", ".join(shown(folder.name) for folder in folders[:_SHOWN])
        raise FileError(f"{path}: {len(folders)} checkpoints of Orbax, {listed}; name the folder of one")
    return folders[0]


def _shards(index: Path) -> tuple[Path, ...]:
    files = tuple(index.parent / name for name in shard_names(index))
    missing = [file.name for file in files if not file.exists()]
    if missing:
        more = [f"and {len(missing) - _SHOWN} more"] if len(missing) > _SHOWN else []
        raise FileError(describe(f"{index}: lists files that are not there", [*missing[:_SHOWN], *more]))
    return files


def _read_shards(index: Path, files: tuple[Path, ...], row: Format) -> dict[str, StoredTensor]:
    stored: dict[str, StoredTensor] = {}
    places: dict[str, str] = {}
    problems = []
    for file in files:
        for name, tensor in row.codec.read(file).tensors.items():
            if name in places:
                problems.append(f"{shown(name)}: in {places[name]} and again in {file.name}")
            stored[name], places[name] = tensor, file.name
    problems += _contradictions(_listed(index, row, stored), places)
    if problems:
        raise refuse(index, problems)
    return stored


def _listed(index: Path, row: Format, stored: Mapping[str, StoredTensor]) -> dict[str, str]:
    """The weight_map; TensorFlow's says "model/path" of what the shards call "path"."""
    listed: dict[str, str] = read_json(index)["weight_map"]
    if row.dialect != "tf":
        return listed
    bare = {name: name.partition("/")[2] for name in listed}
    return {bare[name] if bare[name] in stored else name: place for name, place in listed.items()}


def _contradictions(listed: Mapping[str, str], places: Mapping[str, str]) -> list[str]:
    """What weight_map says wrongly of where tensors are; a tensor that it leaves out is in its shard all the same."""
    return [
        f"{shown(name)}: weight_map says {place}, found {f'in {places[name]}' if name in places else 'nowhere'}"
        for name, place in listed.items()
        if places.get(name) != place
    ]
