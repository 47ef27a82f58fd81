# SPDX-License-Identifier: Apache-2.0
"""Keras trains the models: by a compiled loss or their own, in every form of data, with dropout, in mixed precision."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
import tensorflow as tf

from distilbert import DistilBertConfig
from distilbert import tf as models
from distilbert.errors import InputError
from distilbert.outputs import BaseModelOutput, SequenceClassifierOutput

from .samples import TINY

RANDOM = np.random.default_rng(0)
IDS = RANDOM.integers(1, 99, (8, 7))
MASK = np.ones((8, 7), np.int64)
MASK[0, 4:] = 0
X = {"input_ids": IDS, "attention_mask": MASK}
CLASSES = RANDOM.integers(0, 3, 8)
STARTS, ENDS = RANDOM.integers(0, 7, (2, 8))
STEADY = TINY.replace(n_layers=1, dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0, qa_dropout=0.0)
RATE = 0.05


def cross_entropy(**options):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **options)


def classifier(config: DistilBertConfig = STEADY) -> models.DistilBertForSequenceClassification:
    return models.DistilBertForSequenceClassification(config, seed=0)


def compiled(model, **options):
    """Plain gradient descent, not by XLA, which takes long to compile; one test does that."""
    model.compile(keras.optimizers.SGD(RATE), jit_compile=False, **options)
    return model


@pytest.fixture(scope="module")
def one_step():
    """Weights and loss of one step of gradient descent, written out by hand."""
    model = classifier()
    with tf.GradientTape() as tape:
        loss = model(X, labels=CLASSES, training=True).loss
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
    ):
        variable.assign(variable - RATE * tf.convert_to_tensor(gradient))
    return model.dump_tensors(), float(loss)


FITS = {
    "own loss, labels as y": ({}, {"x": X, "y": CLASSES}),
    "own loss, labels among the inputs": ({}, {"x": {**X, "labels": CLASSES}}),
    "own loss, y as a dict": ({}, {"x": X, "y": {"labels": CLASSES}}),
    "own loss, inputs in a tuple": ({}, {"x": (IDS, MASK), "y": CLASSES}),
    "own loss, eagerly": ({"run_eagerly": True}, {"x": X, "y": CLASSES}),
    "compiled loss, labels as y": ({"loss": cross_entropy()}, {"x": X, "y": CLASSES}),
    "compiled loss, labels among the inputs": ({"loss": cross_entropy()}, {"x": {**X, "labels": CLASSES}}),
    "compiled loss, weights of one": ({"loss": cross_entropy()}, {"x": X, "y": CLASSES, "sample_weight": np.ones(8)}),
    "a tf.data.Dataset": ({}, {"x": tf.data.Dataset.from_tensors((X, CLASSES)), "shuffle": False}),
}


@pytest.mark.parametrize(("options", "data"), FITS.values(), ids=FITS)
def test_every_way_to_fit_takes_the_same_step(one_step, options, data):
    weights, loss = one_step
    model = compiled(classifier(), **options)
    data = {"batch_size": 8, **data} if isinstance(data["x"], dict | tuple) else data
    history = model.fit(**data, verbose=0).history
    assert history["loss"] == pytest.approx([loss], rel=1e-5)
    found = model.dump_tensors()
    assert max(np.abs(found[name] - weights[name]).max() for name in weights) < 1e-6


def test_metrics_evaluate_predict_and_single_batches():
    model = compiled(classifier(), metrics=["accuracy"])
    history = model.fit(X, CLASSES, batch_size=4, validation_split=0.5, verbose=0).history
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    expected = model(X, labels=CLASSES)
    accuracy = np.mean(np.argmax(expected.logits, -1) == CLASSES)
    for inputs, labels in ((X, CLASSES), ({**X, "labels": CLASSES}, None)):
        found = model.evaluate(inputs, labels, batch_size=8, verbose=0, return_dict=True)
        assert found == {"loss": pytest.approx(float(expected.loss), rel=1e-5), "accuracy": pytest.approx(accuracy)}
    predicted = model.predict({**X, "labels": CLASSES}, batch_size=3, verbose=0)
    assert type(predicted) is SequenceClassifierOutput
    assert list(predicted) == ["logits"]
    np.testing.assert_allclose(predicted.logits, expected.logits, rtol=0, atol=2e-6)
    assert set(model.train_on_batch(X, CLASSES, return_dict=True)) == {"loss", "accuracy"}
    assert set(model.test_on_batch(X, CLASSES, return_dict=True)) == {"loss", "accuracy"}
    assert model.predict_on_batch(X).logits.shape == (8, 3)


def test_predict_joins_all_layers():
    model = models.DistilBertModel(STEADY.replace(output_hidden_states=True, output_attentions=True), seed=0)
    found = model.predict(X, batch_size=3, verbose=0)
    assert type(found) is BaseModelOutput
    assert [item.shape for item in found.hidden_states] == [(8, 7, 32)] * 2
    assert [item.shape for item in found.attentions] == [(8, 4, 7, 7)]


def test_question_answering_has_two_labels():
    model = models.DistilBertForQuestionAnswering(STEADY.replace(num_labels=2), seed=0)
    own = float(model(X, start_positions=STARTS, end_positions=ENDS).loss)
    compiled(model)
    for data in (
        {"x": {**X, "start_positions": STARTS, "end_positions": ENDS}},
        {"x": X, "y": (STARTS, ENDS)},
        {"x": X, "y": {"end_positions": ENDS, "start_positions": STARTS}},
    ):
        assert model.evaluate(**data, batch_size=8, verbose=0) == pytest.approx(own, rel=1e-5)
    losses = {"start_logits": cross_entropy(), "end_logits": cross_entropy()}
    compiled(model, loss=losses, metrics={"start_logits": ["accuracy"], "end_logits": ["accuracy"]})
    found = model.evaluate(X, (STARTS, ENDS), batch_size=8, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(2 * own, rel=1e-5), "Keras adds the two losses up"
    assert {"start_logits_accuracy", "end_logits_accuracy"} < set(found)


def test_masked_words_and_the_bare_encoder():
    labels = np.where(RANDOM.random((8, 7)) < 0.4, IDS, -100)
    model = models.DistilBertForMaskedLM(STEADY, seed=0)
    own = float(model(X, labels=labels).loss)
    assert compiled(model).evaluate(X, labels, batch_size=8, verbose=0) == pytest.approx(own, rel=1e-5)
    compiled(model, loss=cross_entropy(ignore_class=-100)).fit(X, labels, verbose=0)
    encoder = compiled(models.DistilBertModel(STEADY, seed=0), loss="mse")
    states = encoder(X).last_hidden_state
    assert encoder.evaluate(X, states, verbose=0) < 1e-10


WRONG = {
    "no labels": ({}, {"x": X}, "expected labels among the inputs, or y; found none"),
    "weights": (
        {},
        {"x": X, "y": CLASSES, "sample_weight": np.ones(8)},
        "sample_weight: the model's own loss has none",
    ),
    "unknown labels": ({}, {"x": X, "y": {"class": CLASSES}}, "y: 'class' unknown; expected labels"),
    "unknown inputs": ({}, {"x": {**X, "label": CLASSES}}, "'label' unknown"),
}


@pytest.mark.parametrize(("options", "data", "message"), WRONG.values(), ids=WRONG)
def test_wrong_data(options, data, message):
    with pytest.raises(InputError, match=message):
        compiled(classifier(), **options).fit(**data, verbose=0)


def test_what_cannot_be_trained():
    with pytest.raises(InputError, match="the bare encoder has none of its own"):
        compiled(models.DistilBertModel(TINY, seed=0)).fit(X, CLASSES, verbose=0)
    with pytest.raises(InputError, match="return_dict"):
        compiled(classifier(TINY.replace(return_dict=False))).fit(X, CLASSES, verbose=0)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    plain = classifier()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = models.DistilBertForSequenceClassification.empty(STEADY, "float32")
    finally:
        keras.config.set_dtype_policy(before)
    model.load_tensors(plain.dump_tensors())
    mask = np.where(np.arange(8)[:, None] == 3, 0, MASK)  # one row attends to nothing
    for kernel in ("eager", "dot_product_attention"):
        model.set_attn_implementation(kernel)
        output = model(IDS, mask, labels=CLASSES)
        assert output.logits.dtype == policy.removeprefix("mixed_")
        assert output.loss.dtype == "float32"
        error = np.abs(tf.cast(output.logits, tf.float32) - plain(IDS, mask).logits).max()
        assert error < (2e-2 if policy == "mixed_bfloat16" else 2e-3)
    model.compile("adam", jit_compile=False)
    losses = model.fit({"input_ids": IDS, "attention_mask": mask}, CLASSES, epochs=3, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert {values.dtype.name for values in model.dump_tensors().values()} == {"float32"}


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_by_xla_as_keras_does_on_a_gpu(one_step, checkpointing):
    weights, loss = one_step
    model = classifier()
    if checkpointing:
        model.gradient_checkpointing_enable()
    model.compile(keras.optimizers.SGD(RATE), metrics=["accuracy"], jit_compile=True)
    assert model.fit(X, CLASSES, batch_size=8, verbose=0).history["loss"] == pytest.approx([loss], rel=1e-5)
    found = model.dump_tensors()
    assert max(np.abs(found[name] - weights[name]).max() for name in weights) < 1e-6


# Dropout.


def test_dropout_only_in_training_and_seeds_repeat_it():
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        model = models.DistilBertForSequenceClassification(TINY)
        runs.append([model(X, training=training).logits.numpy() for training in (True, True, False, None)])
    for one, other in zip(*runs, strict=True):
        assert np.array_equal(one, other)
    first, second, evaluated, default = runs[0]
    assert not np.array_equal(first, second)
    assert np.array_equal(evaluated, default)


@pytest.mark.parametrize(
    ("field", "model", "calls"),
    [
        ("dropout", models.DistilBertForMaskedLM, 2),  # the embeddings, and the feed-forward of the layer
        ("dropout", models.DistilBertForTokenClassification, 3),
        ("attention_dropout", models.DistilBertModel, 1),
        ("seq_classif_dropout", models.DistilBertForSequenceClassification, 1),
        ("seq_classif_dropout", models.DistilBertForMultipleChoice, 1),
        ("qa_dropout", models.DistilBertForQuestionAnswering, 1),
    ],
)
def test_dropout_places(monkeypatch, field, model, calls):
    dropped = []
    call = keras.layers.Dropout.call

    def watched(layer, inputs, training=False):
        if training and layer.rate > 0:
            dropped.append(layer.rate)
        return call(layer, inputs, training=training)

    monkeypatch.setattr(keras.layers.Dropout, "call", watched)
    ids = IDS[:, None] if model is models.DistilBertForMultipleChoice else IDS
    instance = model(STEADY.replace(num_labels=2, **{field: 0.5}), seed=0)
    assert not np.array_equal(instance(ids, training=True)[0], instance(ids)[0])
    assert dropped == [0.5] * calls


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_checkpointing_repeats_the_dropout(mode):
    """The backward pass must drop what the forward pass dropped, or the gradients are of another function."""
    steps = []
    for checkpointing in (False, True):
        keras.utils.set_random_seed(1)
        model = models.DistilBertForSequenceClassification(TINY.replace(dropout=0.3, attention_dropout=0.3), seed=0)
        if checkpointing:
            model.gradient_checkpointing_enable()

        def gradients(model=model):
            with tf.GradientTape() as tape:
                loss = model(X, labels=CLASSES, training=True, output_attentions=True).loss
            return [loss, *map(tf.convert_to_tensor, tape.gradient(loss, model.trainable_variables))]

        run = tf.function(gradients) if mode == "graph" else gradients
        steps.append([run(), run()])
    (first, second), (first_again, second_again) = steps
    assert float(first[0]) != float(second[0])
    for one, other in ((first, first_again), (second, second_again)):
        assert max(np.abs(a - b).max() for a, b in zip(one, other, strict=True)) < 1e-6


def test_checkpointing_lets_gradients_through_to_the_head_mask():
    model = classifier()
    found = []
    for enable in (model.gradient_checkpointing_disable, model.gradient_checkpointing_enable):
        enable()
        with tf.GradientTape() as tape:
            head_mask = tf.ones((1, 4))
            tape.watch(head_mask)
            loss = model(X, head_mask=head_mask, labels=CLASSES, training=True).loss
        found.append(tape.gradient(loss, head_mask).numpy())
    assert np.abs(found[0]).max() > 0
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-7)


def test_what_is_trained():
    model = models.DistilBertModel(TINY.replace(sinusoidal_pos_embds=True), seed=0)
    positions = model.embeddings.position_embeddings.embeddings
    for trainable in (False, True):
        model.trainable = trainable
        assert not positions.trainable, "a computed table stays as it is"
    assert len(model.trainable_variables) == len(model.weights) - 1
    untouched = model.dump_tensors()["embeddings.word_embeddings.weight"]
    compiled(model, loss="mse").fit({"input_ids": IDS * MASK}, RANDOM.standard_normal((8, 7, 32)), verbose=0)
    changed = np.abs(model.dump_tensors()["embeddings.word_embeddings.weight"] - untouched).max(-1) > 0
    assert changed[IDS[MASK == 1]].all()
    assert not changed[TINY.pad_token_id]


def test_adam_moves_a_word_that_comes_twice_as_any_other():
    """In its first step Adam moves every number by the rate, whatever the gradient's size."""
    model = classifier()
    table = model.distilbert.embeddings.word_embeddings.embeddings
    before = table.numpy()
    ids = np.array([[5, 6, 5, 5], [7, 6, 5, 8]], np.int32)
    model.compile(keras.optimizers.Adam(1e-3, epsilon=1e-12), jit_compile=False)
    model.fit({"input_ids": ids, "labels": np.array([0, 1])}, epochs=1, verbose=0)
    moved = np.abs(table.numpy() - before)
    assert moved[5:9] == pytest.approx(1e-3, rel=1e-3)
    assert not moved[9:].any()
