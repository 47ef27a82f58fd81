# SPDX-License-Identifier: Apache-2.0
"""The examples of a corpus on disk: padded batches straight from mapped memory.

In memory is only where each example begins and ends: some bytes for each, whatever the texts are.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.tokenizer import DistilBertTokenizer
from distilbert.training.distillation.corpus import SPECIAL
from distilbert.training.distillation.shards import Shards, padded_rows
from distilbert.training.tasks.task import Examples

_OPEN = 64  # shards mapped at a time: a process may not have any number of files open

Array = NDArray[Any]


class CorpusExamples(Examples):
    """Examples of a corpus.

    Attributes:
        shards: where they are.
        lengths: (N,) tokens of each, [CLS] and [SEP] included.
        bounds: (S + 1,) the first example of each shard, and the end.
        labels: (N,) classes, or `NO_LABEL`; None unless every example is a text of its own.
        counts: (V,) how often each piece occurs.
    """

    def __init__(self, shards: Shards, tokenizer: DistilBertTokenizer) -> None:
        numbers = range(len(shards.entries))
        lengths = [np.diff(shards.load(number, "starts", mapped=False)) for number in numbers]
        self.shards = shards
        self.lengths = np.concatenate(lengths) + SPECIAL
        self.bounds = np.concatenate([[0], np.cumsum([len(found) for found in lengths])])
        self.labels: NDArray[np.int32] | None = None
        if shards.identity["way"] == "texts":
            self.labels = np.concatenate([shards.load(number, "labels", mapped=False) for number in numbers])
        self.counts = np.asarray((shards.facts or {})["counts"], np.int64)
        self._cls, self._sep, self._pad = (
            int(tokenizer.convert_tokens_to_ids(str(token)))
            for token in (tokenizer.cls_token, tokenizer.sep_token, tokenizer.pad_token)
        )
        self._shard = functools.lru_cache(maxsize=_OPEN)(self._open)

    def ids(self, rows: NDArray[np.int64], length: int | None = None) -> NDArray[np.int32]:
        """(B, length) token ids with [CLS], [SEP] and padding; texts that do not fit are cut.

        Args:
            rows: (B,) which examples.
            length: by default that of the longest.
        """
        rows = np.asarray(rows, np.int64)
        length = int(self.lengths[rows].max(initial=SPECIAL)) if length is None else length
        ids = np.full((len(rows), length), self._pad, np.int32)
        shard_of = np.searchsorted(self.bounds, rows, "right") - 1
        for number in np.unique(shard_of):
            places = np.flatnonzero(shard_of == number)
            inner = rows[places] - self.bounds[number]
            ids[places, 1:-1] = padded_rows(*self._shard(int(number)), inner, length - SPECIAL, self._pad)
        ids[:, 0] = self._cls
        ids[np.arange(len(rows)), np.minimum(self.lengths[rows], length) - 1] = self._sep
        return ids

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        """The ids of one example, without padding."""
        ids: NDArray[np.int32] = self.ids(np.asarray([row]))[0]
        return ids

    def _open(self, number: int) -> tuple[Array, Array]:
        return self.shards.load(number, "values"), self.shards.load(number, "starts")
