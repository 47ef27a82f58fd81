# SPDX-License-Identifier: Apache-2.0
"""The files beside the weights: does the tokenizer fit them, and take it along, and what makes sentence embeddings.

What is in these files is known to `distilbert/tokenizer` and `distilbert/pipelines`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distilbert.checkpoint_files import TOKENIZER_FILES, files_below, sentence_files
from distilbert.convert.checkpoint import Checkpoint
from distilbert.convert.formats import KERAS_HUB, Format
from distilbert.convert.keras_hub_tokenizer import write_tokenizer
from distilbert.files import copy_files

if TYPE_CHECKING:
    from distilbert.tokenizer import DistilBertTokenizer


def check_tokenizer(checkpoint: Checkpoint) -> None:
    """Raise TokenizerError if there is a tokenizer that is damaged, or has words the model has no vector for."""
    tokenizer = find_tokenizer(checkpoint)
    if tokenizer is not None:
        tokenizer.check_fits(checkpoint.config.vocab_size)


def copy_tokenizer(checkpoint: Checkpoint, target: Path, row: Format) -> None:
    """Take the tokenizer along to a new checkpoint: its files as they are, or in the form of the other library.

    Raises:
        TokenizerError: the other library's tokenizer cannot do what this one does.
    """
    if KERAS_HUB not in (checkpoint.format, row):
        copy_files(checkpoint.weights.parent, target, TOKENIZER_FILES)
        return
    tokenizer = find_tokenizer(checkpoint)
    if tokenizer is not None and row == KERAS_HUB:
        write_tokenizer(tokenizer, target, checkpoint.config)
    elif tokenizer is not None:
        tokenizer.save_pretrained(target)


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder has a file with a vocabulary."""
    return any((folder / name).exists() for name in ("vocab.txt", "tokenizer.json"))


def copy_sentence_files(source: Path, target: Path) -> None:
    """Copy the files of the library sentence-transformers as they are."""
    copy_files(source, target, sentence_files(files_below(source)))


def find_tokenizer(checkpoint: Checkpoint) -> DistilBertTokenizer | None:
    """The tokenizer of a checkpoint, in whichever form it has it; None if there is none."""
    folder = checkpoint.weights.parent
    if not has_tokenizer(folder):
        return None
    from distilbert.tokenizer import DistilBertTokenizer

    return DistilBertTokenizer.from_pretrained(folder)
