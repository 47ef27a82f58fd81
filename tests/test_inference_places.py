# SPDX-License-Identifier: Apache-2.0
"""Logits at chosen places only: those of the whole text, for no more work and memory than they ask for."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from distilbert.errors import InputError
from distilbert.inference import streaming
from distilbert.inference.packing import Pack, padded_places
from distilbert.inference.streaming import Item, check_item, windows, with_places
from distilbert.parity.measuring import relative_error
from distilbert.parity.tolerances import INVARIANCE

from .test_inference import HALF, INT8_ERROR, Pair, backends


def places_of(items: list[list[int]]) -> list[list[int]]:
    """None, one or several of each, in no order, some twice."""
    random = np.random.default_rng(1)
    return [random.integers(0, len(item), number % 4).tolist() for number, item in enumerate(items)]


def error_at_places(pair: Pair, items: list[list[int]], places: list[list[int]]) -> float:
    found = [answer.logits for answer in pair.fast.run(items, places)]
    expected = [pair.alone(item)["logits"][chosen] for item, chosen in zip(items, places, strict=True)]
    assert [logits.shape for logits in found] == [logits.shape for logits in expected]
    return relative_error(np.concatenate(found), np.concatenate(expected))


@backends
def test_logits_are_those_of_the_whole_text(name):
    pair = Pair(name, "masked-lm")
    items = pair.items()
    assert error_at_places(pair, items, places_of(items)) <= INVARIANCE.bound
    assert error_at_places(pair, items, [list(range(len(item))) for item in items]) <= INVARIANCE.bound
    assert [answer.logits.shape for answer in pair.fast.run(items, [[]] * len(items))] == [(0, 99)] * len(items)
    assert list(pair.fast.run([], [])) == []


@backends
def test_a_wrong_place_is_seen(name, monkeypatch):
    """The mutation of the test above: of each text the token beside the one that was asked for."""
    pair, fill = Pair(name, "masked-lm"), Pack.fill

    def beside(self: Pack, sequences: Any, places: Any) -> Any:
        moved = [(chosen + 1) % len(ids) for chosen, ids in zip(places, sequences, strict=True)]
        return fill(self, sequences, moved)

    monkeypatch.setattr(Pack, "fill", beside)
    assert error_at_places(pair, pair.items(), places_of(pair.items())) > INVARIANCE.bound


@backends
@pytest.mark.parametrize("dtype", [*HALF, "int8"])
def test_low_precision(name, dtype):
    pair = Pair(name, "masked-lm", dtype)
    bound = HALF[dtype].bound if dtype in HALF else INT8_ERROR
    assert error_at_places(pair, pair.items(), places_of(pair.items())) <= bound


@backends
def test_the_head_sees_hardly_more_than_the_places(name, monkeypatch):
    pair = Pair(name, "masked-lm")
    compute, rows = pair.fast.compute, []

    def counted(*arrays: Any) -> Any:
        fields = compute(*arrays)
        rows.append(int(np.prod(fields[0].shape[:-1])))
        return fields

    monkeypatch.setattr(pair.fast, "compute", counted)
    items = pair.items((40,) * 12)
    list(pair.fast.run(items))
    assert sum(rows) >= 480
    rows.clear()
    list(pair.fast.run(items, [[3]] * 12))
    assert 12 <= sum(rows) <= 48
    rows.clear()
    list(pair.fast.run([[1] * 16], [[3]]))
    assert rows == [1]


@pytest.mark.parametrize(("count", "padded"), [(0, 1), (1, 1), (3, 4), (15, 16), (16, 16), (17, 32), (33, 48)])
def test_padded_places(count, padded):
    found = padded_places(list(range(5, 5 + count)))
    assert found == [*range(5, 5 + count), *[0] * (padded - count)]


# Streams.


def model(task: str = "masked-lm") -> Any:
    """What streams need to know of a model."""
    config = SimpleNamespace(vocab_size=30522, num_labels=2, dim=768, max_position_embeddings=512)
    return SimpleNamespace(task=task, config=config, tokens_per_pack=1024, first_only=False)


def first_window(places: Any, length: int) -> list[Item]:
    fast = model()
    items = (check_item([1] * length, number, fast) for number in itertools.count())
    return next(windows(items if places is None else with_places(items, itertools.repeat(places), fast), fast))


def test_windows_hold_as_many_bytes_with_places_as_without():
    held = streaming.WINDOW_BYTES // (4 * 30522)
    assert len(first_window(None, 16)) == held // 16
    assert len(first_window([3], 16)) == held
    assert len(first_window([3, 4], 16)) == held // 2
    assert len(first_window([3], 128)) == streaming.WINDOW_PACKS * 1024 // 128  # what is read ahead is bounded too
    assert len(first_window([], 16)) == streaming.WINDOW_PACKS * 1024 // 16


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([[0]], "places: expected a list for each sequence, found no places 1"),
        ([[0], [0], [0]], "places: expected a list for each sequence, found no sequence 2"),
        ([[0], [0, 2]], r"sequence 1: expected places as a list of whole numbers from 0 to 1, found \[0, 2\]"),
        ([[0], [-1]], r"sequence 1: expected places .* found \[-1\]"),
        ([[0], 1], "sequence 1: expected places .* found 1"),
        ([[0], [0.5]], r"sequence 1: expected places .* found \[0.5\]"),
        ([[0], [[0], [0, 1]]], r"sequence 1: expected places"),
        ([[0], "ab"], "sequence 1: expected places .* found 'ab'"),
    ],
)
def test_wrong_places_are_named(places, message):
    items = (check_item([1, 2], number, model()) for number in range(2))
    with pytest.raises(InputError, match=message):
        list(with_places(items, places, model()))


@backends
def test_places_are_for_masked_language_models(name):
    with pytest.raises(InputError, match="places: only for masked language models, found a model for token-class"):
        list(Pair(name, "token-classification").fast.run([[1, 2]], [[0]]))
