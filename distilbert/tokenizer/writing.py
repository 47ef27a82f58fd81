# SPDX-License-Identifier: Apache-2.0
"""The files of a tokenizer, as transformers 4.57 writes and reads them: the same bytes for the same tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from distilbert.errors import FileError
from distilbert.files import write_text
from distilbert.tokenizer.definition import special_token, token_fields
from distilbert.tokenizer.reading import (
    ADDED_TOKENS_FILE,
    CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    TOKENIZER_FILE,
    VOCAB_FILE,
)
from distilbert.tokenizer.vocabulary_access import Vocabulary


def write_tokenizer(tokenizer: Vocabulary, folder: Path, prefix: str | None) -> tuple[str, ...]:
    """Write all files of a tokenizer into a folder, each all or nothing; returns their paths."""
    make_folder(folder)
    files = {
        CONFIG_FILE: _json(_config(tokenizer)),
        SPECIAL_TOKENS_FILE: _json(_special_tokens(tokenizer)),
        VOCAB_FILE: vocabulary_text(tokenizer),
        TOKENIZER_FILE: tokenizer.backend_tokenizer.to_str(pretty=True),
    }
    new = {text: number for text, number in tokenizer.added_tokens_encoder.items() if number >= tokenizer.vocab_size}
    stale = folder / named(ADDED_TOKENS_FILE, prefix)
    if new:
        files[ADDED_TOKENS_FILE] = _json(new)
    elif stale.is_file():
        # Left from a tokenizer with added tokens, it would give this one tokens that it does not have.
        stale.unlink()
    return write_files(files, folder, prefix)


def write_files(files: dict[str, str], folder: Path, prefix: str | None) -> tuple[str, ...]:
    """Write texts by file name; returns the paths."""
    paths = [folder / named(name, prefix) for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        write_text(path, text)
    return tuple(map(str, paths))


def make_folder(folder: Path) -> None:
    """Create the folder to write to; FileError if that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{folder}: cannot be written to ({error.strerror or error}); expected a folder") from None


def vocabulary_text(tokenizer: Vocabulary) -> str:
    """The vocab.txt of a tokenizer: its words, without added tokens."""
    return "".join(f"{word}\n" for word in tokenizer._engine.words())


def named(name: str, prefix: str | None) -> str:
    """A file's name, after "prefix-" if there is a prefix."""
    return f"{prefix}-{name}" if prefix else name


def _config(tokenizer: Vocabulary) -> dict[str, Any]:
    pipeline = tokenizer._engine.pipeline
    settings = tokenizer._settings
    config = {
        "added_tokens_decoder": {
            str(number): token_fields(token) for number, token in tokenizer.added_tokens_decoder.items()
        },
        "clean_up_tokenization_spaces": tokenizer.clean_up_tokenization_spaces,
        "do_basic_tokenize": settings.get("do_basic_tokenize", True),
        "do_lower_case": pipeline.lowercase,
        "extra_special_tokens": {},
        "model_max_length": tokenizer.model_max_length,
        "never_split": _list_or_none(settings.get("never_split")),
        "strip_accents": pipeline.strip_accents,
        "tokenize_chinese_chars": pipeline.handle_chinese_chars,
        "tokenizer_class": "DistilBertTokenizer",
    }
    changed: dict[str, tuple[Any, Any]] = {
        "clean_text": (pipeline.clean_text, True),
        "wordpieces_prefix": (pipeline.prefix, "##"),
        "padding_side": (tokenizer.padding_side, "right"),
        "truncation_side": (tokenizer.truncation_side, "right"),
        "model_input_names": (tokenizer.model_input_names, ["input_ids", "attention_mask"]),
        "split_special_tokens": (tokenizer.split_special_tokens, False),
    }
    config |= {name: value for name, (value, default) in changed.items() if value != default}
    return {**config, **tokenizer._unknown, **tokenizer.special_tokens_map}


def _special_tokens(tokenizer: Vocabulary) -> dict[str, Any]:
    return {
        name: list(map(_plain, token)) if isinstance(token, list) else _plain(token)
        for name, token in tokenizer.special_tokens_map_extended.items()
    }


def _plain(token: AddedToken) -> str | dict[str, Any]:
    """Text if the token is as text makes it, else all its flags but "special", which the file implies."""
    text: str = token.content
    if token == special_token(text):
        return text
    return {name: value for name, value in token_fields(token).items() if name != "special"}


def _list_or_none(value: Any) -> list[str] | None:
    return None if value is None else list(value)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
