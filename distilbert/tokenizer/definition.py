# SPDX-License-Identifier: Apache-2.0
"""What a tokenizer is, as plain data: its words, its pipeline, its added and special tokens, its settings.

`reading.py` makes this from files, `engine.py` makes the Rust tokenizer from it, `writing.py` writes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken

# Hugging Face's names in Hugging Face's order, which is the order in which new tokens get their ids.
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
ADDITIONAL = "additional_special_tokens"
DEFAULT_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


@dataclass(frozen=True)
class Pipeline:
    """How a text becomes words, words become pieces, and pieces become a text again."""

    lowercase: bool = True
    strip_accents: bool | None = None  # None: as `lowercase`
    handle_chinese_chars: bool = True
    clean_text: bool = True
    prefix: str = "##"
    max_input_chars_per_word: int = 100
    cleanup: bool = True


@dataclass(frozen=True)
class Definition:
    """A whole tokenizer. A word's id is its position; added tokens that are no words follow in their order."""

    words: list[str]
    pipeline: Pipeline
    added: list[AddedToken]  # special tokens included
    special: dict[str, AddedToken]  # by attribute name, in the order of SPECIAL_TOKENS
    additional: list[AddedToken]
    settings: dict[str, Any]  # checked values of tokenizer_config.json and of the constructor's arguments
    unknown: dict[str, Any]  # keys of tokenizer_config.json that mean nothing here, kept for whoever knows them


def special_token(content: str) -> AddedToken:
    """A special token as Hugging Face makes one from a plain string."""
    return AddedToken(content, normalized=False, special=True)


def token_fields(token: AddedToken) -> dict[str, Any]:
    """The fields of an added token as Hugging Face writes them to JSON, sorted by name."""
    return dict(sorted(token.__getstate__().items()))
