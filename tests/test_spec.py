# SPDX-License-Identifier: Apache-2.0
"""The rows of spec.py: counts, names in every dialect, and the way back."""

from __future__ import annotations

import math

import pytest

from distilbert import DistilBertConfig, spec

# Parameters at the default config with two labels, as transformers counts them.
PARAMETERS = {
    "encoder": 66_362_880,
    "masked-lm": 66_985_530,
    "sequence-classification": 66_955_010,
    "multiple-choice": 66_954_241,
    "token-classification": 66_364_418,
    "question-answering": 66_364_418,
}


@pytest.mark.parametrize("task", spec.TASKS)
def test_parameter_counts(task):
    tensors = spec.tensors(DistilBertConfig(), task)
    assert sum(math.prod(tensor.shape) for tensor in tensors.values()) == PARAMETERS[task]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("task", spec.TASKS)
def test_names_and_shapes_are_transformers(task, tied):
    transformers = pytest.importorskip("transformers")
    config = DistilBertConfig(vocab_size=50, dim=12, n_heads=3, hidden_dim=20, n_layers=2, tie_word_embeddings=tied)
    theirs = getattr(transformers, spec.TASKS[task].class_name)(transformers.DistilBertConfig(**config.to_dict()))
    expected = {name: tuple(values.shape) for name, values in theirs.state_dict().items()}
    if tied:
        expected.pop(spec.PROJECTOR, None)
    assert {name: tensor.shape for name, tensor in spec.tensors(config, task).items()} == expected


@pytest.mark.parametrize("dialect", ["pt", "tf", "flax"])
@pytest.mark.parametrize("task", spec.TASKS)
def test_every_name_comes_back(task, dialect):
    config = DistilBertConfig(n_layers=11, tie_word_embeddings=False)
    tensors = spec.tensors(config, task)
    natives = {spec.native_name(tensor, dialect): tensor for tensor in tensors.values()}
    assert len(natives) == len(tensors)
    for native, tensor in natives.items():
        name, transposed = spec.parse_native_name(native)
        assert spec.with_prefix(name) == spec.with_prefix(tensor.name)
        assert transposed == (tensor.transposed and dialect != "pt")


def test_known_spellings():
    tensors = spec.tensors(DistilBertConfig(), "encoder")
    assert spec.native_name(tensors["embeddings.word_embeddings.weight"], "tf") == (
        "distilbert/embeddings/word_embeddings/weight:0"
    )
    assert spec.native_name(tensors["embeddings.position_embeddings.weight"], "tf") == (
        "distilbert/embeddings/position_embeddings/embeddings:0"
    )
    assert spec.native_name(tensors["transformer.layer.3.ffn.lin1.weight"], "tf") == (
        "distilbert/transformer/layer_._3/ffn/lin1/kernel:0"
    )
    assert spec.native_name(tensors["transformer.layer.3.sa_layer_norm.weight"], "flax") == (
        "transformer/layer/3/sa_layer_norm/scale"
    )


def test_pruned_heads_narrow_their_layer_only():
    config = DistilBertConfig(dim=12, n_heads=3, n_layers=2, pruned_heads={1: [0]})
    tensors = spec.tensors(config, "encoder")
    assert tensors["transformer.layer.0.attention.q_lin.weight"].shape == (12, 12)
    assert tensors["transformer.layer.1.attention.q_lin.weight"].shape == (8, 12)
    assert tensors["transformer.layer.1.attention.q_lin.bias"].shape == (8,)
    assert tensors["transformer.layer.1.attention.out_lin.weight"].shape == (12, 8)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("fill-mask", "masked-lm"),
        ("ner", "token-classification"),
        ("TFDistilBertForMultipleChoice", "multiple-choice"),
        ("FlaxDistilBertModel", "encoder"),
    ],
)
def test_tasks_by_other_names(name, task):
    assert spec.find_task(name).name == task


def test_unknown_task():
    with pytest.raises(ValueError, match="one of encoder or feature-extraction, masked-lm or fill-mask, "):
        spec.find_task("translation")
