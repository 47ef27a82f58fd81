# SPDX-License-Identifier: Apache-2.0
"""TensorFlow models as Keras objects: how they are made, named, saved, exported, changed in shape, and given a type."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
import tensorflow as tf

from distilbert import spec
from distilbert import tf as models
from distilbert.convert.tensor import FLOAT_DTYPES

from .samples import TINY, random_tensors, sample_call, task_config

IDS = np.random.default_rng(0).integers(1, 99, (3, 7))
MASK = np.array([[1] * 7, [1] * 5 + [0] * 2, [0] * 3 + [1] * 4])

# Keras reads its variables in a way that NumPy 2 warns about.
keras_saving = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def by_class(name: str):
    return getattr(models, spec.TASKS[name].class_name)


@pytest.mark.parametrize("task", spec.TASKS)
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_exist_at_once_under_their_canonical_paths(task, tied):
    config = task_config(TINY, task).replace(tie_word_embeddings=tied)
    model = by_class(task)(config, seed=0)
    assert model.built
    specs = spec.tensors(config, task)
    variables = {id(model.parameter(tensor)): tensor for tensor in specs.values()}
    assert {id(variable) for variable in model.weights} == set(variables)
    for variable in model.weights:
        tensor = variables[id(variable)]
        assert tuple(variable.shape) == (tensor.shape[::-1] if tensor.transposed else tensor.shape)
        assert variable.name == tensor.attribute("tf")
    assert model.num_parameters() == model.count_params()


def test_paths_and_names():
    model = models.DistilBertForSequenceClassification(TINY, seed=0)
    kernel = model.distilbert.transformer.layer[0].attention.q_lin.kernel
    assert kernel is model.parameter(model.tensor_specs["distilbert.transformer.layer.0.attention.q_lin.weight"])
    assert [layer.name for layer in model.layers] == ["distilbert", "pre_classifier", "classifier", "dropout"]
    assert model.get_layer("distilbert") is model.distilbert


@pytest.mark.parametrize("dtype", FLOAT_DTYPES)
def test_load_and_dump_are_exact_and_copies(dtype):
    config = TINY.replace(num_labels=1)
    tensors = {
        name: values.astype(FLOAT_DTYPES[dtype]) for name, values in random_tensors(config, "multiple-choice").items()
    }
    before = {name: values.copy() for name, values in tensors.items()}
    model = models.DistilBertForMultipleChoice.empty(config, dtype)
    assert (model.dtype, model.compute_dtype) == (dtype, dtype)
    model.load_tensors(tensors)
    dumped = model.dump_tensors()
    for variable in model.weights:
        variable.assign_add(tf.ones_like(variable))
    assert dumped.keys() == tensors.keys()
    for name, values in tensors.items():
        assert dumped[name].dtype == values.dtype
        assert np.array_equal(dumped[name], values)
        assert np.array_equal(values, before[name]), "training must not write into the caller's arrays"


def test_float_types_follow_the_argument_else_the_global_policy():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert models.DistilBertModel(TINY, seed=0).compute_dtype == "bfloat16"
        assert models.DistilBertModel.empty(TINY, "float32").compute_dtype == "bfloat16"
        assert models.DistilBertModel.empty(TINY, "float64").compute_dtype == "float64"
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy(before)


def test_the_global_seed_decides_new_weights():
    drawn = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        drawn.append(models.DistilBertModel(TINY).dump_tensors()["embeddings.word_embeddings.weight"])
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize("task", ["encoder", "multiple-choice", "question-answering"])
def test_saved_model_of_any_batch_and_length(task, tmp_path):
    config = task_config(TINY, task)
    model = by_class(task)(config, seed=0)
    model.export(tmp_path / "export", verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "export"))
    tf.saved_model.save(model, str(tmp_path / "saved"))
    saved = tf.saved_model.load(str(tmp_path / "saved"))
    for batch, length in ((3, 7), (1, 4)):
        call = sample_call(config, task, batch=batch, length=length)
        inputs = {name: tf.constant(call[name], tf.int32) for name in ("input_ids", "attention_mask")}
        expected = model(inputs)
        for found in (exported.serve(inputs), saved.signatures["serving_default"](**inputs)):
            assert found.keys() == expected.keys()
            for name, value in found.items():
                np.testing.assert_allclose(value, expected[name], rtol=0, atol=2e-6)


def test_export_stacks_layers_and_takes_a_signature(tmp_path):
    config = TINY.replace(output_hidden_states=True, return_dict=False)
    model = models.DistilBertModel(config, seed=0)
    model.export(tmp_path, verbose=False, input_signature=[{"input_ids": tf.TensorSpec((None, 5), tf.int64)}])
    loaded = tf.saved_model.load(str(tmp_path))
    found = loaded.serve({"input_ids": tf.constant(IDS[:, :5])})
    states = model(IDS[:, :5], return_dict=True).hidden_states
    np.testing.assert_allclose(found["hidden_states"], np.stack(states), rtol=0, atol=2e-6)


@keras_saving
@pytest.mark.parametrize("task", ["masked-lm", "sequence-classification"])
def test_keras_files(task, tmp_path):
    model = by_class(task).empty(TINY, "float64")
    model.load_tensors(random_tensors(TINY, task))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert (loaded.config, loaded.name, loaded.dtype) == (model.config, model.name, "float64")
    other = by_class(task)(TINY, seed=1)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    for copy in (loaded, other):
        found = copy.dump_tensors()
        assert all(np.allclose(values, found[name], rtol=0, atol=1e-7) for name, values in model.dump_tensors().items())
    assert keras.models.clone_model(model).config == model.config


@keras_saving
def test_training_goes_on_after_a_keras_file(tmp_path):
    model = models.DistilBertForSequenceClassification(TINY, seed=0)
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(optimizer, run_eagerly=True)
    model.fit(IDS, np.array([0, 1, 2]), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.fit(IDS, np.array([0, 1, 2]), verbose=0)
    assert int(loaded.optimizer.iterations) == 2


@keras_saving
def test_surgery_in_place(tmp_path):
    model = models.DistilBertForMaskedLM(TINY, seed=0)
    model.compile("sgd", run_eagerly=True)
    model.fit(IDS, IDS, verbose=0)
    model.gradient_checkpointing_enable()
    model.set_attn_implementation("dot_product_attention")
    before, name = model(IDS).logits, model.name
    model.resize_token_embeddings(120)
    np.testing.assert_allclose(model(IDS).logits[..., :99], before, rtol=0, atol=1e-6)
    assert (model.name, model.gradient_checkpointing) == (name, True)
    assert model.attn_implementation == "dot_product_attention"
    model.prune_heads({0: [1], 1: [0, 3]})
    model.resize_position_embeddings(60)
    assert len(model.weights) == len(model.tensor_specs)
    assert tuple(model.distilbert.transformer.layer[1].attention.q_lin.kernel.shape) == (32, 16)
    assert model(np.ones((1, 60), int)).logits.shape == (1, 60, 120)
    assert not model.compiled, "the optimizer's variables are those of other shapes"
    model.compile("sgd", run_eagerly=True)
    model.fit(IDS, IDS, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(IDS).logits, model(IDS).logits, rtol=0, atol=1e-6)


def test_compiled_steps_follow_a_change_of_the_computation(monkeypatch):
    model = models.DistilBertModel(TINY, seed=0)
    model.predict(IDS, verbose=0)
    from distilbert.tf import attention

    used = []
    monkeypatch.setitem(
        attention.IMPLEMENTATIONS, "dot_product_attention", lambda *a: used.append(1) or attention.eager(*a)
    )
    model.set_attn_implementation("dot_product_attention")
    model.predict(IDS, verbose=0)
    assert used


def test_embeddings_are_read_and_replaced():
    model = models.DistilBertForMaskedLM(TINY, seed=0)
    other = models.DistilBertModel(TINY, seed=1)
    model.set_input_embeddings(other.get_input_embeddings())
    assert np.array_equal(
        model.dump_tensors()["distilbert.embeddings.word_embeddings.weight"],
        other.dump_tensors()["embeddings.word_embeddings.weight"],
    )
    model.set_input_embeddings(np.zeros((99, 32)))
    assert not np.any(model(IDS).logits), "a tied projector follows"
    assert model.get_output_embeddings() is model.vocab_projector
    assert other.get_output_embeddings() is None


@keras_saving
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_keras_quantizes_and_adapts_the_linear_layers():
    model = models.DistilBertForSequenceClassification(TINY, seed=0)
    expected = model(IDS, MASK).logits
    adapted = models.DistilBertForSequenceClassification(TINY, seed=0)
    model.quantize("int8")
    assert model.distilbert.transformer.layer[0].ffn.lin1.kernel.dtype == "int8"
    error = np.abs(model(IDS, MASK).logits - expected).max()
    assert 0 < error < 1e-2
    linear = adapted.distilbert.transformer.layer[0].attention.q_lin
    linear.enable_lora(2)
    np.testing.assert_allclose(adapted(IDS, MASK).logits, expected, rtol=0, atol=1e-6)
    assert {"lora_kernel_a", "lora_kernel_b"} < {variable.name for variable in adapted.trainable_variables}


@pytest.mark.slow
def test_base_size_is_made_without_drawing_numbers(monkeypatch):
    from distilbert import DistilBertConfig
    from distilbert.tf import io

    monkeypatch.setattr(io.PreTrainedModel, "fresh_tensors", lambda *a: pytest.fail("values were drawn"))
    model = models.DistilBertForMaskedLM.empty(DistilBertConfig(), "float32")
    assert model.num_parameters() == 66_985_530
