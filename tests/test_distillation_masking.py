# SPDX-License-Identifier: Apache-2.0
"""Masking: the shares, what decides a draw and what does not, and whole words."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert import DistilBertTokenizer
from distilbert.training.masking import Masked, Pieces, draw, mask

from .distillation_samples import write_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> DistilBertTokenizer:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def pieces(tokenizer: DistilBertTokenizer) -> Pieces:
    return Pieces.of(tokenizer)


def batch(rows: int, length: int, size: int, seed: int = 0) -> np.ndarray:
    """Ids with [CLS], [SEP] and, in every third row, padding."""
    ids = np.random.default_rng(seed).integers(5, size, (rows, length)).astype(np.int32)
    ids[:, 0], ids[:, -1] = 2, 3
    ids[::3, length // 2] = 3
    ids[::3, length // 2 + 1 :] = 0
    return ids


def masked(ids: np.ndarray, pieces: Pieces, whole: bool = False, draws: tuple[int, ...] = (1, 2)) -> Masked:
    starts = pieces.word_starts(ids) if whole else None
    return mask(ids, pieces.maskable(ids), starts, 0.15, draws, np.arange(len(ids)), pieces)


def test_pieces_know_special_tokens_and_continuations(tokenizer: DistilBertTokenizer, pieces: Pieces) -> None:
    assert pieces.mask == tokenizer.mask_token_id
    assert set(np.flatnonzero(pieces.special)) == set(tokenizer.all_special_ids)
    assert set(tokenizer.convert_ids_to_tokens(np.flatnonzero(pieces.continues).tolist())) == {
        word for word in tokenizer.get_vocab() if word.startswith("##")
    }


@pytest.mark.parametrize("whole", [False, True])
def test_shares_and_layout(pieces: Pieces, whole: bool) -> None:
    ids = batch(600, 64, len(pieces.special))
    found = masked(ids, pieces, whole)
    rows = np.arange(len(ids))[:, None]
    real = found.weights == 1
    counts = found.weights.sum(1)
    assert found.places.shape[1] % 8 == 0
    assert (np.diff(np.where(real, found.places, 10_000))[real[:, 1:]] > 0).all()  # ascending
    assert (found.labels == np.where(real, ids[rows, found.places], 0)).all()
    assert pieces.maskable(ids)[np.broadcast_to(rows, real.shape)[real], found.places[real]].all()
    wanted = np.rint(pieces.maskable(ids).sum(1) * 0.15)
    assert (counts <= np.maximum(wanted, 1) + 3).all()
    assert abs(counts.sum() / wanted.sum() - 1) < (0.2 if whole else 1e-9)
    untouched = np.ones(ids.shape, bool)
    untouched[np.broadcast_to(rows, real.shape)[real], found.places[real]] = False
    assert (found.input_ids == ids)[untouched].all()
    seen = found.input_ids[rows, found.places][real]
    labels = found.labels[real]
    assert (seen == pieces.mask).mean() == pytest.approx(0.8, abs=0.02)
    assert (seen == labels).mean() == pytest.approx(0.1 + 0.1 / len(pieces.ordinary), abs=0.02)
    assert not pieces.special[seen[seen != pieces.mask]].any()


def test_whole_words_are_masked_whole(pieces: Pieces) -> None:
    ids = batch(200, 40, len(pieces.special))
    found = masked(ids, pieces, whole=True)
    chosen = np.zeros(ids.shape, bool)
    rows, slots = np.nonzero(found.weights)
    chosen[rows, found.places[rows, slots]] = True
    inner = pieces.continues[ids] & pieces.maskable(np.roll(ids, 1, 1)) & pieces.maskable(ids)
    inner[:, 0] = False
    assert (chosen == np.roll(chosen, 1, 1))[inner].all()
    assert chosen[inner].any()


def test_draws_depend_on_nothing_but_seed_number_and_place(pieces: Pieces) -> None:
    ids = batch(9, 32, len(pieces.special))
    whole = masked(ids, pieces)
    padded = np.concatenate([ids[4:6], np.zeros((2, 24), np.int32)], 1)
    part = mask(padded, pieces.maskable(padded), None, 0.15, (1, 2), np.array([4, 5]), pieces)
    assert (part.input_ids[:, :32] == whole.input_ids[4:6]).all()
    assert (masked(ids, pieces).input_ids == whole.input_ids).all()
    for draws in ((1, 3), (2, 2), (1,)):
        assert (masked(ids, pieces, draws=draws).input_ids != whole.input_ids).any()


def test_draws_are_even() -> None:
    values = draw((42, 0), np.arange(400), 500, 0)
    assert values.min() >= 0
    assert values.max() < 1
    counts = np.histogram(values, 20, (0, 1))[0]
    expected = values.size / 20
    assert ((counts - expected) ** 2 / expected).sum() < 50  # chi square, 19 degrees of freedom
    other = draw((42, 1), np.arange(400), 500, 0)
    assert abs(np.corrcoef(values.ravel(), other.ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(values[:, :-1].ravel(), values[:, 1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(values[:-1].ravel(), values[1:].ravel())[0, 1]) < 0.01


def test_rates_decide_how_often_a_piece_is_masked(pieces: Pieces) -> None:
    ids = np.full((500, 42), 10, np.int32)
    ids[:, 1:-1:2] = 20
    ids[:, 0], ids[:, -1] = 2, 3
    rates = np.ones(len(pieces.special))
    rates[20] = 5.0
    found = mask(ids, pieces.maskable(ids), None, 0.15, (0,), np.arange(500), pieces, rates)
    share = (found.labels[found.weights == 1] == 20).mean()
    assert share == pytest.approx(0.81, abs=0.03)  # 5/6 for the first, less as they become fewer


def test_a_row_without_words_and_one_of_a_single_word(pieces: Pieces) -> None:
    ids = np.array([[2, 3, 0, 0], [2, 30, 3, 0], [0, 0, 0, 0]], np.int32)
    found = masked(ids, pieces)
    assert found.weights.sum(1).tolist() == [0, 1, 0]
    assert found.places.shape == (3, 8)
    assert (found.input_ids[[0, 2]] == ids[[0, 2]]).all()
