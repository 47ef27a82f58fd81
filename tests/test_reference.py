# SPDX-License-Identifier: Apache-2.0
"""The NumPy reference against calculus: gradients are slopes of losses, derivatives are slopes of activations."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert import DistilBertConfig, reference, spec
from distilbert.config import ACTIVATIONS
from distilbert.errors import InputError

from .samples import random_tensors, sample_call

SMALL = DistilBertConfig(
    vocab_size=23, dim=8, n_layers=2, n_heads=2, hidden_dim=11, max_position_embeddings=9, num_labels=2
)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("task", [task for task in spec.TASKS if task != "encoder"])
def test_gradients_are_slopes(task, tied):
    config = SMALL.replace(tie_word_embeddings=tied, pad_token_id=None)
    tensors = random_tensors(config, task, std=0.3, dtype=np.float64, seed=1)
    call = sample_call(config, task, seed=2)
    gradients = reference.gradients(task, config, tensors, **call)
    assert gradients.keys() == tensors.keys()
    random = np.random.default_rng(3)
    for name, values in tensors.items():  # one at a time, so that no error hides behind a larger gradient
        direction = random.standard_normal(values.shape)

        def loss(step: float, name=name, values=values, direction=direction) -> float:
            moved = {**tensors, name: values + step * direction}
            return float(reference.forward(task, config, moved, **call).loss)

        slope = (loss(-2e-4) - 8 * loss(-1e-4) + 8 * loss(1e-4) - loss(2e-4)) / 1.2e-3
        assert np.sum(gradients[name] * direction) == pytest.approx(slope, rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_of_activations(name):
    x = np.array([-11.3, -5.0, -3.1, -1.0, -0.2, 0.3, 0.9, 2.7, 5.5, 7.2, 12.0])
    h = 1e-5
    value, slope = reference.ACTIVATIONS[name](x)
    above, below = reference.ACTIVATIONS[name](x + h)[0], reference.ACTIVATIONS[name](x - h)[0]
    assert np.all(np.isfinite(value))
    np.testing.assert_allclose(slope, (above - below) / (2 * h), atol=1e-9)


def test_activations_are_transformers():
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("transformers.activations").ACT2FN
    x = torch.linspace(-12, 12, 1001, dtype=torch.float64)
    for name in ACTIVATIONS:
        found = reference.ACTIVATIONS[name](x.numpy())[0]
        np.testing.assert_allclose(found, theirs[name](x).numpy(), atol=2e-10, err_msg=name)


def test_a_padding_row_learns_nothing_from_the_lookup():
    tensors = random_tensors(SMALL, "token-classification", std=0.3, dtype=np.float64, seed=1)
    ids = np.array([[0, 3, 0, 5]])
    gradients = reference.gradients("token-classification", SMALL, tensors, input_ids=ids, labels=ids % 2)
    table = gradients["distilbert.embeddings.word_embeddings.weight"]
    assert not table[0].any()
    assert table[3].any()


def test_sinusoidal_positions_are_transformers():
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("transformers.models.distilbert.modeling_distilbert")
    table = torch.empty(20, 8)
    theirs.create_sinusoidal_embeddings(20, 8, table)
    np.testing.assert_allclose(reference.sinusoidal_positions(20, 8), table.numpy(), atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_a_row_with_everything_masked_attends_evenly(dtype):
    tensors = random_tensors(SMALL, "encoder", std=0.5, dtype=dtype, seed=1)
    output = reference.forward(
        "encoder", SMALL, tensors, input_ids=np.array([[1, 2, 3, 4]]), attention_mask=np.zeros((1, 4), int)
    )
    assert output.last_hidden_state.dtype == dtype
    np.testing.assert_allclose(output.attentions[0], 0.25, rtol=0.02)
    assert np.isfinite(output.last_hidden_state).all()


def test_all_labels_ignored_is_no_loss():
    tensors = random_tensors(SMALL, "masked-lm", std=0.3, dtype=np.float64, seed=1)
    call = {"input_ids": np.array([[1, 2, 3]]), "labels": np.full((1, 3), -100)}
    assert reference.forward("masked-lm", SMALL, tensors, **call).loss == 0
    assert not any(g.any() for g in reference.gradients("masked-lm", SMALL, tensors, **call).values())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({}, "found neither"),
        ({"input_ids": np.ones((1, 2), int), "inputs_embeds": np.ones((1, 2, 8))}, "found both"),
        ({"input_ids": np.array([[23]])}, "expected ids from 0 to 22"),
        ({"input_ids": np.array([[-1]])}, "found -1 to -1"),
        ({"input_ids": np.array([[1.0]])}, "expected whole numbers, found float64"),
        ({"input_ids": np.ones((1, 0), int)}, "at least one token"),
        ({"input_ids": np.ones((1, 10), int)}, "at most max_position_embeddings 9, found 10 tokens"),
        ({"input_ids": np.ones((1, 2), int), "position_ids": np.array([[0, 9]])}, "position_ids: expected ids"),
        ({"input_ids": np.ones((2, 3), int), "attention_mask": np.ones((3, 2))}, "attention_mask: expected shape"),
        ({"input_ids": np.ones((2, 3), int), "head_mask": np.ones(3)}, "head_mask: expected shape"),
        ({"inputs_embeds": np.ones((1, 2, 7))}, "inputs_embeds: expected shape"),
    ],
)
def test_wrong_calls(call, message):
    tensors = random_tensors(SMALL, "encoder", std=0.3, dtype=np.float64, seed=1)
    with pytest.raises(InputError, match=message):
        reference.forward("encoder", SMALL, tensors, **call)
