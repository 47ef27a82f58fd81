# SPDX-License-Identifier: Apache-2.0
"""The teacher's answers on disk, so that it has to be asked only once.

What a teacher says depends on what is masked. A cache therefore holds the answers for a fixed number of maskings of
each text (`cache_masks`), and epoch e learns from masking e modulo that number; without a cache every epoch has its
own.

Per token that the cross-entropy counts there are K values, K ids and two numbers for the rest (see `topk`): 4 K + 8
bytes. Per token of the text there is, if the cosine counts, the teacher's last hidden state in the student's d
coordinates as float16: 2 d bytes. Temperature and weights of the loss are free. Shards are ranges of examples; a killed
run goes on after the last whole one.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.training.batch import Batch
from distilbert.training.distillation.examples import CorpusExamples
from distilbert.training.distillation.shards import Shards, padded_rows
from distilbert.training.distillation.student import Model
from distilbert.training.distillation.topk import compressed, probabilities
from distilbert.training.reports.report import Tell

SHARD_TOKENS = 1 << 18
_OPEN = 256  # arrays mapped at a time: a process may not have any number of files open

Array = NDArray[Any]
Teacher = Callable[[Batch], Mapping[str, Array]]  # `logits`, and `hidden` in the student's coordinates, for a batch
Collate = Callable[[NDArray[np.int64], int, int], Batch]  # a masked batch of examples: rows, length, number of the mask


@dataclass(frozen=True)
class CacheSettings:
    """What is kept.

    Attributes:
        top_k: pieces of each answer; 0 for no answers.
        masks: maskings of each text.
        restrict_ce_to_mask: keep answers for masked tokens only.
        hidden: keep hidden states.
        coordinates: which of them; None for all.
        shard_tokens: how many go into a shard.
    """

    top_k: int
    masks: int = 1
    restrict_ce_to_mask: bool = False
    hidden: bool = False
    coordinates: NDArray[np.int64] | None = None
    shard_tokens: int = SHARD_TOKENS


class TeacherCache:
    """Answers of a teacher for the examples of a corpus."""

    def __init__(
        self, folder: Path, examples: CorpusExamples, settings: CacheSettings, identity: Mapping[str, Any], size: int
    ) -> None:
        """Open a folder, or begin one; InputError if it holds the answers of another teacher or for other texts.

        Args:
            folder: of the cache.
            examples: what was asked about.
            settings: what is kept.
            identity: what else the answers follow from: the teacher's `model_digest`, and how texts are masked.
            size: of the vocabulary.
        """
        coordinates = None if settings.coordinates is None else settings.coordinates.tolist()
        own: dict[str, Any] = {
            "top_k": settings.top_k,
            "masks": settings.masks,
            "restrict_ce_to_mask": settings.restrict_ce_to_mask,
        }
        own |= {
            "hidden": settings.hidden,
            "coordinates": coordinates,
            "vocab_size": size,
            "shard_tokens": settings.shard_tokens,
        }
        self.examples = examples
        self.settings = settings
        self.size = size
        self.bounds = _bounds(examples.lengths, settings.shard_tokens)
        self.shards = Shards(folder, {**identity, **own, "corpus": examples.shards.identity})
        self._array = functools.lru_cache(maxsize=_OPEN)(self.shards.load)

    def build(self, teacher: Teacher, collate: Collate, batch_size: int, tell: Tell = lambda what: None) -> None:
        """Ask the teacher what is not yet known."""
        ranges = len(self.bounds) - 1
        with self.shards.alone():
            for number in range(len(self.shards.entries), ranges * self.settings.masks):
                masking, place = divmod(number, ranges)
                rows = np.arange(self.bounds[place], self.bounds[place + 1])
                kept = [self._asked(teacher, collate, part, masking) for part in _parts(rows, batch_size)]
                arrays = {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}
                for name in ("answers", "tokens"):  # how many of each example; they are stored as starts
                    arrays[name] = np.concatenate([[0], np.cumsum(arrays[name], dtype=np.int64)])
                self.shards.add(arrays, {"examples": len(rows)})
                tell(f"asking the teacher: {number + 1:,} of {ranges * self.settings.masks:,} parts")
            if not self.shards.is_complete:
                self.shards.complete({})

    def batch(
        self, rows: NDArray[np.int64], length: int, places: int, masking: int, temperature: float
    ) -> dict[str, Array]:
        """What a batch needs of the teacher: keys as in `batches`.

        Args:
            rows: (B,) which examples.
            length: T of the batch.
            places: P of the batch.
            masking: number of the masking.
            temperature: of the probabilities.
        """
        found: dict[str, Array] = {}
        width = places if self.settings.restrict_ce_to_mask else length
        if self.settings.top_k:
            values, rest = (self._padded(name, "answers", rows, width, masking) for name in ("values", "rest"))
            found["teacher_ids"] = self._padded("ids", "answers", rows, width, masking).astype(np.int32)
            found["teacher_probabilities"] = probabilities(values, rest, self.size, temperature)
        if self.settings.hidden:
            found["teacher_hidden"] = self._padded("hidden", "tokens", rows, length, masking).astype(np.float32)
        return found

    def _asked(self, teacher: Teacher, collate: Collate, rows: NDArray[np.int64], masking: int) -> dict[str, Array]:
        batch = collate(rows, int(self.examples.lengths[rows].max()), masking)
        answer = teacher(batch)
        real = batch["attention_mask"] != 0
        counted = batch["weights"] != 0 if self.settings.restrict_ce_to_mask else real
        kept: dict[str, Array] = {"answers": counted.sum(1), "tokens": real.sum(1)}
        if self.settings.top_k:
            kept |= compressed(np.asarray(answer["logits"])[counted], self.settings.top_k)
        if self.settings.hidden:
            kept["hidden"] = np.asarray(answer["hidden"])[real].astype(np.float16)
        return kept

    def _padded(self, name: str, starts: str, rows: NDArray[np.int64], width: int, masking: int) -> Array:
        range_of = np.searchsorted(self.bounds, rows, "right") - 1
        table: Array | None = None
        for place in np.unique(range_of):
            number = masking * (len(self.bounds) - 1) + int(place)
            chosen = np.flatnonzero(range_of == place)
            values, begins = self._array(number, name), self._array(number, starts)
            if table is None:
                table = np.zeros((len(rows), width, *values.shape[1:]), values.dtype)
            table[chosen] = padded_rows(values, begins, rows[chosen] - self.bounds[place], width, 0)
        return np.zeros((0, width), np.float32) if table is None else table


def model_digest(model: Model) -> str:
    """A fingerprint of a model: of its config, names and values."""
    digest = hashlib.sha256(model.config.to_json_string().encode())
    for name, values in sorted(model.tensors.items()):
        digest.update(f"{name}{values.shape}{values.dtype}".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _bounds(lengths: NDArray[np.int64], tokens: int) -> NDArray[np.int64]:
    """Where to cut examples into ranges of about so many tokens."""
    ends = np.cumsum(lengths)
    cuts = np.searchsorted(ends, np.arange(tokens, int(ends[-1]), tokens), "right")
    return np.unique(np.concatenate([[0], cuts, [len(lengths)]])).astype(np.int64)


def _parts(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def cached_labels(
    folder: Path,
    examples: CorpusExamples,
    answer: Callable[[Sequence[NDArray[np.int32]]], Iterator[Array]],
    identity: Mapping[str, Any],
    block: int = 4096,
    tell: Tell = lambda what: None,
) -> NDArray[np.float32]:
    """(N, L) logits of a teacher of a task for every text, asked for once and then read.

    Args:
        folder: of the cache.
        examples: texts in the teacher's own tokens.
        answer: logits (L,) for each of some lists of token ids, in order, as `fast.run` gives them.
        identity: the teacher's `model_digest`.
        block: texts asked about before they are written.
        tell: how far it is.
    """
    shards = Shards(folder, {**identity, "block": block, "corpus": examples.shards.identity})
    if not shards.is_complete:
        with shards.alone():
            _ask(shards, examples, answer, block, tell)
    return np.concatenate([shards.load(number, "logits", mapped=False) for number in range(len(shards.entries))])


def _ask(
    shards: Shards,
    examples: CorpusExamples,
    answer: Callable[[Sequence[NDArray[np.int32]]], Iterator[Array]],
    block: int,
    tell: Tell,
) -> None:
    """Ask a teacher of a task about the texts that are left."""
    for start in range(0, len(examples), block)[len(shards.entries) :]:
        rows = range(start, min(start + block, len(examples)))
        logits = np.stack([np.asarray(found, np.float32) for found in answer([examples[row] for row in rows])])
        shards.add({"logits": logits}, {"examples": len(rows)})
        tell(f"asking the teacher: {rows.stop:,} of {len(examples):,} texts")
    if not shards.is_complete:
        shards.complete({})
