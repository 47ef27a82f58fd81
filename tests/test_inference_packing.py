# SPDX-License-Identifier: Apache-2.0
"""How sequences are laid into rows and windows: nothing lost, nothing twice, hardly any gaps, few shapes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distilbert.inference.packing import best_fit, flat_packs, powers_of_two, row_length, row_packs, shortened_row

lengths_of_texts = st.lists(st.integers(1, 512), max_size=120)


def sequences_of(lengths):
    numbers = itertools.count(1)
    return [[next(numbers) for _ in range(length)] for length in lengths]


@settings(max_examples=60, deadline=None)
@given(lengths_of_texts, st.sampled_from([flat_packs, row_packs]), st.sampled_from([64, 512, 1024]))
def test_every_token_is_in_one_place(lengths, packs, budget):
    sequences = sequences_of(lengths)
    found = []
    for pack in packs(lengths, budget):
        batch = pack.fill(sequences)
        assert batch.input_ids.shape == batch.position_ids.shape == batch.segments.shape
        tokens = batch.input_ids.ravel()
        for number, part, length in zip(pack.numbers, batch.parts, batch.lengths, strict=True):
            assert tokens[part].tolist() == sequences[number]
            assert batch.position_ids.ravel()[part].tolist() == list(range(length))
            assert len(set(batch.segments.ravel()[part].tolist())) == 1
            found.append(number)
        assert np.count_nonzero(batch.segments) == sum(batch.lengths)
    assert sorted(found) == list(range(len(lengths)))


@settings(max_examples=60, deadline=None)
@given(lengths_of_texts, st.sampled_from([64, 512, 1024]))
def test_flat_packs_have_hardly_a_gap_and_keep_the_budget(lengths, budget):
    for pack in flat_packs(lengths, budget):
        assert 0 <= pack.row_length - sum(lengths[number] for number in pack.numbers) < 16
        assert pack.row_length % 16 == 0
        assert pack.row_length <= budget or len(pack.numbers) == 1
        inside = [lengths[number] for number in pack.numbers]
        assert inside == sorted(inside)


@settings(max_examples=60, deadline=None)
@given(lengths_of_texts)
def test_rows_come_in_few_shapes(lengths):
    shapes = {(len(pack.rows), pack.row_length) for pack in row_packs(lengths, 512)}
    assert all(rows & (rows - 1) == 0 for rows, _ in shapes)
    between = [(rows, length) for rows, length in shapes if length & (length - 1)]
    assert len(between) <= 1
    assert set(between) <= {(1, 3 << power) for power in range(3, 8)}
    assert all(rows * length <= 512 for rows, length in shapes)


def test_two_neighbours_in_a_row_have_different_segments():
    (pack,) = row_packs([5, 7], 512)
    batch = pack.fill(sequences_of([5, 7]))
    assert batch.segments.tolist() == [[1] * 7 + [2] * 5 + [0] * 4]


def test_texts_of_usual_lengths_leave_hardly_a_gap():
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(3.1, 0.5, 2000).astype(int), 3, 120).tolist()
    slots = sum(length for length, _ in best_fit(lengths))
    assert sum(lengths) / slots > 0.97


@pytest.mark.parametrize(("tokens", "length"), [(1, 16), (16, 16), (17, 32), (128, 128), (129, 256), (512, 512)])
def test_row_length(tokens, length):
    assert row_length(tokens) == length


@pytest.mark.parametrize(
    ("lengths", "rows"),
    [([129], [192]), ([257], [384]), ([17], [24]), ([9, 8], [24]), ([129, 129], [256, 192]), ([100, 100], [128, 128])],
)
def test_a_last_row_is_cut_short(lengths, rows):
    assert [length for length, _ in best_fit(lengths)] == rows


@pytest.mark.parametrize(("tokens", "length"), [(1, 16), (16, 16), (24, 24), (25, 32), (97, 128), (769, 1024)])
def test_shortened_row(tokens, length):
    assert shortened_row(tokens) == length


@pytest.mark.parametrize(
    ("count", "largest", "parts"), [(11, 4, [4, 4, 2, 1]), (3, 100, [2, 1]), (0, 4, []), (5, 5, [4, 1])]
)
def test_powers_of_two(count, largest, parts):
    assert list(powers_of_two(count, largest)) == parts
