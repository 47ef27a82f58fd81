# SPDX-License-Identifier: Apache-2.0
"""What only TensorFlow's fast path has: two graphs that are compiled once, and kernels that are chosen by pattern."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
import tensorflow as tf
from tensorflow.python.eager import context

from distilbert import tf as models
from distilbert.errors import InputError
from distilbert.reference import LAYER_NORM_EPS
from distilbert.tf import inference, kernels
from distilbert.tf.keras_model import dtype_policy

from .samples import TINY, random_tensors

RANDOM = np.random.default_rng(0)
IDS = RANDOM.integers(1, TINY.vocab_size, (5, 24))
MASK = np.array([[1] * 24, [1] * 20 + [0] * 4, [0] * 3 + [1] * 21, [0] * 24, [1] + [0] * 23])


@pytest.fixture(scope="module")
def model():
    return loaded(models.DistilBertModel)


def loaded(cls, dtype=np.float32):
    with dtype_policy(keras.DTypePolicy(np.dtype(dtype).name)):
        model = cls(TINY, seed=0)
    model.load_tensors(random_tensors(TINY, cls.task, dtype=dtype))
    return model


def error(found, expected):
    found, expected = (np.asarray(values, np.float64) for values in (found, expected))
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("cls", [models.DistilBertModel, models.DistilBertForMaskedLM])
def test_at_most_two_graphs_are_ever_compiled(cls, monkeypatch):
    traces = []
    encoder = inference.Encoder.__call__
    monkeypatch.setattr(
        inference.Encoder, "__call__", lambda self, *inputs: traces.append(inputs[-1]) or encoder(self, *inputs)
    )
    fast = loaded(cls).for_inference()
    assert traces == []
    for batch, length in ((1, 5), (1, 16), (2, 32), (3, 24), (5, 24), (1, 48)):
        ids = np.resize(IDS, (batch, length))
        fast(ids)
        fast(ids, np.ones_like(ids), position_ids=np.arange(length))
    list(fast.run([np.resize(IDS, length) for length in (1, 2, 9, 31, 48, 48, 48)]))
    fast.warm_up()
    if fast.task == "masked-lm":
        fast.warm_up(places=2)
    assert traces == [False, True]


@pytest.mark.parametrize("rows", [2, 5], ids=["few tokens", "many tokens"])
def test_both_graphs_give_the_numbers_of_the_model(model, rows):
    fast = model.for_inference()
    expected = model(IDS[:rows], MASK[:rows]).last_hidden_state
    assert error(fast(IDS[:rows], MASK[:rows]).last_hidden_state, expected) < 2e-6


def test_a_large_batch_is_worked_on_in_pieces(model, monkeypatch):
    monkeypatch.setattr(inference.FastModel, "tokens_per_pack", 50)
    found = model.for_inference()(IDS, MASK).last_hidden_state
    assert error(found, model(IDS, MASK).last_hidden_state) < 2e-6


@pytest.mark.parametrize("embedded", [True, False])
def test_weights_too_large_for_a_graph_stay_beside_it(model, monkeypatch, embedded):
    if not embedded:
        monkeypatch.setattr(inference, "MAX_EMBEDDED_BYTES", 0)
    fast = model.for_inference()
    assert error(fast(IDS).last_hidden_state, model(IDS).last_hidden_state) < 2e-6
    captured = {tuple(tensor.shape) for tensor in fast.many.captured_inputs}
    assert ((TINY.dim, 3 * TINY.dim) in captured) is not embedded
    assert (TINY.vocab_size, TINY.dim) in captured


def test_several_texts_share_a_row(model):
    pooled = loaded(models.DistilBertForSequenceClassification)
    texts = [IDS[0, :length].tolist() for length in (9, 1, 24, 2, 2, 7, 13, 24, 1)]
    for text, answer in zip(texts, pooled.for_inference().run(texts), strict=True):
        assert answer.logits.dtype == np.float32
        np.testing.assert_allclose(answer.logits, pooled(np.array([text])).logits[0], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_mixed_policy_of_keras_does_not_reach_the_fast_path(model, policy):
    with dtype_policy(keras.DTypePolicy(policy)):
        mixed = models.DistilBertModel(TINY, seed=0)
    mixed.load_tensors(random_tensors(TINY, "encoder"))
    answer = mixed.for_inference()(IDS, MASK).last_hidden_state
    assert answer.dtype == tf.float32
    assert error(answer, model(IDS, MASK).last_hidden_state) < 2e-6


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_model_in_half_precision(model, dtype):
    half = loaded(models.DistilBertModel, np.float16)
    answer = half.for_inference(dtype)(IDS, MASK).last_hidden_state
    assert answer.dtype == tf.float32
    assert error(answer, model(IDS, MASK).last_hidden_state) < 4e-3


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_fully_masked_row_is_finite_in_half_precision(model, dtype):
    found = model.for_inference(dtype)(IDS, MASK).last_hidden_state
    assert error(tf.cast(found, tf.float32), model(IDS, MASK).last_hidden_state) < 3e-2


@pytest.mark.parametrize("scale", [1e-4, 1.0, 100.0])
@pytest.mark.parametrize("large", [False, True])
def test_layer_norm_keeps_its_epsilon_and_precision(scale, large):
    x, weight, bias = (RANDOM.standard_normal(shape).astype(np.float32) for shape in ((70, 64), 64, 64))
    x = x * np.float32(scale)
    norm = kernels.LayerNorm(weight, bias, on_gpu=False)
    found = tf.function(lambda x: norm(x, large), autograph=False)(x)
    wide = x.astype(np.float64)
    deviation = np.sqrt(wide.var(1, keepdims=True) + LAYER_NORM_EPS)
    assert error(found, (wide - wide.mean(1, keepdims=True)) / deviation * weight + bias) < 2e-6


def test_products_of_8_bit_numbers_are_exact(monkeypatch):
    x, kernel, bias = (RANDOM.standard_normal(shape).astype(np.float32) for shape in ((70, 48), (48, 32), 32))
    compute = tf.function(lambda layer: layer(tf.constant(x)), autograph=False)
    found = compute(kernels.Int8Linear(kernel, bias, on_gpu=False))
    monkeypatch.setattr(kernels, "onednn_has_int8", lambda: False)
    assert error(found, compute(kernels.Int8Linear(kernel, bias, on_gpu=False))) < 1e-6
    assert 0 < error(found, x @ kernel + bias) < 2e-2


def test_the_compiler_finds_the_patterns(model):
    """One kernel each for a product with what follows it, for scores with their mask, and for a layer norm."""
    if not kernels.onednn_has_int8():
        pytest.skip("TensorFlow has no oneDNN here")
    fast = model.for_inference()
    context.enable_run_metadata()
    try:
        fast(IDS, MASK)
        metadata = context.context().export_run_metadata()
    finally:
        context.disable_run_metadata()
    nodes = [node for graphs in metadata.function_graphs for node in graphs.post_optimization_graph.node]
    fused = [tuple(node.attr["fused_ops"].list.s) for node in nodes if node.op == "_FusedMatMul"]
    assert fused.count((b"BiasAdd", b"Add")) == 2 * TINY.n_layers
    assert fused.count((b"BiasAdd", b"GeluExact")) == TINY.n_layers
    names = [node.op for node in nodes]
    assert sum("FusedBatchMatMul" in name for name in names) == TINY.n_layers
    assert names.count("_MklLayerNorm") == 2 * TINY.n_layers + 1


@pytest.mark.parametrize("value", [{1, 2}, [[1, 2], [3]], "words", object()])
def test_what_is_no_tensor_is_refused(model, value):
    with pytest.raises(InputError, match="input"):
        model.for_inference()(value)


def test_inside_a_compiled_function_the_model_itself_is_called(model):
    fast = model.for_inference()
    with pytest.raises(InputError, match="the model itself"):
        tf.function(lambda ids: fast(ids).last_hidden_state, autograph=False)(tf.constant(IDS))
