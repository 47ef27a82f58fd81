# SPDX-License-Identifier: Apache-2.0
"""Masks, embeddings, head masks, tuples and every kind of loss: in each framework as in transformers' PyTorch (eager).

Where its own three frameworks disagree, PyTorch's way is the one followed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import DistilBertConfig, spec

from . import oracle
from .samples import TINY, sample_call, task_config
from .test_parity import backends, run
from .test_transformers_exchange import assert_same_outputs, ours

pytest.importorskip("transformers")
pytest.importorskip("torch")

B, T = 3, 7


def both(
    folder: Path, name: str, task: str, config: DistilBertConfig, call: dict[str, Any], **options: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The outputs of our model and of transformers' PyTorch model, which wrote the weights."""
    model = oracle.hf_model("pt", task, config)
    expected = oracle.run_hf("pt", model, call, **options)
    mine = ours(name, task, oracle.save_hf(model, folder, {}))
    return run(name, mine, call, **options), expected


def ids(rows: int = B) -> np.ndarray:
    return np.random.default_rng(5).integers(1, 99, (rows, T))


def check(folder: Path, name: str, task: str, config: DistilBertConfig, call: dict[str, Any], **options: Any) -> None:
    found, expected = both(folder, name, task, config, call, **options)
    assert_same_outputs(found, expected)


MASKS = {
    "ones": np.ones((B, T), np.int64),
    "right": np.arange(T)[None] < np.array([[7], [3], [1]]),
    "left": (np.arange(T)[None] >= np.array([[0], [2], [6]])).astype(np.int64),
    "holes": np.array([[1, 0, 1, 1, 0, 1, 1], [1, 1, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, 1, 0]]),
    "fully-masked-row": np.array([[1] * T, [0] * T, [1, 1] + [0] * (T - 2)]),
    "bool": np.arange(T)[None] < np.array([[2], [7], [5]]),
}


@backends
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_masks(tmp_path: Path, name: str, mask: np.ndarray) -> None:
    call = {"input_ids": ids(), "attention_mask": mask}
    check(tmp_path, name, "encoder", TINY, call, output_hidden_states=True, output_attentions=True)


@backends
@pytest.mark.parametrize("task", spec.TASKS)
def test_embeddings_in_place_of_ids(tmp_path: Path, name: str, task: str) -> None:
    config = task_config(TINY, task)
    call = sample_call(config, task)
    del call["position_ids"]
    shape = call.pop("input_ids").shape
    call["inputs_embeds"] = np.random.default_rng(1).standard_normal((*shape, 32)).astype(np.float32)
    check(tmp_path, name, task, config, call)


@backends
@pytest.mark.parametrize("shape", [(4,), (2, 4)])
def test_head_mask(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    mask = np.random.default_rng(2).integers(0, 2, shape).astype(np.float32)
    call = {"input_ids": ids(), "attention_mask": MASKS["right"].astype(np.int64), "head_mask": mask}
    check(tmp_path, name, "encoder", TINY, call, output_attentions=True, output_hidden_states=True)


@backends
@pytest.mark.parametrize("task", spec.TASKS)
@pytest.mark.parametrize("labelled", [True, False])
def test_order_of_the_tuple(tmp_path: Path, name: str, task: str, labelled: bool) -> None:
    config = task_config(TINY, task)
    call = {key: value for key, value in sample_call(config, task).items() if key != "position_ids"}
    if not labelled:
        call = {key: value for key, value in call.items() if key not in oracle.LABELS}
    model = oracle.hf_model("pt", task, config)
    mine = ours(name, task, oracle.save_hf(model, tmp_path, {}))
    options = {"output_attentions": True, "output_hidden_states": True, "return_dict": False}
    expected = flat(call_of(model, "pt", call, options))
    found = flat(call_of(mine, name, call, options))
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert np.shape(a) == np.shape(b)
        assert np.max(np.abs(a - b)) <= oracle.BOUND


def call_of(model: Any, name: str, call: dict[str, Any], options: dict[str, Any]) -> Any:
    with oracle.quiet():
        if name == "pt":
            import torch

            with torch.no_grad():
                return model(**{key: torch.tensor(value) for key, value in call.items()}, **options)
        return model(**call, **options)


def flat(output: Any) -> list[Any]:
    assert isinstance(output, tuple)
    nested = [item if isinstance(item, tuple | list) else (item,) for item in output]
    return [oracle.as_numpy(value) for group in nested for value in group]


@backends
@pytest.mark.parametrize("return_dict", [True, False])
def test_settings_of_the_config(tmp_path: Path, name: str, return_dict: bool) -> None:
    """What a call does not say is taken from the config; the field of the config is the same one."""
    config = TINY.replace(output_hidden_states=True, output_attentions=True, return_dict=return_dict)
    model = oracle.hf_model("pt", "token-classification", config)
    mine = ours(name, "token-classification", oracle.save_hf(model, tmp_path, {}))
    output = call_of(mine, name, {"input_ids": ids()}, {})
    assert isinstance(output, tuple) == (not return_dict)
    fields = list(output) if return_dict else [None] * len(output)
    assert fields == (["logits", "hidden_states", "attentions"] if return_dict else [None] * 3)


# Losses.

RANDOM = np.random.default_rng(7)
CLASSES = {
    "inferred-classes": (3, None, np.array([2, 0, 1])),
    "classes": (3, "single_label_classification", np.array([2, 0, 1])),
    "some-ignored": (3, "single_label_classification", np.array([2, -100, 1])),
    "inferred-value": (1, None, RANDOM.standard_normal(B).astype(np.float32)),
    "value": (1, "regression", RANDOM.standard_normal((B, 1)).astype(np.float32)),
    "values": (4, "regression", RANDOM.standard_normal((B, 4)).astype(np.float32)),
    "inferred-yes-no": (3, None, RANDOM.integers(0, 2, (B, 3)).astype(np.float32)),
    "yes-no": (3, "multi_label_classification", RANDOM.random((B, 3)).astype(np.float32)),
}


@backends
@pytest.mark.parametrize(("labels", "kind", "values"), CLASSES.values(), ids=CLASSES.keys())
def test_losses_of_sequence_classification(
    tmp_path: Path, name: str, labels: int, kind: str | None, values: np.ndarray
) -> None:
    config = TINY.replace(num_labels=labels, problem_type=kind)
    call = {"input_ids": ids(), "attention_mask": MASKS["right"].astype(np.int64), "labels": values}
    check(tmp_path, name, "sequence-classification", config, call)


@backends
@pytest.mark.parametrize("task", ["masked-lm", "token-classification"])
def test_losses_of_tokens(tmp_path: Path, name: str, task: str) -> None:
    labels = RANDOM.integers(0, 3, (B, T))
    labels[RANDOM.random((B, T)) < 0.5] = -100
    labels[1] = -100
    check(tmp_path, name, task, TINY, {"input_ids": ids(), "labels": labels})


@backends
def test_loss_of_choices(tmp_path: Path, name: str) -> None:
    call = {"input_ids": ids(2 * B).reshape(B, 2, T), "labels": np.array([1, 0, 1])}
    check(tmp_path, name, "multiple-choice", TINY, call)


POSITIONS = {
    "inside": ([0, 6, 3], [2, 6, 5]),
    "beyond-the-end": ([0, 7, 3], [2, 100, 5]),
    "negative-is-the-first": ([-1, 2, 3], [2, -5, 5]),
    "as-a-column": ([[0], [6], [3]], [[2], [6], [5]]),
}


@backends
@pytest.mark.parametrize(("starts", "ends"), POSITIONS.values(), ids=POSITIONS.keys())
def test_loss_of_answers(tmp_path: Path, name: str, starts: list[Any], ends: list[Any]) -> None:
    call = {"input_ids": ids(), "start_positions": np.array(starts), "end_positions": np.array(ends)}
    check(tmp_path, name, "question-answering", TINY.replace(num_labels=2), call)


@backends
@pytest.mark.parametrize("activation", ["gelu_new", "quick_gelu", "relu", "silu", "tanh", "mish"])
def test_activations(tmp_path: Path, name: str, activation: str) -> None:
    check(tmp_path, name, "masked-lm", TINY.replace(activation=activation), {"input_ids": ids()})


@backends
def test_pruned_heads(tmp_path: Path, name: str) -> None:
    model = oracle.hf_model("pt", "encoder", TINY)
    with oracle.quiet():
        model.prune_heads({0: [1, 2], 1: [3]})
    call = {"input_ids": ids(), "attention_mask": MASKS["holes"]}
    expected = oracle.run_hf("pt", model, call)
    mine = ours(name, "encoder", oracle.save_hf(model, tmp_path, {}))
    assert mine.config.pruned_heads == {0: (1, 2), 1: (3,)}
    assert_same_outputs(run(name, mine, call), expected)
