# SPDX-License-Identifier: Apache-2.0
"""Finding a code base's files, and reading and writing them: encoding, line ends and permissions stay what they are."""

from __future__ import annotations

import os
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from distilbert.errors import FileError, describe
from distilbert.files import atomic_write, check_regular_file

ENDINGS = (".py", ".pyi", ".ipynb")
SIZE_LIMIT = 20 * 1024 * 1024  # bytes; a notebook with pictures has some
_OTHERS = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})  # folders of other people's code


@dataclass(frozen=True)
class Source:
    """A file as text.

    Attributes:
        path: of the file.
        text: with its line ends as they are, without a byte order mark.
        encoding: of the bytes.
    """

    path: Path
    text: str
    encoding: str


def find(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The files given, and those in the folders given, without hidden folders, virtual environments and caches.

    Raises:
        FileError: lists every path that is not there, or is of another kind.
    """
    found: dict[Path, None] = {}
    problems = []
    for path in map(Path, paths):
        if path.is_dir():
            found.update(dict.fromkeys(_files_below(path)))
        elif not path.exists():
            problems.append(f"{path}: does not exist")
        elif path.suffix not in ENDINGS:
            problems.append(f"{path}: expected a folder or a file that ends in {', '.join(ENDINGS)}")
        else:
            found[path] = None
    if problems:
        raise FileError(describe("migrate", problems))
    return list(found)


def read(path: Path) -> Source:
    """A file as text.

    Raises:
        FileError: it cannot be read, is too large, or not in the encoding that it says (UTF-8 if it says nothing).
    """
    check_regular_file(path)
    if (size := path.stat().st_size) > SIZE_LIMIT:
        raise FileError(f"{path}: {size:,} bytes, but at most {SIZE_LIMIT:,} are looked at")
    try:
        with path.open("rb") as stream:
            encoding = "utf-8" if path.suffix == ".ipynb" else tokenize.detect_encoding(stream.readline)[0]
        return Source(path, path.read_bytes().decode(encoding), encoding)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: its encoding cannot be read ({error})") from None
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror or error})") from None


def write(source: Source, text: str) -> None:
    """Replace a file in one step, in the same encoding and with the same permissions; a link stays a link.

    Raises:
        FileError: it cannot be written, or is another one than was read.
    """
    path = source.path.resolve()
    content = source.text.encode(source.encoding)
    mode = path.stat().st_mode
    with atomic_write(path) as temporary:
        if path.read_bytes() != content:
            raise FileError(f"{source.path}: was changed in the meantime; nothing was written to it")
        temporary.write_bytes(text.encode(source.encoding))
    os.chmod(path, mode & 0o7777)


def _files_below(folder: Path) -> Iterator[Path]:
    for name, folders, files in os.walk(folder):
        here = Path(name)
        folders[:] = sorted(one for one in folders if not _is_foreign(here / one))
        yield from (here / file for file in sorted(files) if Path(file).suffix in ENDINGS)


def _is_foreign(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name in _OTHERS or (folder / "pyvenv.cfg").is_file()
