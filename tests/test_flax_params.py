# SPDX-License-Identifier: Apache-2.0
"""The Linen-era way to use a Flax model: parameters as nested dicts, given and taken apart from the model."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from distilbert import spec
from distilbert.errors import InputError, WeightsError

from .flax_samples import SMALL, TASKS, flax_model, jax, strict_jax  # noqa: F401
from .samples import random_tensors, sample_call

IDS = np.array([[5, 6, 7, 8], [9, 1, 0, 0]])
KERNEL = ("distilbert", "transformer", "layer", "0", "attention", "q_lin", "kernel")


def at(params, path):
    for name in path:
        params = params[name]
    return params


@pytest.fixture(scope="module")
def model():
    return flax_model("sequence-classification", SMALL)


@pytest.mark.parametrize("task", TASKS)
def test_paths_are_those_of_the_file(task):
    model = flax_model(task, SMALL)
    found = {
        jax.tree_util.keystr(path, simple=True, separator="/"): value.shape
        for path, value in jax.tree_util.tree_flatten_with_path(model.params)[0]
    }
    assert sorted(found) == sorted(spec.native_name(tensor, "flax") for tensor in model.tensor_specs.values())
    shapes = jax.tree.map(lambda value: value.shape, model.params_shape_tree)
    assert jax.tree.map(lambda value: value.shape, model.params) == shapes


def test_layers_with_two_digits_stay_in_order():
    config = SMALL.replace(n_layers=11)
    model, other = flax_model("encoder", config), flax_model("encoder", config, std=0.1)
    assert not np.allclose(model(IDS)[0], other(IDS)[0])
    assert np.array_equal(model(IDS, params=other.params)[0], other(IDS)[0])


def test_params_are_the_arrays_themselves(model):
    kernel = model.distilbert.transformer.layer[0].attention.q_lin.kernel
    assert at(model.params, KERNEL) is kernel.get_value()
    weight = random_tensors(SMALL, "sequence-classification")["distilbert.transformer.layer.0.attention.q_lin.weight"]
    assert np.array_equal(at(model.params, KERNEL), weight.T)


def test_a_call_with_params_leaves_the_model_alone(model):
    before = model.params
    logits = np.asarray(model(IDS).logits)
    zeros = jax.tree.map(np.zeros_like, before)
    assert not model(IDS, params=zeros).logits.any()
    assert np.array_equal(model(IDS).logits, logits)
    assert all(map(lambda a, b: a is b, jax.tree.leaves(before), jax.tree.leaves(model.params)))


def test_frozen_params(model):
    from flax.core import freeze

    assert np.array_equal(model(IDS, params=freeze(model.params)).logits, model(IDS).logits)


def test_jit_and_grad(model):
    logits = jax.jit(lambda params, ids: model(ids, params=params).logits)(model.params, IDS)
    assert np.allclose(logits, model(IDS).logits, atol=1e-6)
    labels = np.array([0, 1])
    gradients = jax.jit(jax.grad(lambda params: model(IDS, labels=labels, params=params).loss))(model.params)
    assert jax.tree.structure(gradients) == jax.tree.structure(model.params)
    table = np.asarray(gradients["distilbert"]["embeddings"]["word_embeddings"]["embedding"])
    assert not table[SMALL.pad_token_id].any()
    assert table[[1, 5, 9]].any(1).all()


def test_sinusoidal_positions_get_no_gradient():
    model = flax_model("token-classification", SMALL.replace(sinusoidal_pos_embds=True))
    labels = np.zeros_like(IDS)
    gradients = jax.jit(jax.grad(lambda params: model(IDS, labels=labels, params=params).loss))(model.params)
    tables = gradients["distilbert"]["embeddings"]
    assert not np.asarray(tables["position_embeddings"]["embedding"]).any()
    assert np.asarray(tables["word_embeddings"]["embedding"]).any()


def test_setter(model):
    other = flax_model("sequence-classification", SMALL, std=0.1)
    other.params = jax.tree.map(np.asarray, model.params)
    assert np.array_equal(other(IDS).logits, model(IDS).logits)


def test_wrong_params_are_listed_at_once(model):
    params = jax.tree.map(np.asarray, model.params)
    del params["classifier"]["bias"]
    params["pooler"] = {"kernel": np.ones(3)}
    params["classifier"]["kernel"] = np.ones((2, 32))
    expected = [
        "params: 3 problems",
        "classifier/bias: missing",
        "pooler/kernel: unexpected",
        r"classifier/kernel: expected shape \(32, 2\), found \(2, 32\)",
    ]
    with pytest.raises(WeightsError, match="(?s)" + ".*".join(expected)):
        model.params = params
    with pytest.raises(WeightsError, match="3 problems"):
        model(IDS, params=params)


def test_float_types(model):
    for cast, dtype in ((model.to_bf16, "bfloat16"), (model.to_fp16, "float16"), (model.to_fp32, "float32")):
        assert {str(value.dtype) for value in jax.tree.leaves(cast(model.params))} == {dtype}
    assert model(IDS, params=model.to_bf16(model.params)).logits.dtype == "float32"


def test_mixed_precision(model):
    half = type(model)(model.config, dtype="bfloat16", _do_init=False)

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def run(params):
        output = half(IDS, labels=np.array([0, 1]), params=params)
        return output.loss, output.logits

    (loss, logits), gradients = run(model.params)
    assert logits.dtype == "bfloat16"
    assert loss.dtype == "float32"
    assert {str(value.dtype) for value in jax.tree.leaves(gradients)} == {"float32"}


def test_a_model_without_values(model):
    empty = type(model)(model.config, input_shape=(1, 128), _do_init=False)
    with pytest.raises(InputError, match="_do_init=False"):
        empty(IDS)
    with pytest.raises(InputError, match="init_weights"):
        _ = empty.params
    with pytest.raises(InputError, match="init_weights"):
        empty.resize_token_embeddings(120)
    shapes = jax.tree.map(lambda value: value.shape, empty.params_shape_tree)
    params = empty.init_weights(jax.random.key(0), (1, 1))
    assert jax.tree.map(lambda value: value.shape, params) == shapes
    assert np.array_equal(empty(IDS, params=model.params).logits, model(IDS).logits)
    empty.params = params
    assert np.array_equal(empty(IDS).logits, model(IDS, params=params).logits)
    assert not np.array_equal(at(params, KERNEL), at(empty.init_weights(jax.random.key(1)), KERNEL))


def test_files(model, tmp_path):
    scaled = jax.tree.map(lambda value: value * 2, model.params)
    model.save_pretrained(tmp_path, params=scaled, format="flax")
    loaded, params = type(model).from_pretrained(tmp_path, _do_init=False)
    assert loaded.is_empty
    assert jax.tree.all(jax.tree.map(np.array_equal, params, scaled))
    whole, info = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == []
    assert np.array_equal(whole(IDS).logits, loaded(IDS, params=params).logits)


def test_training_with_optax(model):
    optax = pytest.importorskip("optax")
    call = {**sample_call(SMALL, "sequence-classification"), "labels": np.array([0, 1, 1])}
    optimizer = optax.adamw(1e-2)

    @jax.jit
    def step(params, state, key):
        def loss(params):
            return model(**call, params=params, dropout_rng=key, train=True).loss

        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    with jax.numpy_dtype_promotion("standard"):  # optax is not written for "strict"
        params, state = model.params, optimizer.init(model.params)
        losses = []
        for key in jax.random.split(jax.random.key(0, impl="rbg"), 20):  # compiles faster than the default
            params, state, loss = step(params, state, key)
            losses.append(float(loss))
    assert np.mean(losses[-5:]) < 0.3 * np.mean(losses[:5])
