# SPDX-License-Identifier: Apache-2.0
"""The folder beside the output in which a run leaves what it has finished, so that the next run goes on from there.

`<output>.parts/` holds `manifest.json`, which says what the run was asked to do, and for each finished shard its part
of the output and its rows set aside. Each file appears whole or not at all, the part last: where there is a part, the
shard is done. At the end the parts become the output, and the folder goes.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from distilbert.errors import FileError, describe
from distilbert.files import read_json, write_json
from distilbert.predict.job import rejects_of
from distilbert.predict.shards import Shard
from distilbert.predict.working import Reject
from distilbert.tables import count_rows, join_files, write_rows
from distilbert.tables.streams import open_writer
from distilbert.tables.values import json_text

Results = Callable[[Callable[[Reject], object]], Iterable[Mapping[str, Any]]]


@dataclass(frozen=True)
class Workplace:
    """The folder of one output.

    Attributes:
        output: the file it is for.
        format: of this file.
        schema: columns and kinds of this file; None where each row has its own.
    """

    output: Path
    format: str
    schema: Mapping[str, str] | None

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self.output.with_name(self.output.name + ".parts")

    @property
    def rejects(self) -> Path:
        """Where all rows that were set aside end up."""
        return rejects_of(self.output)

    @contextmanager
    def held(self, fingerprint: Mapping[str, Any], overwrite: bool) -> Iterator[None]:
        """Nobody else works here meanwhile.

        Args:
            fingerprint: of the job; a run that was cut short can only be gone on with by the same job.
            overwrite: discard what is here of another job, and a finished output.

        Raises:
            FileError: somebody else works here, or what is here is of another job.
        """
        wanted = json.loads(json.dumps(fingerprint))  # as it is read back: JSON knows no tuples
        if not self.output.parent.is_dir():
            raise FileError(f"{self.output}: cannot be written, there is no folder {self.output.parent}")
        if self.output.exists() and not overwrite and not self._manifest.exists():
            raise FileError(f"{self.output}: exists; say --overwrite to replace it, or name another output")
        self.folder.mkdir(exist_ok=True)
        try:
            with FileLock(self.folder / "lock", timeout=0):
                self._settle(wanted, overwrite)
                try:
                    yield
                finally:
                    if not any(self.folder.glob("part-*")):  # nothing to go on from
                        shutil.rmtree(self.folder, ignore_errors=True)
        except Timeout:
            raise FileError(f"{self.output}: another run is at work on it") from None

    def check(self, fingerprint: Mapping[str, Any]) -> None:
        """Make sure, on a machine that works for the one that holds the folder, that it sees the same.

        Raises:
            FileError: the run of the folder is another one, or not to be seen from here.
        """
        found, wanted = read_json(self._manifest), json.loads(json.dumps(fingerprint))
        if found != wanted:
            advice = "every machine needs the same files at the same paths"
            raise FileError(describe(f"{self.folder}: holds another run; {advice}", _differences(found, wanted)))

    def done(self, shards: Iterable[Shard]) -> list[Shard]:
        """Those that are finished."""
        return [shard for shard in shards if self._part(shard).exists()]

    def write(self, shard: Shard, results: Results, confirm: Callable[[], None] = lambda: None) -> None:
        """Take in a shard, which is done with this.

        Args:
            shard: which one.
            results: given what takes rows that are set aside, yields the rows of the output.
            confirm: is called when all is written, before the shard counts as done; may raise.
        """
        columns = None if self.schema is None else list(self.schema)
        part = self._part(shard)
        staged = part.with_name(f".{secrets.token_hex(4)}-{part.name}")  # two machines may be at the same shard
        with open_writer(self._rejects(shard)) as aside:
            rows = results(lambda reject: aside.write(_line(reject)))
            write_rows(staged, self.format, rows, columns, schema=self.schema)
        confirm()
        staged.replace(part)

    def finish(self, shards: list[Shard]) -> int:
        """Make the output of the parts and remove the folder; returns how many rows were set aside."""
        columns = None if self.schema is None else list(self.schema)
        if shards:
            join_files([self._part(shard) for shard in shards], self.output, self.format)
        else:
            write_rows(self.output, self.format, (), columns, schema=self.schema)
        aside = [self._rejects(shard) for shard in shards]
        count = sum(count_rows(path, "jsonl") for path in aside)
        if count:
            join_files(aside, self.rejects, "jsonl")
        else:
            self.rejects.unlink(missing_ok=True)
        self._manifest.unlink()  # first, so that a folder half removed is not taken for a run half done
        shutil.rmtree(self.folder)
        return count

    @property
    def _manifest(self) -> Path:
        return self.folder / "manifest.json"

    def _settle(self, wanted: dict[str, Any], overwrite: bool) -> None:
        found = read_json(self._manifest) if self._manifest.exists() else None
        if found is not None and found != wanted and not overwrite:
            advice = "say --overwrite to begin again, or name another output"
            raise FileError(
                describe(f"{self.folder}: holds parts of another run; {advice}", _differences(found, wanted))
            )
        if found != wanted:
            for path in self.folder.glob("*-*"):
                path.unlink()
            write_json(self._manifest, wanted)

    def _part(self, shard: Shard) -> Path:
        return self.folder / f"part-{shard.number:06d}.{self.format}"

    def _rejects(self, shard: Shard) -> Path:
        return self.folder / f"rejects-{shard.number:06d}.jsonl"


def _line(reject: Reject) -> bytes:
    """As a line of JSON; without values that JSON does not take."""
    try:
        return f"{json_text(reject._asdict())}\n".encode()
    except (ValueError, TypeError, RecursionError):
        return f"{json_text(reject._replace(values=None)._asdict())}\n".encode()


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: was {_shown(found.get(name))}, is now {_shown(wanted.get(name))}"
        for name in {**found, **wanted}
        if found.get(name) != wanted.get(name)
    ]


def _shown(value: Any) -> str:
    return f"{json.dumps(value, ensure_ascii=False):.200}"
