# SPDX-License-Identifier: Apache-2.0
"""What docs/where-frameworks-differ.md says and no other test pins: one answer to a call, in all three frameworks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distilbert import backend, spec
from distilbert.errors import InputError

from .samples import TINY, random_tensors, sample_call, task_config
from .test_parity import backends, build, tasks

IDS = np.array([[5, 6, 7]], np.int32)
LONGEST = TINY.max_position_embeddings


def as_tensors(name: str, call: dict[str, Any]) -> dict[str, Any]:
    """PyTorch takes tensors only."""
    if name != "pt":
        return call
    import torch

    return {key: torch.tensor(value) if isinstance(value, np.ndarray) else value for key, value in call.items()}


def model_of(name: str, task: str = "encoder") -> Any:
    config = task_config(TINY, task)
    return build(name, task, config, random_tensors(config, task), "float32")


def numbers(value: Any) -> np.ndarray:
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


REFUSED = {
    "an id beyond the vocabulary": ("encoder", {"input_ids": np.array([[99]])}, "ids from 0 to 98"),
    "a negative id": ("encoder", {"input_ids": np.array([[-1]])}, "ids from 0 to 98"),
    "too many tokens": ("encoder", {"input_ids": np.ones((1, LONGEST + 1), np.int32)}, "at most max_position_embedd"),
    "a position beyond the table": ("encoder", {"input_ids": IDS, "position_ids": IDS + LONGEST}, "position_ids"),
    "a 3-D mask": ("encoder", {"input_ids": IDS, "attention_mask": np.ones((1, 3, 3), np.int32)}, "attention_mask"),
    "ids and vectors": ("encoder", {"input_ids": IDS, "inputs_embeds": np.ones((1, 3, 32), np.float32)}, "found both"),
    "neither": ("encoder", {}, "found neither"),
    "ids that are no whole numbers": ("encoder", {"input_ids": np.ones((1, 3), np.float32)}, "whole numbers"),
    "a label out of range": ("token-classification", {"input_ids": IDS, "labels": IDS}, "classes 0 to 2"),
    "a label for other tokens": (
        "token-classification",
        {"input_ids": IDS, "labels": IDS[:, :2] * 0},
        "expected shape",
    ),
    "a start without an end": ("question-answering", {"input_ids": IDS, "start_positions": IDS[0, :1]}, "together"),
    "choices without their axis": ("multiple-choice", {"input_ids": IDS}, r"\(B, C, T\)"),
}


@backends
@pytest.mark.parametrize("case", REFUSED)
def test_refused_calls(name, case):
    task, call, message = REFUSED[case]
    model = model_of(name, task)
    with pytest.raises(InputError, match=message):
        model(**as_tensors(name, call))


@backends
def test_all_problems_of_a_call_are_listed(name):
    call = {"input_ids": np.array([[99, 1]]), "attention_mask": np.ones((2, 2), np.int32), "head_mask": np.ones(3)}
    with pytest.raises(InputError) as caught:
        model_of(name)(**as_tensors(name, call))
    assert all(part in str(caught.value) for part in ("3 problems", "input_ids", "attention_mask", "head_mask"))


@backends
def test_unknown_keywords(name):
    with pytest.raises(TypeError, match="attention_masks"):
        model_of(name)(**as_tensors(name, {"input_ids": IDS, "attention_masks": IDS}))


@backends
def test_token_types_are_ignored(name):
    model = model_of(name)
    call = as_tensors(name, {"input_ids": IDS})
    types = as_tensors(name, {"token_type_ids": np.ones_like(IDS)})
    assert np.array_equal(numbers(model(**call, **types)[0]), numbers(model(**call)[0]))


@backends
@tasks
def test_tuple_form(name, task):
    """The fields in the order of the class, none lost: the loss if there are labels, then what was asked for."""
    model = model_of(name, task)
    call = as_tensors(name, sample_call(model.config, task))
    for wanted in ({}, {"output_hidden_states": True}, {"output_hidden_states": True, "output_attentions": True}):
        named = model(**call, **wanted)
        plain = model(**call, **wanted, return_dict=False)
        assert list(named) == [field for field in named.FIELDS if field in named]
        assert isinstance(plain, tuple)
        assert len(plain) == len(named)
        for one, field in zip(plain, named, strict=True):
            many = isinstance(one, tuple | list)
            for a, b in zip(one if many else [one], named[field] if many else [named[field]], strict=True):
                assert np.array_equal(numbers(a), numbers(b))


@backends
def test_compiled_calls_never_make_nan(name):
    """In compiled code values cannot be checked: the nearest row is taken, and PyTorch's kernel raises an error."""
    model = model_of(name)
    wrong, nearest = np.array([[120, -4, 7]], np.int32), np.array([[98, 0, 7]], np.int32)
    if name == "pt":
        import torch

        compiled = torch.compile(model, backend="eager")
        with pytest.raises(IndexError):
            compiled(torch.tensor(wrong))
        return
    if name == "tf":
        import tensorflow as tf

        compiled = tf.function(lambda ids: model(ids).last_hidden_state)
        found, expected = compiled(tf.constant(wrong)), compiled(tf.constant(nearest))
    else:
        import jax

        compiled = jax.jit(lambda ids: model(ids).last_hidden_state)
        found, expected = compiled(wrong), compiled(nearest)
    assert np.isfinite(numbers(found)).all()
    assert np.array_equal(numbers(found), numbers(expected))


def test_the_six_classes_have_the_same_names_everywhere():
    for name, row in backend.BACKENDS.items():
        if not row.missing:
            module = backend.load(name, "the tests")
            assert {task.class_name for task in spec.TASKS.values()} <= set(module.__all__)
