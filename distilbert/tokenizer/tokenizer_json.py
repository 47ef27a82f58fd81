# SPDX-License-Identifier: Apache-2.0
"""tokenizer.json: the file of the Rust library, read as data and held to what a BERT tokenizer is.

The file can describe any tokenizer. Only its values are taken from it, never its parts: whatever is not BERT's
pipeline is refused with the reason, so nothing in the file can make the Rust library do something unexpected.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilbert.errors import FileError
from distilbert.files import TEXT_LIMIT, read_json
from distilbert.tokenizer.added_tokens import Entries, read_entries
from distilbert.tokenizer.definition import Pipeline
from distilbert.tokenizer.settings import has_surrogates, is_word
from distilbert.tokenizer.vocabulary import listed


@dataclass(frozen=True)
class TokenizerJson:
    """What a tokenizer.json says."""

    words: list[str]
    pipeline: Pipeline
    added: Entries
    tokens: dict[str, str]  # unk_token, cls_token and sep_token
    sides: dict[str, str]  # padding_side and truncation_side, where the file has padding or truncation on


def read_tokenizer_json(path: Path, problems: list[str]) -> TokenizerJson | None:
    """The contents of a tokenizer.json; None if it cannot be read as one, and `problems` says why."""
    try:
        value = read_json(path, TEXT_LIMIT)
    except FileError as error:
        problems.append(str(error))
        return None
    reader = _Reader(path.name, value)
    result = reader.read()
    problems += reader.problems
    return None if reader.problems else result


class _Reader:
    """Takes one tokenizer.json apart and collects what is wrong with it."""

    def __init__(self, name: str, value: dict[str, Any]) -> None:
        self.name = name
        self.value = value
        self.problems: list[str] = []

    def read(self) -> TokenizerJson:
        model = self._model()
        words = self._words(model)
        added = read_entries(self.value.get("added_tokens") or [], f"{self.name}: added_tokens", self.problems)
        cls, sep = self._template({word: index for index, word in enumerate(words)} | added.ids)
        return TokenizerJson(
            words=words,
            pipeline=self._pipeline(model),
            added=added,
            tokens={"unk_token": self._field(model, "model", "unk_token", "[UNK]"), "cls_token": cls, "sep_token": sep},
            sides={
                side: str(part["direction"]).lower()
                for side, part in (
                    ("padding_side", self.value.get("padding")),
                    ("truncation_side", self.value.get("truncation")),
                )
                if isinstance(part, dict) and part.get("direction") in ("Left", "Right")
            },
        )

    def _pipeline(self, model: dict[str, Any]) -> Pipeline:
        normalizer = self._part("normalizer", "BertNormalizer")
        self._part("pre_tokenizer", "BertPreTokenizer")
        decoder = {} if self.value.get("decoder") is None else self._part("decoder", "WordPiece")
        prefix = self._field(model, "model", "continuing_subword_prefix", "##")
        if self._field(decoder, "decoder", "prefix", prefix) != prefix:
            self._add(f"decoder.prefix: expected {prefix!r} as in model.continuing_subword_prefix")
        strip = normalizer.get("strip_accents")
        return Pipeline(
            lowercase=self._field(normalizer, "normalizer", "lowercase", True),
            strip_accents=None if strip is None else self._field(normalizer, "normalizer", "strip_accents", True),
            handle_chinese_chars=self._field(normalizer, "normalizer", "handle_chinese_chars", True),
            clean_text=self._field(normalizer, "normalizer", "clean_text", True),
            prefix=prefix,
            max_input_chars_per_word=self._field(model, "model", "max_input_chars_per_word", 100),
            cleanup=self._field(decoder, "decoder", "cleanup", True),
        )

    def _model(self) -> dict[str, Any]:
        model = self.value.get("model")
        # Files of early library versions do not name the type of their model.
        if isinstance(model, dict) and "type" not in model and "continuing_subword_prefix" in model:
            return self._part("model", None) if "merges" not in model else self._part("model", "WordPiece")
        return self._part("model", "WordPiece")

    def _words(self, model: dict[str, Any]) -> list[str]:
        vocab = model.get("vocab")
        if not isinstance(vocab, dict) or not vocab:
            if model:
                self._add(f"model.vocab: expected an object from word to id, found {vocab!r:.80}")
            return []
        wrong = [
            f"{word!r}: expected an id, found {index!r:.80}" for word, index in vocab.items() if type(index) is not int
        ]
        wrong += [f"{word!r:.80} cannot be a word" for word in vocab if not word or "\n" in word or "\r" in word]
        if has_surrogates("".join(vocab)):
            wrong += [f"{word!r:.80} holds half of a surrogate pair" for word in vocab if has_surrogates(word)]
        if not wrong:
            wrong += _id_problems(vocab)
        self.problems += listed(f"{self.name}: model.vocab", wrong)
        return [] if wrong else sorted(vocab, key=vocab.__getitem__)

    def _template(self, ids: dict[str, int]) -> tuple[str, str]:
        """The tokens that begin and end a sequence, once the post-processor is known to be BERT's."""
        part = self.value.get("post_processor")
        kind = part.get("type") if isinstance(part, dict) else part
        if not isinstance(part, dict) or kind not in ("TemplateProcessing", "BertProcessing"):
            self._add(f"post_processor: expected BERT's, [CLS] A [SEP] B [SEP], found {kind!r:.80}")
            return "", ""
        found = _from_template(part) if kind == "TemplateProcessing" else _from_bert(part)
        if found is None:
            self._add("post_processor: expected [CLS] A [SEP] for one text and [CLS] A [SEP] B [SEP] for two")
            return "", ""
        for token, index in found.items():
            if ids and ids.get(token) != index:
                self._add(f"post_processor: {token!r:.80} has id {index!r:.20}, but {ids.get(token)} in the vocabulary")
        cls, sep = [*found, *found][:2]
        return cls, sep

    def _part(self, name: str, kind: str | None) -> dict[str, Any]:
        part = self.value.get(name)
        found = part.get("type") if isinstance(part, dict) else part
        if isinstance(part, dict) and found == kind:
            return part
        self._add(f"{name}: expected type {kind}, as BERT tokenizers have it, found {found!r:.80}")
        return {}

    def _field(self, part: dict[str, Any], name: str, key: str, default: Any) -> Any:
        value = part.get(key, default)
        fits = is_word(value) if isinstance(default, str) else type(value) is type(default)
        if fits and (type(default) is not int or 0 < value < 2**31):
            return value
        kind = {str: "text", bool: "true or false", int: "a whole number of at least 1"}[type(default)]
        self._add(f"{name}.{key}: expected {kind}, found {value!r:.80}")
        return default

    def _add(self, problem: str) -> None:
        self.problems.append(f"{self.name}: {problem}")


def _id_problems(vocab: dict[str, int]) -> list[str]:
    """Ids must be 0, 1, 2... without a gap: a vocab.txt could not express anything else."""
    seen: dict[int, str] = {}
    doubled = []
    for word, index in vocab.items():
        if index in seen:
            doubled.append(f"{seen[index]!r} and {word!r} both have id {index}")
        seen[index] = word
    outside = [f"{word!r} has id {index}" for word, index in vocab.items() if not 0 <= index < len(vocab)]
    return doubled or [f"{text}, but ids must be 0 to {len(vocab) - 1} without a gap" for text in outside]


def _from_template(part: dict[str, Any]) -> dict[str, Any] | None:
    """Begin and end token with their ids, if the template is BERT's."""
    try:
        single, pair = part["single"], part["pair"]
        cls, sep = single[0]["SpecialToken"]["id"], single[2]["SpecialToken"]["id"]
        ids = {token: part["special_tokens"][token] for token in (cls, sep)}
        if any(entry["tokens"] != [token] or len(entry["ids"]) != 1 for token, entry in ids.items()):
            return None
        found = {token: entry["ids"][0] for token, entry in ids.items()}
    except (KeyError, IndexError, TypeError):
        return None
    expected = [_special(cls, 0), _sequence("A", 0), _special(sep, 0), _sequence("B", 1), _special(sep, 1)]
    return found if single == expected[:3] and pair == expected and all(map(is_word, found)) else None


def _from_bert(part: dict[str, Any]) -> dict[str, Any] | None:
    try:
        (cls, cls_id), (sep, sep_id) = part["cls"], part["sep"]
    except (KeyError, TypeError, ValueError):
        return None
    return {cls: cls_id, sep: sep_id} if is_word(cls) and is_word(sep) else None


def _special(token: str, segment: int) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": segment}}


def _sequence(name: str, segment: int) -> dict[str, Any]:
    return {"Sequence": {"id": name, "type_id": segment}}
