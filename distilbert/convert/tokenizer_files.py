# SPDX-License-Identifier: Apache-2.0
"""The files beside the weights: does the tokenizer fit them, and take it along, and what makes sentence embeddings.

What is in these files is known to `distilbert/tokenizer` and `distilbert/pipelines`.
"""

from __future__ import annotations

from pathlib import Path

from distilbert.checkpoint_files import TOKENIZER_FILES, files_below, sentence_files
from distilbert.config import DistilBertConfig
from distilbert.files import copy_files


def check_tokenizer(folder: Path, config: DistilBertConfig) -> None:
    """Raise TokenizerError if the folder has a tokenizer that is damaged, or has words the model has no vector for."""
    if has_tokenizer(folder):
        from distilbert.tokenizer import DistilBertTokenizer

        DistilBertTokenizer.from_pretrained(folder).check_fits(config.vocab_size)


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder has a file with a vocabulary."""
    return any((folder / name).exists() for name in ("vocab.txt", "tokenizer.json"))


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer's files as they are."""
    copy_files(source, target, TOKENIZER_FILES)


def copy_sentence_files(source: Path, target: Path) -> None:
    """Copy the files of the library sentence-transformers as they are."""
    copy_files(source, target, sentence_files(files_below(source)))
