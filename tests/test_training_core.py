# SPDX-License-Identifier: Apache-2.0
"""What training is made of besides frameworks and tasks: recipes, order, schedule, parts, plans, checkpoints."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import DistilBertConfig
from distilbert.errors import InputError
from distilbert.training.batch import Ragged, normalised, padded_length, share, with_token_places
from distilbert.training.engine import step_seed
from distilbert.training.order import Order
from distilbert.training.parts import MOST_PARTS, PART_COST, accumulation_parts, length_parts
from distilbert.training.plans import layer_height, tensor_plans
from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.schedule import learning_rate

LEAST = {"task": "text-classification", "model": "m", "train": "t.csv", "output": "o"}


def recipe(**values: Any) -> FinetuneRecipe:
    return FinetuneRecipe.from_dict({**LEAST, **values})


# Recipes.


def test_a_recipe_is_what_was_given_and_goes_through_yaml_types() -> None:
    found = recipe(learning_rate="3e-5", num_train_epochs=2, train=["a.csv", "b.csv"])
    assert (found.learning_rate, found.num_train_epochs) == (3e-5, 2.0)
    assert found.train_file == ("a.csv", "b.csv")
    assert FinetuneRecipe.from_dict(found.to_dict()) == found


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"learning_rate": -1}, "learning_rate: expected at least 0, found -1.0"),
        ({"learning_rate": math.nan}, "learning_rate: expected at least 0, found nan"),
        ({"learning_rate": "fast"}, "learning_rate: expected a number, found 'fast'"),
        ({"max_steps": True}, "max_steps: expected a whole number, found True"),
        ({"bf16": 1}, "bf16: expected true or false, found 1"),
        ({"eval_strategy": "always"}, "eval_strategy: expected one of no, steps, epoch; found 'always'"),
        ({"train_file": "t", "train": "t"}, "given twice"),
        ({"lr": 1}, "lr: unknown"),
        ({"train": [1]}, "train_file: expected a list of texts"),
        ({"eval_strategy": "no", "load_best_model_at_end": True}, "eval_strategy: the best model"),
        ({"seed": None}, "seed: expected a whole number, found nothing"),
        ({"label_smoothing_factor": 1}, "label_smoothing_factor: expected less than 1, found 1.0"),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match="recipe") as caught:
        recipe(**values)
    assert said in str(caught.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(InputError, match="3 problems"):
        recipe(seed=-1, warmup_ratio=2, save_steps=0)
    with pytest.raises(InputError, match="(?s)output: is missing.*model: is missing"):
        FinetuneRecipe.from_dict({"task": "ner", "train": "t"})


# Order.


def test_every_example_is_seen_once_in_an_epoch_and_in_another_order_in_the_next() -> None:
    order = Order(np.arange(1, 24), 5, 7, False)
    epochs = [[row for step in range(5) for row in order.rows(5 * epoch + step)] for epoch in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(23))] * 2
    assert epochs[0] != epochs[1]
    assert len(order.rows(4)) == 3
    again = Order(np.arange(1, 24), 5, 7, False)
    assert [*again.rows(6)] == [*order.rows(6)]
    assert [*Order(np.arange(1, 24), 5, 8, False).rows(0)] != [*order.rows(0)]


def test_steps_by_length_are_of_similar_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1003)
    order = Order(lengths, 10, 0, True)
    steps = [order.rows(step) for step in range(order.steps_per_epoch)]
    assert Counter(np.concatenate(steps)) == Counter(range(1003))
    spread = [int(np.ptp(lengths[rows])) for rows in steps]
    assert np.mean(spread) < 8
    mixed = Order(lengths, 10, 0, False)
    assert np.mean([int(np.ptp(lengths[mixed.rows(step)])) for step in range(100)]) > 50
    means = [lengths[rows].mean() for rows in steps[:-1]]
    assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.3  # the long ones do not all come first
    assert len(steps[-1]) == 3


def test_how_many_steps_there_are() -> None:
    order = Order(np.ones(10, np.int64), 4, 0, False)
    assert order.total_steps(recipe(num_train_epochs=3)) == 9
    assert order.total_steps(recipe(num_train_epochs=0.5)) == 2
    assert order.total_steps(recipe(max_steps=7)) == 7


# Schedule.


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant", "constant_with_warmup"])
@pytest.mark.parametrize("warmup", [0, 7])
def test_rates_are_those_of_transformers(kind: str, warmup: int) -> None:
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=2e-3)
    theirs = transformers.get_scheduler(kind, optimizer, num_warmup_steps=warmup, num_training_steps=40)
    ours = recipe(lr_scheduler_type=kind, warmup_steps=warmup, learning_rate=2e-3)
    for step in range(40):
        assert learning_rate(ours, step, 40) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_a_share_of_warmup() -> None:
    found = recipe(warmup_ratio=0.1, learning_rate=1.0)
    assert [learning_rate(found, step, 20) for step in (0, 1, 2)] == [0.0, 0.5, 1.0]


# Parts.


def test_parts_by_length_save_more_padding_than_they_cost() -> None:
    lengths = np.array([8, 64, 8, 8, 64, 8, 8, 8] * 4)
    rows = np.arange(100, 132)
    parts = length_parts(rows, lengths, 1, computes_padding=True)
    assert sorted(np.concatenate(parts)) == sorted(rows)
    assert [len(part) for part in parts] == [8, 24]
    padded = sum(len(part) * lengths[part - 100].max() for part in parts)
    assert padded + PART_COST < 32 * 64
    assert len(length_parts(rows, np.full(32, 64), 1, computes_padding=True)) == 1
    assert len(length_parts(rows[:1], lengths[:1], 1, computes_padding=True)) == 1
    assert len(length_parts(rows, np.arange(1, 33) ** 3, 1, computes_padding=True)) <= MOST_PARTS


def test_parts_of_what_computes_padding_in_attention_alone() -> None:
    lengths = np.array([8, 64, 8, 8, 64, 8, 8, 8] * 4)
    rows = np.arange(32)
    assert len(length_parts(rows, lengths, 1, computes_padding=False)) == 1
    assert [len(part) for part in length_parts(rows, lengths * 8, 1, computes_padding=False)] == [8, 24]


def test_parts_have_full_units() -> None:
    lengths = np.random.default_rng(1).integers(1, 500, 30)
    parts = length_parts(np.arange(30), lengths, 4, computes_padding=True)
    assert len(parts) > 1
    assert all(len(part) % 4 == 0 for part in parts[:-1])


def test_accumulation_has_no_empty_parts() -> None:
    assert [len(part) for part in accumulation_parts(np.arange(7), 3)] == [3, 2, 2]
    assert [len(part) for part in accumulation_parts(np.arange(2), 3)] == [1, 1]


# Batches.


def test_a_batch_says_where_its_tokens_are() -> None:
    mask = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]], np.int32)
    batch = {"attention_mask": mask, "weights": np.ones(3, np.float32)}
    found = with_token_places(batch)
    assert found["token_places"].tolist() == [0, 1, 3, 4, 6], "a row's first token is computed in any case"
    assert found["token_places"].dtype == np.int32
    assert with_token_places(batch, 4)["token_places"].tolist() == [0, 1, 3, 4, 6, 9, 9, 9]
    assert with_token_places(batch, 256)["token_places"].tolist() == [0, 1, 3, 4, 6, 9, 9, 9, 9]
    assert batch.keys() == {"attention_mask", "weights"}
    choices = with_token_places({"attention_mask": mask[:2, None].repeat(2, 1)})
    assert choices["token_places"].tolist() == [0, 1, 3, 4, 6, 7, 9, 10]


def test_ragged_rows_are_padded_at_their_end() -> None:
    rows = Ragged.of([[1, 2, 3], [], [4]])
    assert len(rows) == 3
    assert [*rows.lengths] == [3, 0, 1]
    assert rows.padded(np.array([2, 0]), 4, 9).tolist() == [[4, 9, 9, 9], [1, 2, 3, 9]]
    assert len(Ragged.of([])) == 0


def test_padded_lengths() -> None:
    assert padded_length(np.array([3, 9]), 8, 128) == 16
    assert padded_length(np.array([3, 9]), 8, 12) == 12
    assert padded_length(np.array([], np.int64), 8, 12) == 8


def test_weights_of_a_step_add_up_to_one_however_it_is_shared() -> None:
    parts = [
        {"input_ids": np.ones((5, 3), np.int32), "weights": np.array([[1, 0]] * 5, np.float32)},
        {"input_ids": np.ones((2, 3), np.int32), "weights": np.array([[1, 1]] * 2, np.float32)},
    ]
    shares = [share(part, rank, 2, 2) for part in normalised(parts) for rank in range(2)]
    assert sum(part["weights"].sum() for part in shares) == pytest.approx(1)
    assert [len(part["weights"]) for part in shares] == [4, 4, 2, 2]
    assert shares[1]["weights"].sum(1).tolist() == pytest.approx([1 / 9, 0, 0, 0])
    nothing = normalised([{"weights": np.zeros((2, 2), np.float32)}])
    assert nothing[0]["weights"].sum() == 0


def test_every_part_has_its_own_seed() -> None:
    seeds = {step_seed(*numbers) for numbers in np.ndindex(3, 20, 3, 3)}
    assert len(seeds) == 3 * 20 * 9
    assert all(0 <= seed < 2**31 for seed in seeds)


# Plans.

CONFIG = DistilBertConfig(vocab_size=20, dim=8, n_layers=3, n_heads=2, hidden_dim=16, max_position_embeddings=8)


def test_biases_and_norms_do_not_decay() -> None:
    plans = tensor_plans(recipe(weight_decay=0.1), CONFIG, "sequence-classification")
    decaying = {name for name, plan in plans.items() if plan.decay}
    assert all(plans[name].decay == 0.1 for name in decaying)
    assert not [name for name in decaying if name.endswith("bias") or "norm" in name.lower()]
    assert {"classifier.weight", "distilbert.embeddings.word_embeddings.weight"} <= decaying


def test_rates_fall_from_layer_to_layer() -> None:
    plans = tensor_plans(recipe(layer_lr_decay=0.5), CONFIG, "sequence-classification")
    factors = [plans[name].rate_factor for name in plans if name.endswith(("word_embeddings.weight", "lin1.weight"))]
    assert factors == [0.5**4, 0.5**3, 0.5**2, 0.5]
    assert plans["classifier.bias"].rate_factor == plans["pre_classifier.weight"].rate_factor == 1


@pytest.mark.parametrize(("values", "frozen"), [({}, -1), ({"freeze_embeddings": True}, 0), ({"freeze_layers": 2}, 2)])
def test_frozen_tensors(values: dict[str, Any], frozen: int) -> None:
    plans = tensor_plans(recipe(**values), CONFIG, "token-classification")
    assert {layer_height(name, 3) for name, plan in plans.items() if not plan.trained} == set(range(frozen + 1))


def test_more_frozen_layers_than_there_are() -> None:
    with pytest.raises(InputError, match="freeze_layers: the model has 3 layers, found 4"):
        tensor_plans(recipe(freeze_layers=4), CONFIG, "masked-lm")


def test_sinusoidal_positions_are_not_trained() -> None:
    plans = tensor_plans(recipe(), CONFIG.replace(sinusoidal_pos_embds=True), "masked-lm")
    assert [name for name, plan in plans.items() if not plan.trained] == [
        "distilbert.embeddings.position_embeddings.weight"
    ]


def test_nothing_is_imported_that_recipes_do_not_need(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys; import distilbert.training.recipes; print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
