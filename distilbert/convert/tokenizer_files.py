# SPDX-License-Identifier: Apache-2.0
"""The tokenizer beside the weights: does it fit them, and take it along. `distilbert/tokenizer` reads its files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from distilbert.checkpoint_files import TOKENIZER_FILES
from distilbert.convert.checkpoint import Checkpoint
from distilbert.convert.formats import KERAS_HUB, Format
from distilbert.convert.keras_hub_tokenizer import read_tokenizer, write_tokenizer
from distilbert.files import check_regular_file

if TYPE_CHECKING:
    from distilbert.tokenizer import DistilBertTokenizer


def check_tokenizer(checkpoint: Checkpoint) -> None:
    """Raise TokenizerError if there is a tokenizer that is damaged, or has words the model has no vector for."""
    tokenizer = _find(checkpoint)
    if tokenizer is not None:
        tokenizer.check_fits(checkpoint.config.vocab_size)


def copy_tokenizer(checkpoint: Checkpoint, target: Path, row: Format) -> None:
    """Take the tokenizer along to a new checkpoint: its files as they are, or in the form of the other library.

    Raises:
        TokenizerError: the other library's tokenizer cannot do what this one does.
    """
    if KERAS_HUB not in (checkpoint.format, row):
        _copy_files(checkpoint.weights.parent, target)
        return
    tokenizer = _find(checkpoint)
    if tokenizer is not None and row == KERAS_HUB:
        write_tokenizer(tokenizer, target, checkpoint.config)
    elif tokenizer is not None:
        tokenizer.save_pretrained(target)


def _find(checkpoint: Checkpoint) -> DistilBertTokenizer | None:
    folder = checkpoint.weights.parent
    if checkpoint.format == KERAS_HUB:
        return read_tokenizer(folder, checkpoint.config)
    if not any((folder / name).exists() for name in ("vocab.txt", "tokenizer.json")):
        return None
    from distilbert.tokenizer import DistilBertTokenizer

    return DistilBertTokenizer.from_pretrained(folder)


def _copy_files(source: Path, target: Path) -> None:
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            check_regular_file(source / name)
            shutil.copyfile(source / name, target / name)
