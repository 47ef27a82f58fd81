# SPDX-License-Identifier: Apache-2.0
"""From a folder to a repository on the hub. Reading from it is `distilbert/hub.py`.

Requests, login and the transfer of large files are the hub library's. This file looks before anything is sent whether
there is something to send and someone to send it, and removes from the repository what would contradict the new files.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from distilbert.checkpoint_files import (
    EXPORT_FILE,
    EXPORTED_FILES,
    PRESET_FILE,
    TOKENIZER_FILES,
    WEIGHTS_FILES,
    best_weights,
    files_below,
    files_in,
    missing_files_in,
    other_weights,
    weights_names,
)
from distilbert.convert.keras_hub import PREPROCESSOR_FILE, TASK_FILE, TASK_WEIGHTS
from distilbert.errors import FileError, HubError
from distilbert.hub import checked_revision, parse_name
from distilbert.hub_errors import LOG_IN_TO_WRITE, checked_token, explain_push, failures

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

_HIDDEN = [".*", "*/.*"]
_DIGIT = "[0-9]"


def push_to_hub(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
) -> CommitInfo:
    """Upload a checkpoint's folder into a repository, in one commit.

    Every file is sent but hidden ones. Other files of the repository stay, except weights of the same format under
    other names, such as the shards of a model that is one file now, added_tokens.json where the new tokenizer has none,
    and the task that a preset of keras-hub had. A repository with weights that readers prefer is refused.

    Args:
        folder: with config.json and weights or an export, or with a tokenizer.
        repo_id: `org/name` or `org/name@branch`; made if it does not exist, as is the branch.
        private: whether a repository that is made now is private.
        token: that may write; default that of HF_TOKEN or `hf auth login`.
        revision: the branch; default main.
        commit_message: default "Upload" and the folder's name.

    Returns:
        The hub library's CommitInfo, with `commit_url` and `oid`; as text the address of the files.

    Raises:
        FileError: the folder is not there, or is no checkpoint.
        HubError: there is no token, the hub refuses it or cannot be reached, or the repository has weights that readers
            would take instead of these.
    """
    repository, branch, token = check_push(repo_id, token, revision)
    folder = Path(folder)
    _check_folder(folder)
    from huggingface_hub import HfApi

    api, branch = HfApi(token=token), branch or "main"
    try:
        with _bars_in_a_terminal():
            repository = api.create_repo(repository, private=private, exist_ok=True).repo_id  # with the user's name
            if private and not api.model_info(repository).private:
                raise HubError(f"{repository}: exists and is public, but private=True was asked for; nothing was sent")
            if branch != "main" and not branch.startswith("refs/pr/"):
                api.create_branch(repository, branch=branch, exist_ok=True)
            _check_precedence(folder, f"{repository}@{branch}", api.list_repo_files(repository, revision=branch))
            return api.upload_folder(
                folder_path=folder,
                repo_id=repository,
                revision=branch,
                commit_message=commit_message or f"Upload {folder.resolve().name}",
                ignore_patterns=[*_HIDDEN],
                delete_patterns=_contradicting(folder),
            )
    except HubError:
        raise
    except failures() as error:
        raise HubError(f"{repository}@{branch}: not uploaded: {explain_push(error)}") from None


def check_push(repo_id: str, token: str | None = None, revision: str | None = None) -> tuple[str, str | None, str]:
    """The repository, the branch, the token; HubError if it is clear now that nothing can be sent there."""
    from huggingface_hub import constants, get_token

    repository, named = parse_name(repo_id, or_else="")
    if revision is not None:
        checked_revision(revision)
    if named and revision and named != revision:
        raise HubError(f"{repo_id}: contradicts revision={revision!r}; name one branch")
    if constants.HF_HUB_OFFLINE:
        raise HubError(f"{repo_id}: cannot be uploaded to while HF_HUB_OFFLINE=1 is set")
    token = checked_token(token or get_token() or "")
    if not token:
        raise HubError(f"{repo_id}: uploading needs an access token, and there is none; {LOG_IN_TO_WRITE}")
    return repository, named or revision, token


class Savable(Protocol):
    """What writes its files into a folder."""

    @property
    def save_pretrained(self) -> Callable[..., Any]:
        """Takes the folder, and options."""


class Publishable:
    """Base of what can be saved into a folder, and so be pushed to the hub: models and tokenizers."""

    def push_to_hub(
        self: Savable,
        repo_id: str,
        *,
        private: bool = False,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        **options: Any,
    ) -> CommitInfo:
        """Save, and upload what was saved, in one commit.

        Args:
            repo_id: `org/name` or `org/name@branch`; made if it does not exist, as is the branch.
            private: whether a repository that is made now is private.
            token: that may write; default that of HF_TOKEN or `hf auth login`.
            revision: the branch; default main.
            commit_message: default "Upload" and the name of the class.
            options: as for `save_pretrained`.

        Returns:
            The hub library's CommitInfo, with `commit_url` and `oid`.

        Raises:
            HubError: there is no token, or the hub refuses it or cannot be reached.
        """
        check_push(repo_id, token, revision)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, **options)
            message = commit_message or f"Upload {type(self).__name__}"
            return push_to_hub(folder, repo_id, private=private, token=token, revision=revision, commit_message=message)


def _check_folder(folder: Path) -> None:
    """Whether this is a checkpoint, whole: a mistyped name must not publish something else."""
    if not folder.is_dir():
        raise FileError(f"{folder}: no such folder")
    present = files_in(folder)
    is_tokenizer = any(name in present for name in TOKENIZER_FILES[:2]) and not best_weights(present, weights_names())
    names = () if is_tokenizer or EXPORT_FILE in present or other_weights(files_below(folder)) else weights_names()
    if missing := missing_files_in(folder, names):
        raise FileError(f"{folder}: not a checkpoint that can be uploaded, it has no {' and no '.join(missing)}")


def _check_precedence(folder: Path, place: str, there: Collection[str]) -> None:
    """Raise HubError if the repository has weights of another format, which would be read instead of the new ones."""
    names = weights_names()
    best = best_weights(files_in(folder), names)
    if best:
        names = names[: names.index(best.removesuffix(".index.json"))]
    elif not other_weights(files_below(folder)):
        return
    if found := best_weights(there, names):
        raise HubError(
            f"{place}: has {found}, which readers take before the weights in this format, so they would get the old "
            "ones; upload safetensors too, delete it there first, or name another branch; nothing was sent"
        )


def _contradicting(folder: Path) -> list[str]:
    """Patterns of what may be in the repository and would be read in place of the files, or together with them."""
    present, patterns = files_in(folder), []
    for single in WEIGHTS_FILES:
        stem, _, ending = single.rpartition(".")
        shard = re.compile(rf"{stem}-\d{{5}}-of-\d{{5}}\.{ending}")
        if single in present or any(map(shard.fullmatch, present)):
            shards = f"{stem}-{_DIGIT * 5}-of-{_DIGIT * 5}.{ending}"
            patterns += [single, f"{single}.index.json", shards]
    if any(name in present for name in TOKENIZER_FILES[:2]):
        patterns.append(TOKENIZER_FILES[-1])
    if PRESET_FILE in present:
        patterns += [TASK_FILE, TASK_WEIGHTS, PREPROCESSOR_FILE]
    if EXPORT_FILE in present:
        patterns += EXPORTED_FILES
    elif other_weights(files_below(folder)):
        patterns.append(EXPORT_FILE)
    return patterns


@contextmanager
def _bars_in_a_terminal() -> Iterator[None]:
    """The hub library's progress bars, silent unless standard error is a terminal."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
