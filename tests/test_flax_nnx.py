# SPDX-License-Identifier: Apache-2.0
"""A Flax model as a Flax NNX module: transformations, state, modes, optimizers, and rematerialisation."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

from distilbert.errors import InputError

from .conftest import REPOSITORY
from .flax_samples import SMALL, flax_model, jax, strict_jax  # noqa: F401
from .samples import sample_call

CALL = sample_call(SMALL, "sequence-classification")


@pytest.fixture(scope="module")
def nnx():
    from flax import nnx

    return nnx


@pytest.fixture
def model():
    return flax_model("sequence-classification", SMALL)


def test_compiled(model, nnx):
    expected = np.asarray(model(**CALL).logits)
    graph, state = nnx.split(model)
    for found in (
        jax.jit(model)(**CALL).logits,
        jax.jit(lambda model, call: model(**call))(model, CALL).logits,
        nnx.jit(lambda model, call: model(**call))(model, CALL).logits,
        jax.jit(lambda state, call: nnx.merge(graph, state)(**call))(state, CALL).logits,
    ):
        assert np.allclose(found, expected, atol=1e-6)


def test_paths(model, nnx):
    assert isinstance(model.distilbert.transformer.layer[0].attention.q_lin.kernel, nnx.Param)
    assert isinstance(model.distilbert.embeddings.position_embeddings.embedding, nnx.Param)
    assert len(jax.tree.leaves(nnx.state(model, nnx.Param))) == len(model.tensor_specs)
    assert jax.tree.leaves(nnx.state(model, nnx.RngState)) == []


def test_sinusoidal_positions_are_no_param(nnx):
    model = flax_model("encoder", SMALL.replace(sinusoidal_pos_embds=True))
    assert not isinstance(model.embeddings.position_embeddings.embedding, nnx.Param)
    assert len(jax.tree.leaves(nnx.state(model, nnx.Param))) == len(model.tensor_specs) - 1


def test_copies(model, nnx):
    expected = np.asarray(model(**CALL).logits)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), nnx.clone(model)):
        model.classifier.bias[...] += 1
        assert np.array_equal(other(**CALL).logits, expected)
        model.classifier.bias[...] -= 1


def test_compiled_functions_are_reused(model):
    traces = []

    @jax.jit
    def run(model, call):
        traces.append(1)
        return model(**call).logits

    run(model, CALL)
    run(flax_model("sequence-classification", SMALL, std=0.1), CALL)
    assert len(traces) == 1


def test_optimizer(model, nnx):
    optax = pytest.importorskip("optax")
    optimizer = nnx.Optimizer(model, optax.adamw(1e-2), wrt=nnx.Param)
    call = {**CALL, "labels": np.array([0, 1, 1])}

    @nnx.jit
    def step(model, optimizer):
        def loss(model):
            return model(**call).loss

        value, gradients = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradients)
        return value

    with jax.numpy_dtype_promotion("standard"):  # optax is not written for "strict"
        losses = [float(step(model, optimizer)) for _ in range(20)]
    assert np.mean(losses[-5:]) < 0.3 * np.mean(losses[:5])


def test_modes(model, nnx):
    expected = np.asarray(model(**CALL).logits)
    key = jax.random.key(0)
    model.train()
    with pytest.raises(InputError, match="dropout_rng"):
        model(**CALL)
    assert not np.allclose(model(**CALL, dropout_rng=key).logits, expected)
    assert np.array_equal(model(**CALL, train=False).logits, expected)
    model.eval()
    assert np.array_equal(model(**CALL, dropout_rng=key).logits, expected)
    training = nnx.view(model, deterministic=False)
    assert not np.allclose(training(**CALL, dropout_rng=key).logits, expected)
    assert np.array_equal(model(**CALL, dropout_rng=key).logits, expected)


def test_gradient_checkpointing_changes_no_number():
    key = jax.random.key(3, impl="rbg")  # compiles faster than the default
    model = flax_model("token-classification", SMALL)
    call = sample_call(SMALL, "token-classification")

    def gradients():
        def loss(params):
            return model(**call, params=params, dropout_rng=key, train=True, output_attentions=True).loss

        return jax.jit(jax.grad(loss)).trace(model.params)

    plain = gradients()
    assert "remat" not in str(plain.jaxpr)
    model.gradient_checkpointing_enable()
    checkpointed = gradients()
    assert str(checkpointed.jaxpr).count("remat") >= 1
    a, b = (jax.tree.leaves(traced.lower().compile()(model.params)) for traced in (plain, checkpointed))
    assert all(np.allclose(x, y, atol=1e-6 * max(1, np.abs(x).max())) for x, y in zip(a, b, strict=True))
    model.gradient_checkpointing_disable()
    assert "remat" not in str(gradients().jaxpr)


def test_vmap_over_models(model):
    other = flax_model("sequence-classification", SMALL, std=0.1)
    stacked = jax.tree.map(lambda a, b: jax.numpy.stack([a, b]), model.params, other.params)
    both = jax.vmap(lambda params: model(**CALL, params=params).logits)(stacked)
    assert np.allclose(both, [model(**CALL).logits, other(**CALL).logits], atol=1e-6)


def test_a_file_of_the_package_run_as_a_script_says_so():
    folder = REPOSITORY / "distilbert"
    program = f"import sys; sys.path.insert(0, {str(folder)!r}); import flax"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "ImportError: distilbert/flax was found in place of flax" in result.stderr
