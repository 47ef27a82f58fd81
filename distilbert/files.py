# SPDX-License-Identifier: Apache-2.0
"""Careful reading and writing of local files: size caps, no duplicate keys, never half a file.

What the bytes of a weights file mean is not known here: that is `distilbert/convert`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distilbert.errors import FileError

JSON_LIMIT = 10 * 1024 * 1024  # bytes; a real config, index or tokenizer_config.json is far below
TEXT_LIMIT = 100 * 1024 * 1024  # bytes; vocab.txt and tokenizer.json of the largest vocabularies are below


def check_regular_file(path: Path) -> None:
    """Raise FileError unless `path` is a readable regular file (pipes and devices would hang or never end)."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not stat.S_ISREG(mode):
        raise FileError(f"{path}: expected a regular file, found {_kind(mode)}")


def read_text(path: Path, limit: int = TEXT_LIMIT) -> str:
    """The whole of a UTF-8 text file, without a byte order mark; FileError above `limit` bytes."""
    check_regular_file(path)
    size = path.stat().st_size
    if size > limit:
        raise FileError(f"{path}: {size:,} bytes, but at most {limit:,} are accepted for this kind of file")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(
            f"{path}: expected UTF-8 text, found byte {error.object[error.start]:#04x} at {error.start}"
        ) from None
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror or error})") from None


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; FileError when it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_json(path: Path, limit: int = JSON_LIMIT) -> dict[str, Any]:
    """A JSON object; FileError when the file is not one, or holds a key twice."""
    return parse_json(read_text(path, limit), str(path))


def parse_json(text: str, origin: str) -> dict[str, Any]:
    """The JSON object in `text`; `origin` names it in errors."""
    try:
        value = json.loads(text, object_pairs_hook=_object_without_duplicates)
    except RecursionError:
        raise FileError(f"{origin}: JSON nested too deeply") from None
    except ValueError as error:
        raise FileError(f"{origin}: not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise FileError(f"{origin}: expected a JSON object, found {type(value).__name__}")
    return value


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path` in one step, on any error it is removed."""
    if path.is_dir():
        raise FileError(f"{path}: is a folder, expected a file name to write to")
    handle, name = _make_temporary(path)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, all or nothing."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def check_inside(folder: Path, name: str) -> None:
    """Raise FileError if a file of a folder is a link to elsewhere: what it says is not the folder's to pass on."""
    root, path = folder.resolve(), (folder / name).resolve()
    is_cached = path.parent.name == "blobs" and path.parent.with_name("snapshots") in root.parents  # by the hub library
    if not (path.is_relative_to(root) or is_cached):
        raise FileError(
            f"{folder / name}: is a link to {path}, outside its folder; put a copy of the file in its place"
        )


def copy_files(source: Path, target: Path, names: Iterable[str]) -> list[str]:
    """Copy those of the files that there are, into folders of the same names; returns their names."""
    present = [name for name in names if (source / name).exists()]
    for name in present:
        check_inside(source, name)
        check_regular_file(source / name)
        (target / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(source / name, target / name)
    return present


def write_json(path: Path, value: Any) -> None:
    """Write JSON as the Hugging Face tools do: two spaces, a final newline, all or nothing."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `target`; on success it becomes `target`, on any error it is removed.

    `target` must not exist or be an empty folder: nothing of the user's is ever overwritten or mixed.
    """
    check_new_folder(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    try:
        yield staging
        os.chmod(staging, 0o777 & ~_umask())
        for path in staging.rglob("*"):
            (_sync_folder if path.is_dir() else _sync)(path)
        _sync_folder(staging)
        os.replace(staging, target)
        _sync_folder(target.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check_new_folder(target: Path) -> None:
    """Raise FileError unless `target` is free: absent, or an empty folder."""
    if not target.exists() and not target.is_symlink():
        return
    if not target.is_dir():
        raise FileError(f"{target}: is in the way; expected a new or empty folder to write to")
    if any(target.iterdir()):
        raise FileError(f"{target}: is not empty; choose a new folder, nothing is overwritten")


def _make_temporary(path: Path) -> tuple[int, str]:
    try:
        return tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror or error})") from None


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = sorted(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the same key twice: {', '.join(map(repr, twice[:5]))}")
    return value


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    return kinds.get(stat.S_IFMT(mode), "something else")


def _sync(path: Path) -> None:
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())


def _sync_folder(path: Path) -> None:
    """Make a new name in a folder outlast a power cut; Windows has nothing for it."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
