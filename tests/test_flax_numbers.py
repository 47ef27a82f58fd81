# SPDX-License-Identifier: Apache-2.0
"""The Flax models against the NumPy reference: outputs and gradients, op by op, compiled, and with params apart."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert import reference, spec
from distilbert.config import ACTIVATIONS

from .flax_samples import SMALL, TASKS, flax_model, jax, relative, strict_jax  # noqa: F401
from .samples import TINY, random_tensors, sample_call, task_config

FLOAT64, FLOAT32 = 1e-11, 2e-6


def worst(output, expected) -> float:
    pairs = [(output[name], expected[name]) for name in output]
    flat = [pair for a, b in pairs for pair in (zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)])]
    return max(relative(a, b) for a, b in flat)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("std", [0.2, 0.02])
def test_float32_op_by_op(task, std):
    model = flax_model(task, std=std)
    call = sample_call(model.config, task)
    expected = reference.forward(task, model.config, random_tensors(model.config, task, std, np.float64), **call)
    output = model(**call, output_hidden_states=True, output_attentions=True)
    assert list(output) == list(expected)
    assert worst(output, expected) < FLOAT32
    model.set_attn_implementation("xla")
    assert worst(model(**call, output_hidden_states=True), expected) < FLOAT32


@pytest.mark.parametrize("task", TASKS)
def test_float64_compiled_with_gradients(task):
    config = task_config(TINY, task)
    tensors = random_tensors(config, task, 0.2, np.float64)
    call = sample_call(config, task)
    expected = reference.forward(task, config, tensors, **call)
    with jax.enable_x64(True):
        model = flax_model(task, TINY, "float64")

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


def test_head_mask_and_additive_masks():
    model = flax_model("encoder", SMALL)
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
        for implementation in ("eager", "xla"):
            model.set_attn_implementation(implementation)
            assert relative(model(ids, **options)[0], expected[0]) < FLOAT32


@pytest.mark.parametrize("implementation", ["eager", "xla"])
@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 2e-2), ("float16", 2e-3)])
def test_half_precision(dtype, bound, implementation):
    full, half = flax_model("masked-lm", std=0.05), flax_model("masked-lm", dtype=dtype, std=0.05)
    half.set_attn_implementation(implementation)
    call = sample_call(full.config, "masked-lm")
    call["attention_mask"][1] = 0
    with jax.numpy_dtype_promotion("standard"):  # JAX's own attention is not written for "strict"
        output = jax.jit(lambda model, call: model(**call))(half, call)
    expected = full(**call)
    assert output.logits.dtype == dtype
    assert output.loss.dtype == "float32"
    assert relative(output.logits, np.asarray(expected.logits)) < bound
    assert relative(output.loss, np.asarray(expected.loss)) < bound


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    from distilbert.flax.activations import ACTIVATIONS as FUNCTIONS

    x = np.concatenate([np.linspace(-12, 12, 81), [-1e-3, 1e-3, 300, -300]])
    value, slope = reference.ACTIVATIONS[name](x)
    with jax.enable_x64(True):
        assert np.allclose(FUNCTIONS[name](jax.numpy.asarray(x)), value, rtol=1e-13, atol=1e-13)
        away = np.abs(x) > 1e-9  # the derivatives of bends are a matter of taste
        found = jax.vmap(jax.grad(FUNCTIONS[name]))(jax.numpy.asarray(x))
        assert np.allclose(np.asarray(found)[away], slope[away], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("labels", "count", "problem"),
    [
        (np.array([0.5, -1.0, 2.0]), 1, None),
        (np.array([[0.5, 1.0], [2.0, 3.0], [4.0, -1.0]]), 2, "regression"),
        (np.array([[1, 0], [1, 1], [0, 0]]), 2, None),
        (np.array([1, -100, 0]), 2, None),
        (np.array([-100, -100, -100]), 2, None),
    ],
)
def test_classification_losses(labels, count, problem):
    config = SMALL.replace(num_labels=count, problem_type=problem)
    model = flax_model("sequence-classification", config)
    ids = sample_call(SMALL, "encoder")["input_ids"]
    tensors = random_tensors(config, "sequence-classification", 0.2, np.float64)
    expected = reference.forward("sequence-classification", config, tensors, input_ids=ids, labels=labels).loss
    assert abs(float(model(ids, labels=labels).loss) - expected) < 1e-5 * max(1, abs(expected))


def test_answers_beyond_the_text_do_not_count():
    model = flax_model("question-answering", SMALL)
    ids = sample_call(SMALL, "encoder")["input_ids"]
    starts, ends = np.array([[1], [9], [-3]]), np.array([[2], [7], [4]])
    tensors = random_tensors(SMALL, "question-answering", 0.2, np.float64)
    answers = {"start_positions": starts, "end_positions": ends}
    expected = reference.forward("question-answering", SMALL, tensors, input_ids=ids, **answers).loss
    assert abs(float(model(ids, **answers).loss) - expected) < 1e-5


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
