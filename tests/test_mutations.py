# SPDX-License-Identifier: Apache-2.0
"""Parity tests that can fail: one wrong constant or forgotten term in the model, and they do."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert import backend, reference
from distilbert.parity.tolerances import FLOAT32, FLOAT64

from . import test_parity as parity
from . import test_parity_training as training
from .samples import TINY


@pytest.fixture(autouse=True)
def backends_are_imported():
    """The frameworks' sources copy constants of the reference, so they must not see it mutated."""
    for name in backend.installed():
        backend.load(name, "the tests")


def swap(monkeypatch, name, value):
    monkeypatch.setattr(reference, name, value)


def wrong_scale(q, k, v, mask, head_mask, attend=reference.attend):
    return attend(q * np.sqrt(q.shape[-1]).astype(q.dtype), k, v, mask, head_mask)


def no_head_mask(q, k, v, mask, head_mask, attend=reference.attend):
    return attend(q, k, v, mask, 1.0)


def starts_only(logits, starts, ends):
    return reference.cross_entropy(logits[..., 0], np.clip(starts, 0, 5))


MUTATIONS = {
    "tanh GELU, the default of JAX": ("ACTIVATIONS", {**reference.ACTIVATIONS, "gelu": reference.gelu_tanh}),
    "LayerNorm eps of Flax": ("LAYER_NORM_EPS", 1e-6),
    "LayerNorm eps of PyTorch": ("LAYER_NORM_EPS", 1e-5),
    "LayerNorm eps of Keras": ("LAYER_NORM_EPS", 1e-3),
    "mask ignored": ("additive_mask", lambda mask, dtype: 0.0),
    "scores not scaled": ("attend", wrong_scale),
}


@parity.backends
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_forward_parity_fails(name, mutation, monkeypatch):
    parity.check_float32(name, TINY, "token-classification", 0.2)
    swap(monkeypatch, *MUTATIONS[mutation])
    with pytest.raises(AssertionError, match=f"bound {FLOAT32.bound}"):
        parity.check_float32(name, TINY, "token-classification", 0.2)


@parity.backends
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_gradient_parity_fails(name, mutation, monkeypatch):
    swap(monkeypatch, *MUTATIONS[mutation])
    with pytest.raises(AssertionError):
        training.test_gradients(name, "token-classification", "float32")


@parity.backends
@pytest.mark.parametrize(
    ("case", "mutation"),
    [
        ("fully masked row", ("additive_mask", lambda mask, dtype: 0.0)),
        ("4-D additive mask", ("additive_mask", lambda mask, dtype: np.where(mask < 0, np.float64(-1e4), 0))),
        ("head mask", ("attend", no_head_mask)),
        ("positions of one row", ("embedding", lambda w, name, ids, *rest, f=reference.embedding: f(w, name, ids * 0))),
    ],
)
def test_special_parity_fails(name, case, mutation, monkeypatch):
    swap(monkeypatch, *mutation)
    with pytest.raises(AssertionError, match=f"bound {FLOAT64.bound}"):
        parity.test_special_calls(name, case)


@parity.backends
@pytest.mark.parametrize(
    ("case", "mutation"),
    [
        ("classes, one ignored", ("IGNORED_LABEL", -101)),
        ("regression of one value", ("squared_error", lambda x, y: (abs(x - y.reshape(x.shape)).mean(), x))),
        ("several labels", ("binary_cross_entropy", reference.squared_error)),
        (
            "answers beyond the text",
            ("span_loss", lambda x, s, e: reference.cross_entropy(x[..., 0], np.clip(s, 0, 5))),
        ),
    ],
)
def test_loss_parity_fails(name, case, mutation, monkeypatch):
    swap(monkeypatch, *mutation)
    with pytest.raises((AssertionError, ValueError, IndexError)):
        parity.test_losses(name, case)


@parity.backends
def test_training_parity_fails_with_another_weight_decay(name, monkeypatch):
    right = training.train

    def train(backend, task, config, tensors, calls, dtype):
        monkeypatch.setattr(training, "DECAY", 0.01 if dtype == "float64" else 0.0)
        return right(backend, task, config, {key: values * 3 for key, values in tensors.items()}, calls, dtype)

    monkeypatch.setattr(training, "train", train)
    with pytest.raises(AssertionError):
        training.test_ten_steps_of_adamw(name, "sequence-classification")
