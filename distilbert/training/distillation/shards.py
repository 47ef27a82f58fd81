# SPDX-License-Identifier: Apache-2.0
"""Long arrays on disk in shards, written so that a kill at any moment costs one shard and never leaves half of one.

A folder holds `manifest.json` (what its content was made from, which shards there are, whether these are all) and the
shards' arrays as .npy files, which are mapped into memory when read. The manifest is there before any array. Of several
processes one writes at a time (`Shards.alone`). What the arrays mean is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from distilbert.errors import FileError, InputError, describe
from distilbert.files import read_json, write_json
from distilbert.tables.streams import whole_file

MANIFEST = "manifest.json"
LOCK = ".lock"
MANIFEST_LIMIT = 1 << 30  # bytes; a line for each shard
_VERSION = 1

Array = NDArray[Any]


class Shards:
    """A folder of shards.

    Attributes:
        folder: where they are.
        identity: what their content follows from.
        entries: of each shard that there is, what its maker noted.
        facts: of the whole, once it is complete.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        """Open a folder, or begin one.

        Raises:
            InputError: the folder was made from something else; it is left as it is.
            FileError: it holds other things, or cannot be read or written.
        """
        self.folder = folder
        self.identity = identity
        self.entries: list[dict[str, Any]] = []
        self.facts: dict[str, Any] | None = None
        self._lock = FileLock(folder / LOCK)
        self._read()

    @property
    def is_complete(self) -> bool:
        """Whether these are all shards."""
        return self.facts is not None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from writing here; what they wrote before is then known. May be entered again inside.

        Raises:
            FileError: the folder cannot be written to.
        """
        self._make_folder()
        try:
            self._lock.acquire()
        except OSError as error:
            raise FileError(f"{self.folder}: cannot be written ({error.strerror or error})") from None
        try:
            self._read()
            yield
        finally:
            self._lock.release()

    def add(self, arrays: Mapping[str, Array], entry: dict[str, Any]) -> None:
        """Write the next shard; it counts once its entry is in the manifest."""
        self._make_folder()
        if not (self.folder / MANIFEST).exists():
            self._write()  # says whose arrays these are, should this be killed before their entry is there
        number = len(self.entries)
        for name, values in arrays.items():
            with whole_file(self.path(number, name)) as temporary, open(temporary, "wb") as stream:
                np.save(stream, np.ascontiguousarray(values))
        self.entries.append(entry)
        self._write()

    def complete(self, facts: dict[str, Any]) -> None:
        """Say that these are all shards, with facts of the whole."""
        self._make_folder()
        self.facts = facts
        self._write()

    def path(self, number: int, name: str) -> Path:
        """The file of one array of a shard."""
        return self.folder / f"shard-{number:05d}.{name}.npy"

    def load(self, number: int, name: str, *, mapped: bool = True) -> Array:
        """One array of a shard, mapped into memory (read-only) or read."""
        path = self.path(number, name)
        try:
            values: Array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise FileError(f"{path}: cannot be read ({error}); remove {self.folder} to have it made anew") from None
        return values

    def _read(self) -> None:
        manifest = self.folder / MANIFEST
        if manifest.exists():
            self._take(manifest, read_json(manifest, MANIFEST_LIMIT))
        elif self.folder.exists() and (not self.folder.is_dir() or any(self.folder.glob("*.npy"))):
            raise FileError(f"{self.folder}: is in the way; expected a new folder, or one with a {MANIFEST}")

    def _take(self, path: Path, document: dict[str, Any]) -> None:
        if document.get("version") != _VERSION:
            raise FileError(f"{path}: expected version {_VERSION}, found {document.get('version')!r}")
        then, now = document["identity"], self.identity
        different = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
        if different:
            problems = [f"{name}: was {_short(then.get(name))}, is {_short(now.get(name))}" for name in different]
            advice = "remove the folder or name another"
            raise InputError(f"{describe(f'{path.parent} was made from something else', problems)}\n{advice}")
        self.entries, self.facts = document["shards"], document["facts"]

    def _write(self) -> None:
        document = {"version": _VERSION, "identity": self.identity, "facts": self.facts, "shards": self.entries}
        try:
            write_json(self.folder / MANIFEST, document)
        except OSError as error:
            raise FileError(f"{self.folder / MANIFEST}: cannot be written ({error.strerror or error})") from None

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"{self.folder}: cannot be made ({error.strerror or error})") from None


def remove_shards(folder: Path) -> None:
    """Remove the shards in a folder, and the folder if nothing else is in it; one that holds none is left alone."""
    manifest = folder / MANIFEST
    if not manifest.is_file() or not {"version", "identity", "shards"} <= read_json(manifest, MANIFEST_LIMIT).keys():
        return
    for path in (*folder.glob("shard-*.npy"), folder / LOCK, manifest):
        path.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def padded_rows(values: Array, starts: Array, rows: NDArray[np.int64], width: int, filler: Any) -> Array:
    """Lists that lie one after the other as rows (B, width, ...) of a table, cut off or filled up at their ends.

    Args:
        values: (total, ...) the lists' items.
        starts: (N + 1,) where each list starts, and the end of the last.
        rows: (B,) which lists.
        width: of the table.
        filler: what comes after the end of a list.
    """
    first = np.asarray(starts[rows])
    columns = np.arange(width)
    inside = columns < np.asarray(starts[rows + 1])[:, None] - first[:, None]
    table = np.full((len(rows), width, *values.shape[1:]), filler, values.dtype)
    table[inside] = values[(first[:, None] + columns)[inside]]
    return table


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
