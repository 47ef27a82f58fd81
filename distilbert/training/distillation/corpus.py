# SPDX-License-Identifier: Apache-2.0
"""Text as token ids on disk: tokenised once, in shards, with bounded memory. Reading it again is `examples.py`.

There are three ways to make examples of texts:

    runs    texts joined, [SEP] between them, and cut into runs of full length; the last of a shard is shorter
    lines   every text for itself, a longer one cut into several
    texts   every text one example, a longer one cut off; with its label, if it has one

What is stored is without [CLS] and [SEP], which each example gets when it is read. A special token that is written out
in a text is text. Shards end between texts, so that a killed run goes on after the last whole shard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.errors import InputError
from distilbert.files import file_digest
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.training.data import Place
from distilbert.training.distillation.shards import Shards
from distilbert.training.distillation.texts import Text, read_texts
from distilbert.training.reports.report import Tell
from distilbert.training.tasks.labels import label_name, shown

SPECIAL = 2  # [CLS] and [SEP] of each example
NO_LABEL = -1
SHARD_TOKENS = 1 << 21
_GROUP_TEXTS, _GROUP_CHARACTERS = 512, 1 << 20  # tokenised at once

Array = NDArray[Any]


@dataclass(frozen=True)
class CorpusSettings:
    """How texts become examples.

    Attributes:
        way: runs, lines or texts.
        max_seq_length: tokens of an example, [CLS] and [SEP] included.
        columns: names of the columns for `text` and perhaps `label` in tables, as `read_texts` has them.
        format: of the files; by the suffix when None.
        limit: how many texts at most.
        classes: number of each label; empty where labels do not matter.
    """

    way: str = "runs"
    max_seq_length: int = 128
    columns: Mapping[str, str] = field(default_factory=lambda: {"text": "text"})
    format: str | None = None
    limit: int | None = None
    classes: Mapping[str, int] = field(default_factory=dict)


def build_corpus(
    folder: Path,
    files: Sequence[Path],
    tokenizer: DistilBertTokenizer,
    settings: CorpusSettings,
    *,
    shard_tokens: int = SHARD_TOKENS,
    tell: Tell = lambda what: None,
) -> Shards:
    """Tokenise files into a folder, or go on where a killed run left off; at once where it is done.

    Raises:
        InputError: the folder holds another corpus, a text or label is none, or there is no text at all.
        FileError: a file is no UTF-8 text, has a bad row, or the disk is full; says where.
    """
    shards = Shards(folder, _identity(files, tokenizer, settings))
    if not shards.is_complete:
        with shards.alone():
            if not shards.is_complete:  # another process may have done it meanwhile
                _Builder(shards, files, tokenizer, settings, shard_tokens, tell).run()
    return shards


def tokenizer_digest(tokenizer: DistilBertTokenizer) -> str:
    """A fingerprint of all that decides the ids of a text."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()


class _Builder:
    def __init__(
        self,
        shards: Shards,
        files: Sequence[Path],
        tokenizer: DistilBertTokenizer,
        settings: CorpusSettings,
        shard_tokens: int,
        tell: Tell,
    ) -> None:
        self.shards, self.files, self.tokenizer, self.settings = shards, files, tokenizer, settings
        self.shard_tokens, self.tell = shard_tokens, tell
        self.room = settings.max_seq_length - SPECIAL
        self.dtype = np.uint16 if len(tokenizer) <= 1 << 16 else np.int32
        self.separator = int(tokenizer.convert_tokens_to_ids(str(tokenizer.sep_token)))
        last = shards.entries[-1] if shards.entries else {"file": 0, "row": 0, "texts": 0}
        self.place, self.texts = (last["file"], last["row"]), last["texts"]
        self.tokens = sum(entry["tokens"] for entry in shards.entries)
        self._begin()

    def run(self) -> None:
        for number in range(self.place[0], len(self.files)):
            start = self.place[1] if number == self.place[0] else 0
            rows = read_texts(self.files[number], self.settings.columns, self.settings.format, start)
            for group in _groups(rows):
                self._take(self.files[number], group)
                self.tell(f"tokenising {self.files[number].name}: {self.tokens:,} tokens so far")
                if self.held >= self.shard_tokens:
                    self._flush(number, group[-1].number + 1)
                if self._is_full():
                    break
            if self._is_full():
                break
        if self.ids:
            self._flush(len(self.files), 0)
        if not self.shards.entries:
            raise InputError(f"{', '.join(map(str, self.files[:5]))}: no text to learn from")
        self.shards.complete(self._facts())

    def _is_full(self) -> bool:
        return self.settings.limit is not None and self.texts >= self.settings.limit

    def _begin(self) -> None:
        self.ids: list[Array] = []
        self.labels: list[int] = []
        self.held = 0

    def _take(self, path: Path, group: list[Text]) -> None:
        if self.settings.limit is not None:
            group = group[: self.settings.limit - self.texts]
        self.texts += len(group)
        group = [text for text in group if text.text or text.label is not None]
        texts = [text.text for text in group]
        options: Any = {"truncation": False, "verbose": False, "split_special_tokens": True}
        rows = self.tokenizer(texts, add_special_tokens=False, **options)["input_ids"] if texts else []
        for text, ids in zip(group, rows, strict=True):
            self._add(path, text, np.asarray(ids, self.dtype))

    def _add(self, path: Path, text: Text, ids: Array) -> None:
        if self.settings.way == "texts":
            ids = ids[: self.room]
            self.labels.append(_class(path, text, self.settings.classes))
        elif not len(ids):
            return
        elif self.settings.way == "runs":
            ids = np.append(ids, self.dtype(self.separator))
        self.ids.append(ids)
        self.held += len(ids)
        self.tokens += len(ids)

    def _flush(self, file: int, row: int) -> None:
        values = np.concatenate(self.ids)
        lengths = np.asarray([len(ids) for ids in self.ids], np.int64)
        if self.settings.way == "runs":
            values = values[:-1]  # after the last text is none
            lengths = np.asarray([len(values)], np.int64)
        starts = _starts(lengths if self.settings.way == "texts" else _cut(lengths, self.room))
        arrays: dict[str, Array] = {"values": values, "starts": starts}
        if self.settings.way == "texts":
            arrays["labels"] = np.asarray(self.labels, np.int32)
        entry = {"examples": len(starts) - 1, "tokens": len(values), "file": file, "row": row, "texts": self.texts}
        self.shards.add(arrays, entry)
        self._begin()

    def _facts(self) -> dict[str, Any]:
        counts = np.zeros(len(self.tokenizer), np.int64)
        for number in range(len(self.shards.entries)):
            counts += np.bincount(self.shards.load(number, "values"), minlength=len(counts))
        examples = sum(entry["examples"] for entry in self.shards.entries)
        return {"examples": examples, "tokens": int(counts.sum()), "counts": counts.tolist()}


def _groups(texts: Iterable[Text]) -> Iterator[list[Text]]:
    """Texts in lists that are neither long nor large."""
    group: list[Text] = []
    size = 0
    for text in texts:
        group.append(text)
        size += len(text.text)
        if len(group) >= _GROUP_TEXTS or size >= _GROUP_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _cut(lengths: NDArray[np.int64], room: int) -> NDArray[np.int64]:
    """Lengths with each that is above the room as several: full ones and what is left."""
    counts = -(-lengths // room)
    pieces = np.full(int(counts.sum()), room, np.int64)
    pieces[np.cumsum(counts) - 1] = lengths - (counts - 1) * room
    return pieces


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def _class(path: Path, text: Text, classes: Mapping[str, int]) -> int:
    """The class of a text, by the name or the number of its label, read as in fine-tuning."""
    label = text.label
    if not classes or label is None or (isinstance(label, str) and not label.strip()):
        return NO_LABEL
    try:
        name = label_name(label)
    except InputError as error:
        raise InputError(f"{Place(path, text.number)}: {error}") from None
    if name in classes:
        return classes[name]
    if name.isdecimal() and int(name) in classes.values():
        return int(name)
    raise InputError(f"{Place(path, text.number)}: label: expected one of {shown(list(classes))}; found {label!r:.80}")


def _identity(files: Sequence[Path], tokenizer: DistilBertTokenizer, settings: CorpusSettings) -> dict[str, Any]:
    return {
        "way": settings.way,
        "max_seq_length": settings.max_seq_length,
        "columns": dict(settings.columns),
        "format": settings.format,
        "limit": settings.limit,
        "classes": dict(settings.classes),
        "tokenizer": tokenizer_digest(tokenizer),
        "files": [[path.name, path.stat().st_size, file_digest(path)] for path in files],
    }
