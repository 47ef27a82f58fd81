# SPDX-License-Identifier: Apache-2.0
"""TensorFlow models are called with anything that users have, eagerly, in graphs and by XLA, with the same numbers."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
import tensorflow as tf

from distilbert import reference, spec
from distilbert import tf as models
from distilbert.errors import BackendError, InputError
from distilbert.outputs import SequenceClassifierOutput
from distilbert.tf import attention

from .samples import TINY, random_tensors, sample_call, task_config

IDS = np.random.default_rng(0).integers(1, 99, (3, 7))
MASK = np.array([[1] * 7, [1] * 5 + [0] * 2, [0] * 3 + [1] * 4])


@pytest.fixture(scope="module")
def model():
    return models.DistilBertForSequenceClassification(TINY, seed=0)


@pytest.fixture(scope="module")
def expected(model):
    return model(IDS, MASK).logits.numpy()


CALLS = {
    "arrays by position": lambda model: model(IDS, MASK),
    "tensors of 32 bits and a bool mask": lambda model: model(tf.constant(IDS, tf.int32), tf.constant(MASK == 1)),
    "numbers of 8 bits": lambda model: model(IDS.astype(np.uint8), MASK.astype(np.int8)),
    "lists": lambda model: model(IDS.tolist(), attention_mask=MASK.tolist()),
    "names": lambda model: model(attention_mask=MASK, input_ids=IDS, token_type_ids=IDS * 0, training=False),
    "a dict": lambda model: model({"input_ids": IDS, "attention_mask": MASK}),
    "a dict and a name": lambda model: model({"input_ids": IDS}, attention_mask=MASK),
    "a tuple": lambda model: model((IDS, MASK)),
    "a list of tensors": lambda model: model([tf.constant(IDS), tf.constant(MASK)]),
    "a tf.function": lambda model: tf.function(model)(IDS, MASK),
    "XLA": lambda model: tf.function(model, jit_compile=True)(IDS, MASK),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_ways_to_call(model, expected, call):
    output = call(model)
    assert type(output) is SequenceClassifierOutput
    np.testing.assert_allclose(output.logits, expected, rtol=0, atol=2e-6)


def test_a_call_of_ones_own_that_hands_on_its_options(expected):
    class Own(models.DistilBertForSequenceClassification):
        def call(self, input_ids=None, **options):
            return super().call(input_ids, **options)

    own = Own(TINY, seed=0)
    output = own({"input_ids": IDS, "attention_mask": MASK, "labels": np.zeros(3, int)})
    np.testing.assert_allclose(output.logits, expected, rtol=0, atol=2e-6)
    assert np.isfinite(output.loss)
    attended = Own(TINY.replace(dropout=0.0, seq_classif_dropout=0.0), seed=0)  # dropout in attention alone
    assert np.abs(attended(IDS, MASK, training=True).logits - expected).max() > 1e-5
    with pytest.raises(InputError, match="'foo' unknown; expected input_ids, attention_mask, .*training"):
        own({"input_ids": IDS, "foo": IDS})


def test_word_vectors_alone(model):
    table = model.get_input_embeddings()
    output = model(inputs_embeds=np.asarray(table(IDS), np.float64), attention_mask=MASK)
    np.testing.assert_allclose(output.logits, model(IDS, MASK).logits, rtol=0, atol=1e-6)


def test_tuple_form_and_options_by_position(model):
    output = model(IDS, MASK, None, None, np.array([0, 1, 2]), True, True, False)
    assert type(output) is tuple
    assert [np.ndim(item) for item in output[:2]] == [0, 2]
    assert [len(item) for item in output[2:]] == [TINY.n_layers + 1, TINY.n_layers]


WRONG = {
    "unknown name in a dict": ({"input_ids": IDS, "label": 1}, "'label' unknown"),
    "nothing": ({}, "found neither"),
    "id too large": ({"input_ids": IDS + 99}, "expected ids from 0 to 98 .*, found 101"),
    "negative id": ({"input_ids": -IDS}, "found -96 to -2"),
    "real ids": ({"input_ids": IDS / 2}, "expected whole numbers, found float64"),
    "too long": ({"input_ids": np.ones((1, 60), int)}, "max_position_embeddings 48, found 60"),
    "mask of another length": ({"input_ids": IDS, "attention_mask": MASK[:, :3]}, "attention_mask: expected shape"),
    "label too large": ({"input_ids": IDS, "labels": [0, 1, 3]}, "classes 0 to 2 .*, found values from 0 to 3"),
    "position too large": ({"input_ids": IDS, "position_ids": np.arange(7) + 45}, "position_ids: .* found 45 to 51"),
    "rows of different length": ({"input_ids": [[1, 2], [3]]}, "rows of one length"),
    "ragged tensor": ({"input_ids": tf.ragged.constant([[1, 2], [3]])}, "found a RaggedTensor; pad it"),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_wrong_calls_have_one_clear_error(model, call, message):
    with pytest.raises(InputError, match=message) as caught:
        model(call)
    assert "Exception encountered" not in str(caught.value), "Keras's decoration must be gone"


def test_unknown_and_doubled_arguments(model):
    with pytest.raises(TypeError, match="foo"):
        model(IDS, foo=1)
    with pytest.raises(InputError, match="input_ids given twice"):
        model(IDS, input_ids=IDS)
    with pytest.raises(InputError, match="expected at most 12"):
        model(*[IDS] * 13)


@pytest.mark.parametrize("jit", [False, True])
def test_graphs_clamp_what_they_cannot_check(model, jit):
    last = np.full_like(IDS, TINY.vocab_size - 1)
    compiled = tf.function(lambda ids, labels: model(ids, labels=labels), jit_compile=jit)
    found = compiled(tf.constant(IDS + 99), tf.constant([0, 1, 7]))
    wanted = model(last, labels=[0, 1, 2])
    np.testing.assert_allclose(found.logits, wanted.logits, rtol=0, atol=2e-6)
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=2e-6)


def test_too_long_inputs_in_graphs(model):
    with pytest.raises(InputError, match="found 60 tokens"):
        tf.function(model)(tf.ones((1, 60), tf.int32))
    free = tf.function(model).get_concrete_function(input_ids=tf.TensorSpec((None, None), tf.int32))
    assert np.isfinite(free(input_ids=tf.ones((1, 60), tf.int32))["logits"]).all()


@pytest.mark.parametrize(("task", "jit"), [*((task, False) for task in spec.TASKS), ("masked-lm", True)])
def test_graphs_equal_the_reference(task, jit):
    config = task_config(TINY, task)
    tensors = random_tensors(config, task, dtype=np.float64)
    model = getattr(models, spec.TASKS[task].class_name).empty(config, "float64")
    model.load_tensors(tensors)
    compiled = tf.function(
        lambda inputs: model(inputs, output_hidden_states=True, output_attentions=True),
        reduce_retracing=True,
        jit_compile=jit,
    )
    for batch, length in ((3, 7), (2, 5), (4, 9))[: 1 if jit else 3]:
        call = sample_call(config, task, batch=batch, length=length)
        expected = reference.forward(task, config, tensors, **call)
        found = compiled({name: tf.constant(values) for name, values in call.items()})
        assert list(found) == list(expected)
        for name, value in found.items():
            pairs = zip(value, expected[name], strict=True) if isinstance(value, tuple) else [(value, expected[name])]
            for one, other in pairs:
                np.testing.assert_allclose(one, other, rtol=0, atol=1e-11 * np.abs(other).max())
    assert compiled.experimental_get_tracing_count() <= 2


def test_symbolic_inputs_make_a_functional_model(model, expected):
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("input_ids", "attention_mask")}
    output = model(inputs)
    assert type(output) is SequenceClassifierOutput
    assert output.logits.shape == (None, 3)
    composed = keras.Model(inputs, keras.ops.softmax(output.logits))
    found = composed({"input_ids": IDS, "attention_mask": MASK})
    np.testing.assert_allclose(found, keras.ops.softmax(expected), rtol=0, atol=1e-6)


def test_chosen_kernel_runs_and_others_are_refused(model, expected, monkeypatch):
    used = []
    kernel = attention.dot_product_attention
    monkeypatch.setitem(attention.IMPLEMENTATIONS, "dot_product_attention", lambda *a: used.append(1) or kernel(*a))
    model.set_attn_implementation("dot_product_attention")
    np.testing.assert_allclose(model(IDS, MASK).logits, expected, rtol=0, atol=1e-6)
    assert len(used) == TINY.n_layers
    assert model(IDS, output_attentions=True).attentions[0].shape == (3, 4, 7, 7)
    model.set_attn_implementation("eager")
    with pytest.raises(BackendError, match="expected one of eager, dot_product_attention; found 'sdpa'"):
        model.set_attn_implementation("sdpa")


def test_exported_gelu_has_erf_and_no_new_axis():
    """Exporters know neither TensorFlow's Erfc nor the strided slice that adds an axis."""
    model = models.DistilBertForMaskedLM(TINY, seed=0)
    graph = tf.function(model.serve).get_concrete_function(model.input_signature).graph
    operations = graph.get_operations()
    assert "Erf" in {operation.type for operation in operations}
    assert "Erfc" not in {operation.type for operation in operations}
    slices = [operation for operation in operations if operation.type == "StridedSlice"]
    assert slices
    assert not any(operation.get_attr("new_axis_mask") for operation in slices)


def test_keras_on_another_framework_is_refused():
    environment = {**os.environ, "KERAS_BACKEND": "numpy"}
    result = subprocess.run(
        [sys.executable, "-c", "import distilbert.tf"], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "expected Keras on TensorFlow, found Keras on numpy; set the environment variable" in result.stderr
