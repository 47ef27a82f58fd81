# SPDX-License-Identifier: Apache-2.0
"""From the files of a folder, of whatever age, to one `Definition`; every problem of every file in one error.

Read are vocab.txt or tokenizer.json (both, if there are both: they must agree), tokenizer_config.json,
special_tokens_map.json and added_tokens.json, with the precedence of transformers 4.57: arguments before
tokenizer_config.json before the file of the Rust library before defaults.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from distilbert.errors import FileError, TokenizerError, describe
from distilbert.files import read_json
from distilbert.tokenizer.added_tokens import Entries, read_entries, read_old_entries, to_token
from distilbert.tokenizer.definition import ADDITIONAL, DEFAULT_TOKENS, SPECIAL_TOKENS, Definition, Pipeline
from distilbert.tokenizer.settings import CHECKS, FILE_ONLY, check_arguments, check_config, has_surrogates
from distilbert.tokenizer.special_tokens import SpecialTokens
from distilbert.tokenizer.tokenizer_json import TokenizerJson, read_tokenizer_json
from distilbert.tokenizer.vocabulary import listed, read_vocabulary

logger = logging.getLogger("distilbert")

VOCAB_FILE = "vocab.txt"
TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"
# Paths and flags that earlier writers left in tokenizer_config.json; they mean nothing to any reader.
LEFTOVERS = ("tokenizer_file", "vocab_file", "special_tokens_map_file", "device_map", "is_local", "backend")
PIPELINE_FIELDS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
    "clean_text": "clean_text",
    "wordpieces_prefix": "prefix",
}


@dataclass(frozen=True)
class Sources:
    """The files to read; None for those that there are not."""

    vocab: Path | None = None
    tokenizer: Path | None = None
    config: Path | None = None
    special_tokens: Path | None = None
    added_tokens: Path | None = None

    @classmethod
    def of_folder(cls, folder: Path) -> Sources:
        """The tokenizer files of a folder; TokenizerError if neither of the two that hold a vocabulary is there."""

        def find(name: str) -> Path | None:
            path = folder / name
            return path if os.path.lexists(path) else None

        sources = cls(*map(find, (VOCAB_FILE, TOKENIZER_FILE, CONFIG_FILE, SPECIAL_TOKENS_FILE, ADDED_TOKENS_FILE)))
        if sources.vocab is None and sources.tokenizer is None:
            raise TokenizerError(f"{folder}: no tokenizer here; expected {VOCAB_FILE} or {TOKENIZER_FILE}")
        return sources


def read_definition(sources: Sources, given: Mapping[str, Any]) -> Definition:
    """Read a tokenizer.

    Args:
        given: The constructor's keyword arguments, which come before what the files say.

    Raises:
        TokenizerError: lists everything that is wrong with the files or the arguments.
    """
    reading = _Reading(sources, given)
    try:
        return reading.read()
    except _Stop:
        raise TokenizerError(describe(reading.title, reading.problems)) from None


class _Stop(Exception):
    """Nothing more can be found out: too much is wrong already."""


class _Reading:
    def __init__(self, sources: Sources, given: Mapping[str, Any]) -> None:
        self.sources = sources
        self.given = given
        path = sources.tokenizer or sources.vocab
        self.title = str(path.parent) if path else "tokenizer"
        self.problems: list[str] = check_arguments(given)

    def read(self) -> Definition:
        sources = self.sources
        words = read_vocabulary(sources.vocab, self.problems) if sources.vocab else None
        rust = read_tokenizer_json(sources.tokenizer, self.problems) if sources.tokenizer else None
        config = self._json(sources.config)
        if config.get("added_tokens_decoder") is None:
            config = {**config, **self._json(sources.special_tokens)}
        old_added = self._json(sources.added_tokens, check=False)
        self._stop_on_problems()

        if words and rust:
            self._compare(words, rust.words)
        words = rust.words if rust else words or []
        entries = self._entries(rust, config, old_added)
        settings = self._settings(config, rust)
        tokens = SpecialTokens(words, entries, settings, self.given)
        self.problems += tokens.problems
        if rust:
            self._compare_tokens(rust.tokens, tokens.special)
        tokens.register()
        self.problems += entries.check(words)
        self._stop_on_problems()

        known = CHECKS.keys() | FILE_ONLY.keys() | set(LEFTOVERS)
        unknown = {key: value for key, value in config.items() if key not in known}
        if isinstance(config.get("extra_special_tokens"), dict):
            unknown["extra_special_tokens"] = config["extra_special_tokens"]
        added = [token for _, token in sorted(entries.tokens.items())]
        pipeline = _pipeline(rust, settings)
        return Definition(words, pipeline, added, tokens.special, tokens.additional, settings, unknown)

    def _json(self, path: Path | None, check: bool = True) -> dict[str, Any]:
        if path is None:
            return {}
        try:
            value = read_json(path)
        except FileError as error:
            self.problems.append(str(error))
            return {}
        if has_surrogates(json.dumps(value, ensure_ascii=False)):
            self.problems.append(f"{path.name}: holds half of a surrogate pair, which is no character")
        elif check:
            self.problems += check_config(value, path.name)
        return value

    def _compare(self, words: list[str], others: list[str]) -> None:
        """One file may go on where the other ends, but no id may mean two words."""
        differing = [
            f"id {index} is {word!r}, but {other!r} in {TOKENIZER_FILE}; remove the file that is wrong"
            for index, (word, other) in enumerate(zip(words, others, strict=False))
            if word != other
        ]
        self.problems += listed(VOCAB_FILE, differing)

    def _compare_tokens(self, used: Mapping[str, str], special: Mapping[str, AddedToken]) -> None:
        """The Rust pipeline must use the tokens that the configuration names, unless the caller wants others."""
        for name, text in used.items():
            if not self.given.get(name) and special[name].content != text:
                found = f"but {special[name].content!r} in {CONFIG_FILE}"
                self.problems.append(f"{TOKENIZER_FILE}: {name} is {text!r}, {found}")

    def _entries(self, rust: TokenizerJson | None, config: Mapping[str, Any], old: Mapping[str, Any]) -> Entries:
        entries = rust.added if rust else Entries()
        decoder = config.get("added_tokens_decoder")
        if decoder is not None:
            newer = read_entries(decoder, f"{CONFIG_FILE}: added_tokens_decoder", self.problems)
            where = CONFIG_FILE
        else:
            newer = read_old_entries(old, self._texts(config), ADDED_TOKENS_FILE, self.problems)
            where = ADDED_TOKENS_FILE
        for index, token in newer.tokens.items():
            known = entries.find(token.content) if decoder is None else None  # an old file has no flags to compare
            self.problems += entries.add(index, known or token, where)
        return entries

    def _texts(self, config: Mapping[str, Any]) -> list[str]:
        """The texts of all special tokens that a configuration names."""
        values = [config[name] for name in SPECIAL_TOKENS if config.get(name) is not None]
        values += [*(config.get(ADDITIONAL) or ()), *DEFAULT_TOKENS.values()]
        return [to_token(value).content for value in values]

    def _settings(self, config: Mapping[str, Any], rust: TokenizerJson | None) -> dict[str, Any]:
        settings: dict[str, Any] = {**rust.sides, **rust.tokens} if rust else {}
        # A tokenizer made from vocab.txt cleans up by default, one made from tokenizer.json does not: so in 4.57.
        settings["clean_up_tokenization_spaces"] = rust is None
        if config.get("max_len") is not None:
            settings["model_max_length"] = config["max_len"]
        if isinstance(config.get("extra_special_tokens"), list):  # the name that transformers 5 writes
            settings[ADDITIONAL] = config["extra_special_tokens"]
        settings |= {key: config[key] for key in CHECKS if config.get(key) is not None}
        if "strip_accents" in config:
            settings["strip_accents"] = config["strip_accents"]
        settings |= self.given
        if settings.get("do_basic_tokenize") is False:
            logger.warning("do_basic_tokenize=False is ignored, as by the fast tokenizer of transformers")
        return settings

    def _stop_on_problems(self) -> None:
        if self.problems:
            raise _Stop


def _pipeline(rust: TokenizerJson | None, settings: Mapping[str, Any]) -> Pipeline:
    given = {field: settings[name] for name, field in PIPELINE_FIELDS.items() if name in settings}
    return replace(rust.pipeline if rust else Pipeline(), **given)
