# SPDX-License-Identifier: Apache-2.0
"""Flax models against the NumPy reference where only JAX can go: compiled, with params apart, by JAX's own attention.

What all frameworks have in common is in test_parity.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from distilbert import reference, spec

from .flax_samples import SMALL, TASKS, flax_model, jax, relative, strict_jax  # noqa: F401
from .samples import random_tensors, sample_call, task_config

FLOAT64, FLOAT32 = 1e-11, 2e-6


def worst(output, expected) -> float:
    pairs = [(output[name], expected[name]) for name in output]
    flat = [pair for a, b in pairs for pair in (zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)])]
    return max(relative(a, b) for a, b in flat)


@pytest.mark.parametrize("task", TASKS)
def test_xla_attention_in_float32(task):
    model = flax_model(task)
    call = sample_call(model.config, task)
    expected = reference.forward(task, model.config, random_tensors(model.config, task, 0.2, np.float64), **call)
    model.set_attn_implementation("xla")
    assert worst(model(**call, output_hidden_states=True), expected) < FLOAT32
    assert worst(jax.jit(lambda model, call: model(**call))(model, call), expected) < FLOAT32


@pytest.mark.parametrize("task", TASKS)
def test_float64_compiled_with_gradients(task):
    config = task_config(SMALL, task)
    tensors = random_tensors(config, task, 0.2, np.float64)
    call = sample_call(config, task)
    expected = reference.forward(task, config, tensors, **call)
    with jax.enable_x64(True):
        model = flax_model(task, SMALL, "float64")

        def run(params, call):
            output = model(**call, params=params, output_hidden_states=True)
            return output.get("loss", 0.0), output

        (_, output), gradients = jax.jit(jax.value_and_grad(run, has_aux=True))(model.params, call)
        assert worst(output, expected) < FLOAT64
        model.params = gradients
        found = model.dump_tensors()
    if task == "encoder":
        return
    wanted = reference.gradients(task, config, tensors, **call)
    largest = max(np.abs(gradient).max() for gradient in wanted.values())
    assert found.keys() == wanted.keys()
    assert max(np.abs(found[name] - wanted[name]).max() for name in wanted) < FLOAT64 * largest


def test_xla_attention_with_every_mask():
    model = flax_model("encoder", SMALL)
    model.set_attn_implementation("xla")
    tensors = random_tensors(SMALL, "encoder", 0.2, np.float64)
    ids = sample_call(SMALL, "encoder")["input_ids"]
    random = np.random.default_rng(1)
    keep = random.random((3, 4, 7, 7)) < 0.6
    for options in (
        {"head_mask": np.array([1, 0, 0.5, 2.0])},
        {"head_mask": np.array([[1, 0, 0.5, 2.0]])},
        {"attention_mask": keep},
        {"attention_mask": keep[:, :1].astype(np.int64)},
        {"attention_mask": np.where(keep, 0, -np.inf)[:1]},
        {"attention_mask": np.zeros((3, 7), np.int64)},
    ):
        expected = reference.forward("encoder", SMALL, tensors, input_ids=ids, **options)
        assert relative(model(ids, **options)[0], expected[0]) < FLOAT32


@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 2e-2), ("float16", 2e-3)])
def test_xla_attention_in_half_precision(dtype, bound):
    full, half = flax_model("masked-lm", std=0.05), flax_model("masked-lm", dtype=dtype, std=0.05)
    half.set_attn_implementation("xla")
    call = sample_call(full.config, "masked-lm")
    call["attention_mask"][1] = 0
    with jax.numpy_dtype_promotion("standard"):  # JAX's own attention is not written for "strict"
        output = jax.jit(lambda model, call: model(**call))(half, call)
    expected = full(**call)
    assert output.logits.dtype == dtype
    assert output.loss.dtype == "float32"
    assert relative(output.logits, np.asarray(expected.logits)) < bound
    assert relative(output.loss, np.asarray(expected.loss)) < bound


def test_float32_products_keep_their_precision_on_every_device():
    model = flax_model("encoder", SMALL)
    ids = np.ones((1, 4), np.int32)

    def products() -> list[str]:
        lines = str(jax.make_jaxpr(lambda ids: model(ids)[0])(ids)).split("dot_general[")[1:]
        return [line[: line.index("]\n") if "]\n" in line else 300] for line in lines]

    assert len(products()) >= 8
    assert all("HIGHEST" in product for product in products())
    with jax.default_matmul_precision("default"):  # the user's choice stands
        assert not any("HIGHEST" in product for product in products())


def test_spec_covers_every_variable():
    from distilbert.flax.params import variables

    for task in TASKS:
        for tied in (True, False):
            model = flax_model(task, SMALL.replace(tie_word_embeddings=tied))
            own = {name: value.shape for name, value in variables(model).items()}
            expected = {
                spec.native_name(tensor, "flax"): tensor.shape[::-1] if tensor.transposed else tensor.shape
                for tensor in model.tensor_specs.values()
            }
            assert own == expected
