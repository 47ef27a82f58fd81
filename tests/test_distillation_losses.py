# SPDX-License-Identifier: Apache-2.0
"""The losses: against finite differences, against PyTorch's own, cut into parts, and with answers kept in part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from distilbert.training.batch import Batch, normalised
from distilbert.training.distillation.reference import (
    LossSettings,
    cosine_distance,
    cross_entropy,
    kept_cross_entropy,
    soft_cross_entropy,
    task_loss,
    triple_loss,
)
from distilbert.training.distillation.topk import compressed, probabilities

B, T, P, V, D, NARROW = 3, 6, 4, 11, 8, 5


def random(*shape: int, seed: int = 0, scale: float = 2.0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape) * scale


def check_gradient(function: Callable[[np.ndarray], float], at: np.ndarray, gradient: np.ndarray) -> None:
    step, numeric = 1e-6, np.zeros_like(at)
    for place in np.ndindex(*at.shape):
        moved = at.copy()
        moved[place] += step
        high = function(moved)
        moved[place] -= 2 * step
        numeric[place] = (high - function(moved)) / (2 * step)
    assert np.allclose(gradient, numeric, rtol=1e-6, atol=1e-7)
    assert np.abs(gradient).max() > 1e-3


def sample(restricted: bool = False) -> tuple[Batch, dict[str, np.ndarray], dict[str, np.ndarray]]:
    generator = np.random.default_rng(3)
    mask = np.ones((B, T), np.int32)
    mask[1, 4:] = 0
    places = np.array([[1, 3, 4, 0], [2, 0, 0, 0], [1, 2, 0, 0]], np.int32)
    weights = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]], np.float32)
    batch: Batch = {
        "attention_mask": mask,
        "places": places,
        "labels": np.where(weights > 0, generator.integers(0, V, (B, P)), 0).astype(np.int32),
        "weights": weights,
        "token_weights": mask.astype(np.float32),
    }
    width = P if restricted else T
    student = {"logits": random(B, width, V), "hidden": random(B, T, NARROW)}
    return batch, student, {"logits": random(B, width, V, seed=1), "hidden": random(B, T, D, seed=1)}


COORDINATES = np.array([0, 2, 3, 6, 7])


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("cached", [False, True])
def test_gradients_of_the_triple_loss(restricted: bool, cached: bool) -> None:
    batch, student, teacher = sample(restricted)
    settings = LossSettings(2.0, 5.0, 2.0, 1.0, restrict_ce_to_mask=restricted)
    (batch,) = normalised([batch])
    if cached:
        kept = compressed(teacher["logits"], 4)
        batch["teacher_ids"] = kept["ids"].astype(np.int32)
        batch["teacher_probabilities"] = probabilities(kept["values"], kept["rest"], V, 2.0).astype(np.float64)
        batch["teacher_hidden"] = teacher["hidden"][..., COORDINATES]
        teacher = {}

    def loss(logits: np.ndarray, hidden: np.ndarray) -> float:
        terms = triple_loss(settings, batch, {"logits": logits, "hidden": hidden}, teacher, COORDINATES).terms
        assert set(terms) == {"ce", "mlm", "cos"}
        return sum(terms.values())

    found = triple_loss(settings, batch, student, teacher, COORDINATES)
    check_gradient(lambda logits: loss(logits, student["hidden"]), student["logits"], found.d_logits)
    assert found.d_hidden is not None
    check_gradient(lambda hidden: loss(student["logits"], hidden), student["hidden"], found.d_hidden)


def test_gradients_of_the_task_loss() -> None:
    batch: Batch = {
        "teacher_logits": random(4, 3, seed=2),
        "weights": np.array([0.25, 0.25, 0.25, 0.25]),
        "labels": np.array([0, 2, 1, 0]),
        "label_weights": np.array([0.5, 0.5, 0.0, 0.0]),
    }
    settings = LossSettings(temperature=3.0, alpha_ce=2.0, alpha_label=0.5)
    logits = random(4, 3)
    found = task_loss(settings, batch, logits)
    assert set(found.terms) == {"ce", "label"}
    check_gradient(lambda moved: sum(task_loss(settings, batch, moved).terms.values()), logits, found.d_logits)


def test_terms_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    batch, student, teacher = sample()
    teacher["hidden"] = random(B, T, NARROW, seed=1)
    settings = LossSettings()
    terms = triple_loss(settings, normalised([batch])[0], student, teacher).terms
    real = torch.tensor(batch["attention_mask"] != 0)
    s, t, h, g = (
        torch.tensor(values)
        for values in (*[student["logits"], teacher["logits"]], student["hidden"], teacher["hidden"])
    )
    soft, aim = functional.log_softmax(s[real] / 2, -1), functional.softmax(t[real] / 2, -1)
    divergence = functional.kl_div(soft, aim, reduction="batchmean") * 4
    labels = torch.full((B, T), -100)
    for row in range(B):
        for place, label, weight in zip(*(batch[name][row] for name in ("places", "labels", "weights")), strict=True):
            if weight:
                labels[row, place] = int(label)
    guess = functional.cross_entropy(s.reshape(-1, V), labels.reshape(-1))
    cosine = functional.cosine_embedding_loss(h[real], g[real], torch.ones(int(real.sum())))
    expected = {"ce": 5 * divergence, "mlm": 2 * guess, "cos": cosine}
    # weights are float32 numbers, as in training
    assert terms == pytest.approx({name: float(value) for name, value in expected.items()}, rel=1e-6)


def test_parts_add_up_to_the_whole() -> None:
    batch, student, teacher = sample()
    settings = LossSettings()
    whole = triple_loss(settings, normalised([batch])[0], student, teacher, COORDINATES)
    cuts = [slice(0, 1), slice(1, 3)]
    parts = normalised([{name: values[cut] for name, values in batch.items()} for cut in cuts])
    found = []
    for part, cut in zip(parts, cuts, strict=True):
        sides = ({name: values[cut] for name, values in side.items()} for side in (student, teacher))
        found.append(triple_loss(settings, part, *sides, COORDINATES))
    for name, value in whole.terms.items():
        assert sum(loss.terms[name] for loss in found) == pytest.approx(value, rel=1e-6)
    assert np.allclose(np.concatenate([loss.d_logits for loss in found]), whole.d_logits, rtol=1e-6)


def test_a_term_without_weight_is_not_computed() -> None:
    batch, student, teacher = sample(restricted=True)
    found = triple_loss(LossSettings(alpha_ce=0, alpha_cos=0), batch, student, {})
    assert set(found.terms) == {"mlm"}
    assert found.d_hidden is None
    batch, student, teacher = sample()
    other = triple_loss(LossSettings(alpha_mlm=0, alpha_cos=0), batch, student, teacher)
    assert set(other.terms) == {"ce"}


def test_normalised_leaves_nothing_divided_by_zero() -> None:
    batch, _, _ = sample()
    empty = {**batch, "weights": np.zeros_like(batch["weights"])}
    (found,) = normalised([empty])
    assert found["weights"].sum() == 0
    assert found["token_weights"].sum() == pytest.approx(1)


def test_extremes_stay_finite() -> None:
    far = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]])
    ones = np.ones(2)
    for value, gradient in (
        soft_cross_entropy(far, far[::-1].copy(), ones, 1.0),
        kept_cross_entropy(far, np.array([[1], [0]]), np.array([[0.5, 0.5]] * 2), ones, 1.0),
        cross_entropy(far, np.array([1, 0]), ones),
        cosine_distance(np.zeros((2, 3)), far, ones),
    ):
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


# Answers kept in part.


def test_kept_in_full_is_the_whole_answer() -> None:
    student, teacher, weights = random(7, V), random(7, V, seed=1), np.full(7, 1 / 7)
    for temperature in (1.0, 2.0, 3.0):
        kept = compressed(teacher, V)
        aim = probabilities(kept["values"], kept["rest"], V, temperature)
        assert aim[:, -1].max() == 0
        value, gradient = kept_cross_entropy(student, kept["ids"].astype(int), aim, weights, temperature)
        whole, whole_gradient = soft_cross_entropy(student, teacher, weights, temperature)
        assert value == pytest.approx(whole, rel=2e-3)  # float16
        assert np.allclose(gradient, whole_gradient, atol=1e-3)


def test_probabilities_at_all_temperatures() -> None:
    teacher = random(20, 5000, scale=3.0)
    kept = compressed(teacher, 16)
    for temperature, tolerance in ((1.0, 1e-3), (2.0, 1e-3), (1.5, 0.02), (4.0, 0.02), (8.0, 0.02)):
        powers = np.exp(teacher / temperature)
        exact = powers / powers.sum(-1, keepdims=True)
        expected = np.take_along_axis(exact, kept["ids"].astype(int), -1)
        found = probabilities(kept["values"], kept["rest"], 5000, temperature)
        assert np.abs(found[:, :-1] / expected - 1).max() < tolerance * 10
        assert np.abs(found[:, -1] - (1 - expected.sum(-1))).max() < tolerance


def test_the_rest_teaches_better_than_scaling_up() -> None:
    """Of gradients with 16 of 1000 pieces kept: the rest as one piece against leaving it out."""
    student, teacher, weights = random(50, 1000), random(50, 1000, seed=1, scale=3.0), np.full(50, 1 / 50)
    whole, exact = soft_cross_entropy(student, teacher, weights, 2.0)
    kept = compressed(teacher, 16)
    aim = probabilities(kept["values"], kept["rest"], 1000, 2.0).astype(np.float64)
    ids = kept["ids"].astype(int)
    value, gradient = kept_cross_entropy(student, ids, aim, weights, 2.0)
    alone = np.concatenate([aim[:, :-1] / aim[:, :-1].sum(-1, keepdims=True), np.zeros((50, 1))], -1)
    _, scaled = kept_cross_entropy(student, ids, alone, weights, 2.0)
    assert value < whole  # it is a lower bound
    error, scaled_error = (np.linalg.norm(found - exact) / np.linalg.norm(exact) for found in (gradient, scaled))
    assert error < 0.6 * scaled_error
    at_kept = np.take_along_axis(gradient - exact, ids, -1)
    assert np.abs(at_kept).max() < 1e-3 * np.abs(exact).max()  # nothing is lost where answers are known
