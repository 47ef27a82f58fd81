# SPDX-License-Identifier: Apache-2.0
"""Padding left out (`token_places`) and all but the first tokens left out (`first_only`), against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distilbert import reference, spec
from distilbert.errors import InputError
from distilbert.parity.running import running
from distilbert.parity.tolerances import FLOAT64

from .samples import TINY, random_tensors, sample_call, task_config
from .test_parity import as_numpy, assert_within, backends, build, implementations, precision, run, tasks
from .test_parity_training import far_from

FIRST = ("sequence-classification", "multiple-choice")  # tasks that look at first tokens alone


def call_of(config: Any, task: str) -> dict[str, Any]:
    """A call in whose loss padding has no part.

    A model's own loss of spans counts padded places, whose vectors are 0 here; training has another, which does not
    (`test_padding_changes_no_step`).
    """
    call = sample_call(config, task)
    if task == "masked-lm":
        call["labels"] = np.where(call["attention_mask"] == 1, call["labels"], -100)
    if task == "question-answering":
        del call["start_positions"], call["end_positions"]
    return call


def token_places(mask: np.ndarray, seed: int = 0) -> np.ndarray:
    """Where the tokens of a mask are, and the first of each row, in any order, with two places that are none."""
    seen = mask == 1
    seen[..., 0] = True
    return np.random.default_rng(seed).permutation([*np.flatnonzero(seen), mask.size, mask.size])


def of_tokens(outputs: Any, task: str, mask: np.ndarray) -> dict[str, Any]:
    """What a model says of tokens and of whole texts, without what it says of padding; no attentions."""

    def chosen(values: Any, by_token: bool) -> Any:
        return values.reshape(-1, *values.shape[2:])[mask.reshape(-1) == 1] if by_token else values

    answers = {name: value for name, value in outputs.items() if name not in ("attentions", "hidden_states")}
    found = {name: chosen(value, task not in FIRST and np.ndim(value) > 1) for name, value in answers.items()}
    if "hidden_states" in outputs:
        found["hidden_states"] = tuple(chosen(state, True) for state in outputs["hidden_states"])
    return found


@backends
@tasks
@pytest.mark.parametrize("states", [False, True])
def test_outputs_without_padding(name: str, task: str, states: bool) -> None:
    config = task_config(TINY, task)
    tensors, call = random_tensors(config, task, dtype=np.float64), call_of(config, task)
    mask = call["attention_mask"]
    expected = of_tokens(reference.forward(task, config, tensors, **call), task, mask)
    with precision(name, "float64"):
        model = build(name, task, config, tensors, "float64")
        for kernel in implementations(name):
            model.set_attn_implementation(kernel)
            found = run(name, model, {**call, "token_places": token_places(mask)}, output_hidden_states=states)
            assert found.keys() == expected.keys() - ({"hidden_states"} if not states else set())
            assert_within(of_tokens(found, task, mask), expected, FLOAT64.bound)


@backends
def test_vectors_of_padding_are_zero(name: str) -> None:
    call = sample_call(TINY, "encoder")
    model = build(name, "encoder", TINY, random_tensors(TINY, "encoder"), "float32")
    places = np.flatnonzero(call["attention_mask"])
    found = run(name, model, {**call, "token_places": places}, output_hidden_states=True)
    for states in (found["last_hidden_state"], *found["hidden_states"]):
        assert not states[call["attention_mask"] == 0].any()
        assert states[call["attention_mask"] == 1].any(axis=-1).all()


@backends
@pytest.mark.parametrize("given", ["word vectors", "positions of one row", "default positions"])
def test_inputs_of_other_shapes_without_padding(name: str, given: str) -> None:
    tensors, call = random_tensors(TINY, "encoder", dtype=np.float64), sample_call(TINY, "encoder")
    mask = call["attention_mask"]
    if given == "word vectors":
        call["inputs_embeds"] = np.random.default_rng(0).standard_normal((*call.pop("input_ids").shape, TINY.dim))
    elif given == "positions of one row":
        call["position_ids"] = np.arange(mask.shape[1])[::-1].copy()
    else:
        del call["position_ids"]
    expected = reference.forward("encoder", TINY, tensors, **call)
    with precision(name, "float64"):
        model = build(name, "encoder", TINY, tensors, "float64")
        found = run(name, model, {**call, "token_places": token_places(mask)}, output_hidden_states=True)
    assert_within(of_tokens(found, "encoder", mask), of_tokens(expected, "encoder", mask), FLOAT64.bound)


@backends
@pytest.mark.parametrize("task", [task for task in spec.TASKS if task not in ("encoder", "question-answering")])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_without_padding(name: str, task: str, checkpointing: bool) -> None:
    config = task_config(TINY, task)
    tensors, call = random_tensors(config, task, dtype=np.float64), call_of(config, task)
    expected = reference.gradients(task, config, tensors, **call)
    with running(name, task, config, tensors, "float64") as runner:
        if checkpointing:
            runner.model.gradient_checkpointing_enable()
        found = runner.loss_gradients({**call, "token_places": token_places(call["attention_mask"])})
    assert far_from(found, expected, FLOAT64.bound) == {}


@backends
def test_a_token_that_is_left_out_is_seen(name: str) -> None:
    task = "token-classification"
    tensors, call = random_tensors(TINY, task, dtype=np.float64), call_of(TINY, task)
    mask = call["attention_mask"]
    expected = of_tokens(reference.forward(task, TINY, tensors, **call), task, mask)
    gradients = reference.gradients(task, TINY, tensors, **call)
    call["token_places"] = np.flatnonzero(mask)[:-1]
    with running(name, task, TINY, tensors, "float64") as runner:
        found = {key: as_numpy(value) for key, value in runner.call(call).items()}
        with pytest.raises(AssertionError, match=f"bound {FLOAT64.bound}"):
            assert_within(of_tokens(found, task, mask), expected, FLOAT64.bound)
        assert far_from(runner.loss_gradients(call), gradients, FLOAT64.bound)


@backends
@pytest.mark.parametrize(("mask", "places"), [("2-D", False), ("2-D", True), ("4-D", False), (None, False)])
def test_first_tokens_alone(name: str, mask: str | None, places: bool) -> None:
    tensors, call = random_tensors(TINY, "encoder", dtype=np.float64), sample_call(TINY, "encoder")
    if mask == "4-D":
        call["attention_mask"] = np.random.default_rng(0).random((3, 4, 7, 7)) < 0.6
    elif mask is None:
        del call["attention_mask"]
    expected = reference.forward("encoder", TINY, tensors, **call)
    if places:
        call["token_places"] = token_places(call["attention_mask"])
    with precision(name, "float64"):
        model = build(name, "encoder", TINY, tensors, "float64")
        for kernel in implementations(name):
            model.set_attn_implementation(kernel)
            found = run(name, model, call, first_only=True)["last_hidden_state"]
            assert found.shape == (3, 1, TINY.dim)
            assert_within({"first": found}, {"first": expected["last_hidden_state"][:, :1]}, FLOAT64.bound)
        for wanted in ("output_hidden_states", "output_attentions"):
            whole = run(name, model, call, first_only=True, **{wanted: True})
            assert whole["last_hidden_state"].shape == (3, 7, TINY.dim)


@backends
@pytest.mark.parametrize(
    ("places", "mask", "message"),
    [
        (np.zeros((2, 3), np.int64), np.ones((3, 7)), r"expected whole numbers \(N,\), found .*int64 \(2, 3\)"),
        (np.zeros(4, np.float32), np.ones((3, 7)), r"expected whole numbers \(N,\), found .*float32 \(4,\)"),
        (np.array([0, 22]), np.ones((3, 7)), r"expected places from 0 to 21 .* found 0 to 22"),
        (np.array([-1, 2]), np.ones((3, 7)), r"expected places from 0 to 21 .* found -1 to 2"),
        (np.array([0, 2]), None, r"expected an attention_mask \(B, T\)"),
        (np.array([0, 2]), np.ones((1, 1, 7, 7)), r"expected an attention_mask \(B, T\)"),
    ],
)
def test_wrong_places(name: str, places: np.ndarray, mask: np.ndarray | None, message: str) -> None:
    model = build(name, "encoder", TINY, random_tensors(TINY, "encoder"), "float32")
    call = {"input_ids": np.ones((3, 7), np.int64), "token_places": places}
    if mask is not None:
        call["attention_mask"] = mask
    with pytest.raises(InputError, match=f"token_places: {message}"):
        run(name, model, call)
