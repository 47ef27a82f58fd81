# SPDX-License-Identifier: Apache-2.0
"""From "folder", "org/name" or "org/name@revision" to local files, online and offline.

Requests, cache, login and progress bars are the hub library's. This file asks it for the files of one checkpoint and
for nothing else, goes on where a broken download ended, and falls back on the cache.
"""

from __future__ import annotations

import glob
import logging
import os
import re
import time
import warnings
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partialmethod
from pathlib import Path, PurePosixPath
from typing import Any

from distilbert.checkpoint_files import (
    CARD_FILE,
    CONFIG_FILE,
    LICENCE_FILES,
    PRESET_FILE,
    SMALL_FILES,
    best_weights,
    files_below,
    is_index,
    missing_files,
    missing_files_in,
    other_weights,
    sentence_files,
    shard_names,
    weights_names,
)
from distilbert.errors import FileError, HubError
from distilbert.files import check_regular_file
from distilbert.hub_errors import checked_token, explain, failures, is_broken_connection, is_outage

# Keywords of `resolve` that choose a source; what takes a checkpoint's name passes them on.
OPTIONS = ("revision", "subfolder", "token", "cache_dir", "local_files_only", "force_download")

ATTEMPTS = 3  # at a download whose connection keeps breaking; each goes on where the last one ended

_log = logging.getLogger(__name__)
# The hub's own rule: one optional "org/", no "--" or "..", no "-" or "." at either end of a part.
_REPOSITORY = re.compile(r"(?!.*(?:--|\.\.|\.git$))(?:\w(?:[\w.-]*\w)?/)?\w(?:[\w.-]{0,94}\w)?", re.ASCII)


def resolve(
    name_or_path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    subfolder: str = "",
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    variant: str | None = None,
    weights: bool = True,
    documents: bool = False,
) -> Path:
    """The local folder that holds a checkpoint, fetched from the hub when it is not one already.

    Args:
        name_or_path: A local folder or weights file, which is used as it is, or "name", "org/name" or
            "org/name@revision" on the hub. What exists locally wins; a `Path` is never looked up on the hub.
        revision: Branch, tag or commit; "main" when nothing is said.
        subfolder: Folder inside the local folder or the repository.
        token: Access token; None for the one of HF_TOKEN or `hf auth login`, False for none.
        cache_dir: Where downloads are kept, instead of HF_HUB_CACHE.
        local_files_only: Use the cache and no network, as HF_HUB_OFFLINE=1 does.
        force_download: Fetch again what the cache already has.
        variant: Take the weights called "model.<variant>.safetensors" and so on, and no others.
        weights: Whether weights are wanted; without them only the configuration and tokenizer files are fetched.
        documents: Whether the model card and the licence are wanted too, where there are any.

    Returns:
        A folder with config.json, the files of the tokenizer and of sentence embeddings that there are, and a set of
        weights; where there are none, an export, a preset of keras-hub or checkpoints of Orbax; or the given weights
        file.

    Raises:
        FileError: A local path does not exist or is of the wrong kind.
        HubError: The name is malformed, or the repository, its revision or a file of it cannot be had.
        WeightsError: The repository's index of shards is wrong.
    """
    names = weights_names(variant) if weights else ()
    _check_subfolder(subfolder)
    local = _find_local(name_or_path, subfolder)
    if local is not None:
        return local
    repository, named = parse_name(os.fspath(name_or_path))
    if named and revision and named != revision:
        raise HubError(f"{name_or_path}: contradicts revision={revision!r}; name one revision")
    if os.environ.get("TRANSFORMERS_CACHE"):
        warnings.warn("TRANSFORMERS_CACHE is ignored; set HF_HUB_CACHE or HF_HOME instead", stacklevel=2)
    from huggingface_hub import constants

    request = _Request(
        repository=repository,
        revision=checked_revision(named or revision or constants.DEFAULT_REVISION),
        subfolder=subfolder.strip("/"),
        weights_names=names,
        documents=documents,
        cache_dir=constants.HF_HUB_CACHE if cache_dir is None else os.fspath(cache_dir),
        token=checked_token(token) if isinstance(token, str) else token,
        force_download=force_download,
    )
    if local_files_only or constants.HF_HUB_OFFLINE:
        return request.from_cache("local_files_only=True" if local_files_only else "HF_HUB_OFFLINE=1")
    return request.from_hub()


def parse_name(text: str, or_else: str = "a local folder or weights file, or ") -> tuple[str, str | None]:
    """Split "org/name@revision" into repository and revision (None if not given); HubError if it is malformed.

    Args:
        text: the name.
        or_else: what else was possible where the name was given, for the error.
    """
    repository, separator, revision = text.partition("@")
    if not _REPOSITORY.fullmatch(repository):
        forms = f"{or_else}'name', 'org/name' or 'org/name@revision' on the hub"
        raise HubError(f"{text!r}: expected {forms}, with letters, digits, '-', '_' and '.'")
    return repository, checked_revision(revision) if separator else None


def commit_of(folder: Path) -> str | None:
    """The commit of the repository that `resolve` has fetched into this folder; None for any other folder."""
    fetched = folder.parent.name == "snapshots" and re.fullmatch("[0-9a-f]{40}", folder.name)
    return folder.name if fetched else None


def lacks(name: str, file: str, revision: str | None = None) -> bool:
    """Whether the hub says that a repository has no such file; False where it cannot be asked."""
    from huggingface_hub import HfApi, constants

    repository, named = parse_name(name)
    try:
        return not (constants.HF_HUB_OFFLINE or HfApi().file_exists(repository, file, revision=named or revision))
    except failures():
        return False


@dataclass(frozen=True, kw_only=True)
class _Request:
    """One checkpoint on the hub: what is wanted of it, and the ways to get it."""

    repository: str
    revision: str
    subfolder: str
    weights_names: tuple[str, ...]  # that will do, the best first; empty when no weights are wanted
    documents: bool
    cache_dir: str
    token: str | bool | None = field(repr=False)
    force_download: bool

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}" + (f", folder {self.subfolder}" if self.subfolder else "")

    def from_hub(self) -> Path:
        """Fetch what the cache does not have; when the hub is out of reach, make do with what it has."""
        try:
            present = self._list()
        except failures() as error:
            problem = explain(error)
            if self.force_download or not is_outage(error):
                raise HubError(f"{self}: {problem}") from None
        else:
            return self._fetch(present)
        folder = self.from_cache(problem)
        warnings.warn(f"{self}: {problem}; using the copy in the cache", stacklevel=3)
        return folder

    def from_cache(self, reason: str) -> Path:
        """Find the checkpoint in the cache; `reason` says why the hub is not asked."""
        if self.force_download:
            raise HubError(f"{self}: force_download=True needs the hub, but {reason}")
        try:
            folder = self._snapshot(local_files_only=True, allow_patterns=[])
        except failures():
            missing = missing_files((), self.weights_names)
        else:
            missing = missing_files_in(folder, self.weights_names)
            if not missing or self._others(files_below(folder)):
                return folder
        nothing_local = (
            "" if os.path.exists(self.repository) else f"; no local file or folder is called {self.repository} either"
        )
        raise HubError(
            f"{self}: {reason}, and the cache {self.cache_dir} lacks {' and '.join(missing)}. "
            f"Ask for it once with the hub in reach, or name a cache that has it (HF_HUB_CACHE){nothing_local}"
        )

    def _list(self) -> set[str]:
        """The names of all files below the folder in question."""
        from huggingface_hub import HfApi, constants

        timeout = constants.HF_HUB_ETAG_TIMEOUT
        info = HfApi().model_info(self.repository, revision=self.revision, token=self.token, timeout=timeout)
        names = [sibling.rfilename for sibling in info.siblings or ()]
        prefix = self._path("")
        return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}

    def _others(self, present: Collection[str]) -> list[str]:
        """Weights of another kind, where there are none of the usual names, and none of a variant are asked for."""
        if self.weights_names not in ((), weights_names()) or best_weights(present, weights_names()):
            return []
        others = other_weights(present) if CONFIG_FILE in present else []
        return others if self.weights_names or PRESET_FILE in others else []  # a preset's tokenizer is read with it

    def _fetch(self, present: Collection[str]) -> Path:
        if others := self._others(present):
            self._download([*dict.fromkeys(self._small(present) + others[:-1])])
            return self._download(others[-1:])  # in the cache it says that all the rest is there
        if missing := missing_files(present, self.weights_names):
            found = ", ".join(sorted(present)[:20]) or "nothing"
            raise HubError(f"{self}: has no {' and no '.join(missing)}; found there: {found}")
        weights, small = best_weights(present, self.weights_names), self._small(present)
        # Weights come last: where an interrupted download left them in the cache, all the rest is there too.
        if weights is None:
            folder = self._download(small)
        elif is_index(weights):
            folder = self._download([*small, weights])
            folder = self._download(shard_names(folder / weights))
        else:
            self._download(small)
            folder = self._download([weights])
        if missing := missing_files_in(folder, self.weights_names):
            raise HubError(f"{self}: incomplete, the hub did not give {' and '.join(missing)}")
        return folder

    def _small(self, present: Collection[str]) -> list[str]:
        """The files beside the weights that are wanted, of those present."""
        small = [name for name in SMALL_FILES if name in present]
        if self.weights_names:
            small += sentence_files(present)
        if self.documents:
            small += [name for name in (CARD_FILE, *LICENCE_FILES) if name in present]
        return small

    def _download(self, names: list[str], attempts: int = ATTEMPTS) -> Path:
        try:
            return self._snapshot(
                token=self.token,
                force_download=self.force_download,
                allow_patterns=[glob.escape(self._path(name)) for name in names],
                tqdm_class=_terminal_bar(),
            )
        except failures() as error:
            if not is_broken_connection(error):
                raise HubError(f"{self}: {explain(error)}") from None
            if attempts == 1:
                raise HubError(f"{self}: the download broke off {ATTEMPTS} times; ask again to resume it") from None
            _log.warning("%s: the download broke off (%s); resuming", self, type(error).__name__)
        time.sleep(1.0)
        return self._download(names, attempts - 1)

    def _snapshot(self, **options: Any) -> Path:
        from huggingface_hub import snapshot_download

        root = snapshot_download(self.repository, revision=self.revision, cache_dir=self.cache_dir, **options)
        return Path(root, self.subfolder)

    def _path(self, name: str) -> str:
        return f"{self.subfolder}/{name}" if self.subfolder else name


def _find_local(name_or_path: str | os.PathLike[str], subfolder: str) -> Path | None:
    """The local folder or file of this name, None if it can only be a name on the hub."""
    text = os.path.expanduser(os.fspath(name_or_path))
    path = Path(text, subfolder)
    if text and os.path.exists(text):
        if subfolder and not path.is_dir():
            raise FileError(f"{path}: no such folder")
        if not path.is_dir():
            check_regular_file(path)
        return path
    name = text.partition("@")[0]
    looks_local = name.startswith(("/", "~", "./", "../")) or "\\" in name or name.count("/") > 1
    if looks_local or not isinstance(name_or_path, str):
        raise FileError(f"{text}: no such file or folder")
    return None


def _check_subfolder(subfolder: str) -> None:
    if subfolder.startswith("/") or "\\" in subfolder or ".." in PurePosixPath(subfolder).parts:
        raise FileError(f"subfolder {subfolder!r}: expected a relative path with '/' that stays inside the checkpoint")


def checked_revision(revision: str) -> str:
    """The name of a branch, tag or commit; HubError if it cannot be one."""
    # The hub library makes a file of this name in its cache.
    if not revision or revision.startswith(("/", "-")) or re.search(r"\.\.|[\s\\\x00-\x1f]", revision):
        raise HubError(f"revision {revision!r}: expected a branch, a tag or a commit")
    return revision


def _terminal_bar() -> Any:
    """The hub library's progress bar, silent unless it writes to a terminal."""
    from huggingface_hub.utils.tqdm import tqdm

    return type("TerminalBar", (tqdm,), {"__init__": partialmethod(tqdm.__init__, disable=None)})
