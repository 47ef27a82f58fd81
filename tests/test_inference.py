# SPDX-License-Identifier: Apache-2.0
"""The fast path against the plain model in every framework: same answers, for any lengths, neighbours and precision."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from distilbert import backend, spec
from distilbert.convert.tensor import FLOAT_DTYPES
from distilbert.errors import InputError, QualityError
from distilbert.inference.streaming import window_limits
from distilbert.outputs import ModelOutput
from distilbert.parity.measuring import relative_error
from distilbert.parity.running import running
from distilbert.parity.tolerances import BFLOAT16, FLOAT16, FLOAT32, INVARIANCE

from .samples import TINY, random_tensors, sample_call, task_config

LENGTHS = (3, 24, 1, 7, 7, 2, 48, 5, 33, 4, 7, 16, 17)
HALF = {"bfloat16": BFLOAT16, "float16": FLOAT16}
INT8_ERROR = 0.05  # relative to the largest value; what 8 bits with one scale for a token leave in this small model
INT8_NEIGHBOURS = 1e-5  # mean difference; 1e-7 was seen, and a scale for the whole batch makes it some 1e-2

backends = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(bool(row.missing), reason=f"{row.title} is not installed"))
        for name, row in backend.BACKENDS.items()
    ],
)
tasks = pytest.mark.parametrize("task", spec.TASKS)
USUAL = ("masked-lm", "sequence-classification")
usual_tasks = pytest.mark.parametrize(  # of the others only float32 is in every run
    "task", [task if task in USUAL else pytest.param(task, marks=pytest.mark.slow) for task in spec.TASKS]
)


class Pair:
    """A plain model and its fast copy, both called with NumPy arrays and answering with them."""

    def __init__(self, name: str, task: str, dtype: str = "float32", **changes: Any) -> None:
        self.task = task
        self.config = task_config(TINY, task).replace(**changes)
        tensors = random_tensors(self.config, task, std=0.1 if dtype in HALF else 0.2)
        # Half precision's bounds are for computing in it, not for weights that do not fit it. With std 0.2 and as many
        # words as here, the plain model in float16 is off by 2.3e-3 too.
        if dtype in HALF:
            tensors = {key: values.astype(FLOAT_DTYPES[dtype]).astype(np.float32) for key, values in tensors.items()}
        with running(name, task, self.config, tensors, "float32") as runner:
            self.runner = runner
        self.fast = self.runner.model.for_inference(dtype, max_drop=5)

    def plain(self, arguments: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return self._numbers(self.runner.call(arguments))

    def quick(self, arguments: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return self._numbers(self.fast(**arguments))

    def alone(self, item: Any) -> dict[str, np.ndarray]:
        """The plain model's answer to one item of a stream."""
        if self.task == "multiple-choice":
            parts = [self.plain({"input_ids": np.array([[choice]])})["logits"][0] for choice in item]
            return {"logits": np.concatenate(parts)}
        return {name: value[0] for name, value in self.plain({"input_ids": np.array([item])}).items()}

    def items(self, lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> list[Any]:
        random = np.random.default_rng(seed)
        sequences = [random.integers(0, self.config.vocab_size, length).tolist() for length in lengths]
        if self.task == "multiple-choice":
            return [[sequence, sequence[:2], sequence[:1]] for sequence in sequences]
        return sequences

    def error_of_run(self, items: list[Any]) -> float:
        """Of all numbers of a stream's answers, relative to the largest of them."""
        expected, found = [], []
        for item, answer in zip(items, self.fast.run(items), strict=True):
            alone = self.alone(item)
            assert {name: value.shape for name, value in answer.items()} == {k: v.shape for k, v in alone.items()}
            assert all(isinstance(value, np.ndarray) for value in answer.values())
            expected += [np.ravel(value) for value in alone.values()]
            found += [np.ravel(value) for value in answer.values()]
        return relative_error(np.concatenate(found), np.concatenate(expected))

    def _numbers(self, output: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {name: self.runner.to_numpy(value) for name, value in output.items()}


def alone_and_together(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Answers to sequences that were run one by one, and all at once."""
    runs = ((answer for item in pair.items() for answer in pair.fast.run([item])), pair.fast.run(pair.items()))
    alone, together = (np.concatenate([answer.last_hidden_state for answer in answers]) for answers in runs)
    return alone, together


def without_labels(call: dict[str, Any]) -> dict[str, Any]:
    return {name: call[name] for name in ("input_ids", "attention_mask", "position_ids") if name in call}


@backends
@tasks
def test_a_call_equals_the_model(name, task):
    pair = Pair(name, task)
    call = without_labels(sample_call(pair.config, task))
    full = {"input_ids": call["input_ids"]}
    for arguments in (full, call):
        expected, found = pair.plain(arguments), pair.quick(arguments)
        assert list(found) == list(expected)
        for field, value in expected.items():
            assert found[field].shape == value.shape
            assert relative_error(found[field], value) <= FLOAT32.bound


@backends
@tasks
def test_a_stream_equals_the_model_on_each_sequence_alone(name, task):
    pair = Pair(name, task)
    assert pair.error_of_run(pair.items()) <= INVARIANCE.bound


@backends
def test_a_wrong_weight_is_seen(name):
    """The mutation of the two tests above."""
    pair = Pair(name, "token-classification")
    tensors = random_tensors(pair.config, pair.task)
    tensors["distilbert.transformer.layer.1.ffn.lin1.weight"][3, 5] += 1e-2
    pair.runner.model.load_tensors(tensors)
    assert pair.error_of_run(pair.items()) > INVARIANCE.bound


@backends
def test_a_row_without_any_token_to_attend_to(name):
    pair = Pair(name, "encoder")
    ids = np.random.default_rng(0).integers(0, pair.config.vocab_size, (3, 11))
    mask = np.ones_like(ids)
    mask[1] = 0
    arguments = {"input_ids": ids, "attention_mask": mask}
    expected, found = pair.plain(arguments), pair.quick(arguments)
    assert np.isfinite(found["last_hidden_state"]).all()
    assert relative_error(found["last_hidden_state"], expected["last_hidden_state"]) <= FLOAT32.bound


@backends
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("task", USUAL)
def test_half_precision(name, task, dtype):
    pair = Pair(name, task, dtype)
    assert pair.fast.dtype == dtype
    assert pair.error_of_run(pair.items()) <= HALF[dtype].bound
    call = without_labels(sample_call(pair.config, task))
    assert relative_error(pair.quick(call)["logits"], pair.plain(call)["logits"]) <= HALF[dtype].bound


@backends
@usual_tasks
def test_int8(name, task):
    pair = Pair(name, task, "int8")
    assert FLOAT32.bound < pair.error_of_run(pair.items()) <= INT8_ERROR


@backends
def test_neighbours_do_not_matter(name):
    alone, together = alone_and_together(Pair(name, "encoder"))
    assert relative_error(together, alone) <= INVARIANCE.bound


@backends
def test_neighbours_do_not_matter_in_int8(name):
    """On average: a number between two of the 256 steps may be rounded the other way, which moves a few of them."""
    alone, together = alone_and_together(Pair(name, "encoder", "int8"))
    assert np.abs(together - alone).mean() <= INT8_NEIGHBOURS


@pytest.mark.skipif(bool(backend.BACKENDS["pt"].missing), reason="PyTorch is not installed")
def test_a_scale_for_the_whole_batch_is_seen(monkeypatch):
    """The mutation of the test above: all tokens share the scale of the largest one."""
    import torch

    largest = torch.Tensor.amax
    monkeypatch.setattr(
        torch.Tensor, "amax", lambda x, *axes, **options: torch.full_like(largest(x, *axes, **options), float(x.max()))
    )
    alone, together = alone_and_together(Pair("pt", "encoder", "int8"))
    assert np.abs(together - alone).mean() > INT8_NEIGHBOURS


@backends
@pytest.mark.parametrize("changes", [{"activation": "gelu_new"}, {"activation": "relu", "pruned_heads": {"0": [1]}}])
def test_other_configs(name, changes):
    pair = Pair(name, "masked-lm", **changes)
    assert pair.error_of_run(pair.items()) <= INVARIANCE.bound


@backends
def test_an_untied_projector(name):
    pair = Pair(name, "masked-lm", tie_word_embeddings=False)
    assert pair.error_of_run(pair.items()) <= INVARIANCE.bound


@backends
def test_the_form_of_answers(name):
    pair = Pair(name, "token-classification")
    ids = np.array([[5, 6, 7]])
    output = pair.fast(ids.tolist())
    assert isinstance(output, ModelOutput)
    assert isinstance(pair.fast(ids, return_dict=False), tuple)
    (answer,) = pair.fast.run([[5, 6, 7]])
    assert answer.logits.shape == (3, 3)
    assert answer.logits.dtype == np.float32
    assert list(pair.fast.run([])) == []


@backends
def test_a_stream_is_read_no_further_than_its_window(name):
    pair = Pair(name, "encoder")
    read = 0

    def endless() -> Iterator[list[int]]:
        nonlocal read
        for number in itertools.count():
            read += 1
            yield [number % 50] * 40

    answers = pair.fast.run(endless())
    for _ in range(3):
        next(answers)
    assert 3 <= read <= min(window_limits(pair.fast)) // 40 + 2


@backends
def test_what_the_fast_path_cannot_do_is_said(name):
    pair = Pair(name, "sequence-classification")
    ids = np.array([[1, 2, 3]])
    with pytest.raises(InputError, match=r"(?s)2 problems.*labels.*output_attentions.*call the model itself"):
        pair.fast(ids, labels=np.array([1]), output_attentions=True)
    with pytest.raises(InputError, match="4 axes"):
        pair.fast(ids, np.ones((1, 1, 3, 3)))
    with pytest.raises(InputError, match="expected ids from 0 to 98"):
        pair.fast(np.array([[1, 2, 300]]))
    for ids in ([[1, 2], [3]], [["word"]], "word"):
        with pytest.raises(InputError, match="input"):
            pair.fast(ids)
    with pytest.raises(InputError, match="dtype: expected one of"):
        pair.runner.model.for_inference("int4")


@backends
@pytest.mark.parametrize(
    ("item", "message"),
    [
        ([], "sequence 1: .*empty"),
        ([1] * 49, "sequence 1: expected at most max_position_embeddings 48 tokens, found 49"),
        ([1, 99], "sequence 1: expected ids from 0 to 98"),
        ([-1], "sequence 1: expected ids from 0 to 98"),
        ([0.5], "sequence 1: .*whole numbers"),
        ("text", "sequence 1: .*whole numbers"),
        ([[1], [2, 3]], "sequence 1: expected a list"),
        (7, "sequence 1: .*whole numbers"),
    ],
)
def test_a_bad_sequence_is_named(name, item, message):
    pair = Pair(name, "encoder")
    with pytest.raises(InputError, match=message):
        list(pair.fast.run([[1, 2], item]))


@backends
def test_int8_that_costs_too_much_is_refused(name):
    """One weight a thousand times as large as the others leaves these no bits."""
    pair = Pair(name, "sequence-classification")
    tensors = random_tensors(pair.config, pair.task)
    for layer in "01":
        tensors[f"distilbert.transformer.layer.{layer}.ffn.lin1.weight"][:, 0] = 100
        tensors[f"distilbert.transformer.layer.{layer}.attention.v_lin.weight"][:, 1] = 200
    pair.runner.model.load_tensors(tensors)
    with pytest.raises(QualityError, match=r"int8 on \w+: expected to lose at most 1 points"):
        pair.runner.model.for_inference("int8")
    assert pair.runner.model.for_inference("int8", max_drop=200).dtype == "int8"


@backends
def test_warming_up_and_a_snapshot(name):
    pair = Pair(name, "masked-lm")
    pair.fast.warm_up([5])
    before = next(pair.fast.run([[1, 2, 3]])).logits
    pair.runner.model.load_tensors(random_tensors(pair.config, pair.task, seed=9))
    assert np.array_equal(next(pair.fast.run([[1, 2, 3]])).logits, before)
