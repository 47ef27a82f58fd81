# SPDX-License-Identifier: Apache-2.0
"""The tokenizer beside the weights: does it fit them, and take it along. `distilbert/tokenizer` reads its files."""

from __future__ import annotations

import shutil
from pathlib import Path

from distilbert.checkpoint_files import TOKENIZER_FILES
from distilbert.config import DistilBertConfig
from distilbert.files import check_regular_file


def check_tokenizer(folder: Path, config: DistilBertConfig) -> None:
    """Raise TokenizerError if the folder has a tokenizer that is damaged, or has words the model has no vector for."""
    if any((folder / name).exists() for name in ("vocab.txt", "tokenizer.json")):
        from distilbert.tokenizer import DistilBertTokenizer

        DistilBertTokenizer.from_pretrained(folder).check_fits(config.vocab_size)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer's files as they are."""
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            check_regular_file(source / name)
            shutil.copyfile(source / name, target / name)
