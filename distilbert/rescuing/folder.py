# SPDX-License-Identifier: Apache-2.0
"""The steps from any checkpoint to a clean folder. The weights are the work of `distilbert/convert`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from distilbert import hub
from distilbert.checkpoint_files import CARD_FILE, LICENCE_FILES, files_below, is_orbax
from distilbert.convert import Conversion, convert
from distilbert.files import check_new_folder, copy_files, staged_folder, write_text
from distilbert.model_cards.names import base_name
from distilbert.parity import Report, verify
from distilbert.parity.certificate import write_certificate
from distilbert.rescuing.card import CERTIFICATE_FILE, write_card
from distilbert.rescuing.facts import Origin, Rescue
from distilbert.rescuing.source_card import read_card
from distilbert.rescuing.tidying import tidy_config, tidy_dense_layers, tidy_tokenizer

MAX_SHARD_SIZE = "5GB"  # of one weights file, as everywhere on the hub
Progress = Callable[[str], None]  # told what is about to happen


def rescue(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    task: str | None = None,
    variant: str | None = None,
    revision: str | None = None,
    name: str | None = None,
    backends: Sequence[str] | None = None,
    progress: Progress = lambda step: None,
) -> Rescue:
    """Turn a checkpoint of any age, format and dialect into a clean folder with a model card and a certificate.

    Written are model.safetensors with the names of PyTorch, config.json, all files of the tokenizer, those of sentence
    embeddings, README.md and certificate.json. Every value of the weights is read back and compared with the source.

    Args:
        source: a folder, weights file or hub repository.
        target: a new or empty folder; it appears whole, or not at all.
        task: which of the six models to write; default what the source is.
        variant, revision: which files of the source, as in `from_pretrained`.
        name: of the model in its card; default that of `target`.
        backends: short names of the frameworks to compare; default all that are installed, which may be none.
        progress: told what is about to happen.

    Returns:
        What was done. `report.ok` says whether the frameworks agree: where they do not, the folder is there all the
        same, and its card and certificate say so.

    Raises:
        InputError, BackendError: `task` or one of `backends` is none that there is.
        WeightsError, ConfigError, TokenizerError, FileError, HubError: nothing has been written.
    """
    target = Path(target)
    check_new_folder(target)
    progress("reading the source")
    path = hub.resolve(source, variant=variant, revision=revision, documents=True)
    folder = path if path.is_dir() and not is_orbax(path) else path.parent
    commit = None if os.path.exists(os.path.expanduser(source)) else hub.commit_of(folder)
    card = read_card(folder)
    if commit and not (folder / CARD_FILE).exists():
        card = replace(card, at_hand=hub.lacks(os.fspath(source), CARD_FILE, revision))
    origin = _origin(os.fspath(source), revision, commit)
    name = name or target.resolve().name
    with staged_folder(target) as staging:
        progress("converting the weights")
        done = convert(path, staging, task=task, variant=variant, max_shard_size=MAX_SHARD_SIZE)
        left_out = tidy_config(staging)
        tokenizer = tidy_tokenizer(folder, staging)
        tidy_dense_layers(staging)
        licence_files = copy_files(folder, staging, LICENCE_FILES)
        report = _compare(staging, name, done, origin, backends, progress)
        write_certificate(report, staging / CERTIFICATE_FILE)
        result = Rescue(
            folder=target,
            name=name,
            origin=origin,
            conversion=done,
            left_out=left_out,
            tokenizer=tokenizer,
            licence=card.licence,
            licence_files=tuple(licence_files),
            files=tuple(sorted({*files_below(staging), CARD_FILE})),
            report=report,
        )
        write_text(staging / CARD_FILE, write_card(result, card))
    return result


def _origin(source: str, revision: str | None, commit: str | None) -> Origin:
    """Where a model was; a folder has no revision, whatever is asked for."""
    name = base_name(source)
    return Origin(f"{name}@{revision}" if commit and revision and "@" not in name else name, commit)


def _compare(
    staging: Path, name: str, done: Conversion, origin: Origin, backends: Sequence[str] | None, progress: Progress
) -> Report:
    """The result against its source and in the frameworks, under the names that a reader of the certificate knows."""
    report = verify(staging, done.source.weights, backends, task=done.task, progress=progress)
    other = report.other and replace(report.other, name=str(origin))
    return replace(report, source=replace(report.source, name=name), other=other)
