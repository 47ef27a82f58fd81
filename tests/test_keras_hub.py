# SPDX-License-Identifier: Apache-2.0
"""Presets of keras-hub: read with the same numbers, written so that `from_preset` loads the same numbers."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from distilbert import (
    DistilBertConfig,
    DistilBertTokenizer,
    convert_checkpoint,
    open_checkpoint,
    pipeline,
    reference,
    spec,
)
from distilbert.convert import keras_weights_h5
from distilbert.convert.arrays import same_bits
from distilbert.convert.tensor import BFLOAT16, StoredTensor
from distilbert.errors import ConfigError, TokenizerError, WeightsError
from distilbert.parity import verify
from distilbert.threads import set_threads_from_environment

from .samples import TINY, random_tensors, write_model

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in Keras's saving

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "was", "bad", "good", "##ly", ",", ".", "cafe"]
WORDS += [f"w{number}" for number in range(TINY.vocab_size - len(WORDS))]
TEXTS = ["The film was badly good .", "the CAFÉ, [MASK]", "film,film.unknown"]
SIZES = {"num_layers": 2, "num_heads": 4, "hidden_dim": 32, "intermediate_dim": 37, "max_sequence_length": 48}
BOUND = 2e-6  # of the largest value: what float32 is held to everywhere
LOADED_TASKS = {"encoder": "Backbone", "sequence-classification": "TextClassifier", "masked-lm": "MaskedLM"}


@pytest.fixture(scope="module")
def keras_hub():
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    set_threads_from_environment()  # before TensorFlow begins
    with warnings.catch_warnings():  # of the libraries below it, about each other
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras_hub")


@pytest.fixture(scope="module")
def presets(keras_hub, tmp_path_factory) -> dict[str, Path]:
    """Every kind of preset with random weights, saved by keras-hub."""
    models = keras_hub.models
    tokenizer = models.DistilBertTokenizer(vocabulary=WORDS, lowercase=True, strip_accents=True)
    backbone = models.DistilBertBackbone(vocabulary_size=TINY.vocab_size, dropout=0.3, **SIZES)
    bert = models.BertBackbone(vocabulary_size=TINY.vocab_size, num_segments=2, **SIZES)
    length = {"tokenizer": tokenizer, "sequence_length": 16}
    made = {
        "encoder": backbone,
        "sequence-classification": models.DistilBertTextClassifier(
            backbone,
            num_classes=3,
            dropout=0.4,
            preprocessor=models.DistilBertTextClassifierPreprocessor(**length),
        ),
        "masked-lm": models.DistilBertMaskedLM(backbone, models.DistilBertMaskedLMPreprocessor(**length)),
        "probabilities": models.DistilBertTextClassifier(backbone, num_classes=3, activation="softmax"),
        "bert": bert,
        "bert-classifier": models.BertTextClassifier(bert, num_classes=3),
        "bert-masked-lm": models.BertMaskedLM(bert),
    }
    random = np.random.default_rng(0)
    for model in made.values():
        model.set_weights([random.standard_normal(values.shape) * 0.2 + 0.1 for values in model.get_weights()])
    folder = tmp_path_factory.mktemp("presets")
    for name, model in made.items():
        model.save_to_preset(str(folder / name))
    return {name: folder / name for name in made}


def ids_and_mask() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    ids = random.integers(0, TINY.vocab_size, (3, 9))
    mask = np.arange(9)[None] < np.array([[9], [5], [2]])
    return ids, mask.astype(np.int64)


def theirs(model: Any, task: str) -> np.ndarray:
    """What a model of keras-hub answers to the ids as they are."""
    ids, mask = ids_and_mask()
    inputs = {"token_ids": ids.astype(np.int32), "padding_mask": mask.astype(np.int32)}
    if task == "masked-lm":
        inputs["mask_positions"] = np.broadcast_to(np.arange(9, dtype=np.int32), ids.shape)
    return np.asarray(model(inputs))


def ours(folder: Path, task: str) -> np.ndarray:
    """What the NumPy reference answers in float64 with the weights of a checkpoint."""
    checkpoint = open_checkpoint(folder)
    found = checkpoint.fit(checkpoint.config, task)
    assert found.is_exact
    tensors = {name: tensor.load().astype(np.float64) for name, tensor in found.tensors.items()}
    ids, mask = ids_and_mask()
    output = reference.forward(task, checkpoint.config, tensors, input_ids=ids, attention_mask=mask)
    return output["last_hidden_state"] if task == "encoder" else output["logits"]


def load(keras_hub: Any, folder: Path, task: str, **options: Any) -> Any:
    with warnings.catch_warnings():  # "optimizer has no variables": a preset need not hold the state of a training
        warnings.simplefilter("ignore")
        return getattr(keras_hub.models, LOADED_TASKS[task]).from_preset(str(folder), **options)


def assert_close(found: np.ndarray, expected: np.ndarray, bound: float = BOUND) -> None:
    valid = ids_and_mask()[1].astype(bool) if found.ndim == 3 else slice(None)
    assert np.abs(found - expected)[valid].max() < bound * np.abs(expected).max()


# Reading.


@pytest.mark.parametrize("task", ["encoder", "sequence-classification"])
def test_a_preset_is_read_with_the_same_numbers(keras_hub, presets, task):
    assert_close(theirs(load(keras_hub, presets[task], task), task), ours(presets[task], task))


def test_its_configuration_is_read(presets):
    config = open_checkpoint(presets["sequence-classification"]).config
    assert (config.dropout, config.attention_dropout, config.seq_classif_dropout, config.num_labels) == (
        0.3,
        0.3,
        0.4,
        3,
    )
    assert (config.n_layers, config.n_heads, config.dim, config.hidden_dim) == (2, 4, 32, 37)


def test_a_masked_language_model_is_read_where_it_is_asked_for(keras_hub, presets, tmp_path):
    source = presets["masked-lm"]
    with pytest.raises(WeightsError, match="epsilon of 1e-5"):
        convert_checkpoint(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.warns(UserWarning, match="epsilon of 1e-5"):
        convert_checkpoint(source, tmp_path / "out", task="masked-lm")
    model = load(keras_hub, source, "masked-lm")
    expected = ours(tmp_path / "out", "masked-lm")
    difference = np.abs(theirs(model, "masked-lm") - expected).max() / np.abs(expected).max()
    assert BOUND < difference < 1e-4
    model.masked_lm_head._intermediate_layer_norm.epsilon = 1e-12
    assert_close(theirs(model, "masked-lm"), expected)


def test_a_bert_is_folded(keras_hub, presets, tmp_path):
    source = presets["bert"]
    convert_checkpoint(source, tmp_path / "out")
    assert open_checkpoint(source).folded_bert
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = keras_hub.models.BertBackbone.from_preset(str(source))
    ids, mask = (values.astype(np.int32) for values in ids_and_mask())
    answer = model({"token_ids": ids, "padding_mask": mask, "segment_ids": np.zeros_like(ids)})
    assert_close(np.asarray(answer["sequence_output"]), ours(tmp_path / "out", "encoder"))


@pytest.mark.parametrize(
    ("name", "task", "reason"),
    [
        ("bert-classifier", "sequence-classification", "pooled token"),
        ("bert-masked-lm", "masked-lm", "approximates GELU"),
    ],
)
def test_the_heads_of_a_bert_are_refused(presets, tmp_path, name, task, reason):
    for wanted in (None, task):
        with pytest.raises(WeightsError, match=reason):
            convert_checkpoint(presets[name], tmp_path / "out", task=wanted)
    assert convert_checkpoint(presets[name], tmp_path / "out", task="encoder").tensors == 36


def test_probabilities_are_refused(presets, tmp_path):
    with pytest.raises(WeightsError, match="go through 'softmax'"):
        convert_checkpoint(presets["probabilities"], tmp_path / "out")


def test_probabilities_are_not_lost_in_silence_between_presets(presets, tmp_path):
    with pytest.raises(WeightsError, match="go through 'softmax'"):
        convert_checkpoint(presets["probabilities"], tmp_path / "out", "keras-hub")
    with pytest.warns(UserWarning, match="go through 'softmax'"):
        convert_checkpoint(presets["probabilities"], tmp_path / "out", "keras-hub", task="sequence-classification")


def test_models_load_a_preset(presets):
    pytest.importorskip("torch")
    from distilbert import DistilBertForMaskedLM, DistilBertModel

    assert DistilBertModel.from_pretrained(presets["encoder"]).config.dim == 32
    with pytest.warns(UserWarning, match="epsilon of 1e-5"):
        DistilBertForMaskedLM.from_pretrained(presets["masked-lm"])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_preset_in_half_precision(keras_hub, tmp_path, dtype):
    model = keras_hub.models.DistilBertBackbone(vocabulary_size=TINY.vocab_size, dtype=dtype, **SIZES)
    model.save_to_preset(str(tmp_path / "preset"))
    words = open_checkpoint(tmp_path / "preset").tensors["distilbert." + spec.WORD_EMBEDDINGS]
    assert str(words.dtype) == dtype
    kept = np.asarray(model.token_embedding.embeddings.numpy())
    assert same_bits(words.load(), kept)


# Writing.


@pytest.mark.parametrize("task", LOADED_TASKS)
def test_a_preset_is_written_that_keras_hub_loads(keras_hub, tmp_path, task):
    write_model(tmp_path / "source", TINY, task)
    named = {"task": task} if task == "masked-lm" else {}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        convert_checkpoint(tmp_path / "source", tmp_path / "preset", "keras-hub", **named)
    assert ["epsilon of 1e-5" in str(one.message) for one in told] == [True] * len(named)
    model = load(keras_hub, tmp_path / "preset", task, **({} if task == "encoder" else {"preprocessor": None}))
    if task == "masked-lm":
        model.masked_lm_head._intermediate_layer_norm.epsilon = 1e-12
    assert_close(theirs(model, task), ours(tmp_path / "source", task))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, BFLOAT16])
@pytest.mark.parametrize("task", ["encoder", "sequence-classification"])
def test_there_and_back_is_bit_equal(tmp_path, task, dtype):
    config = TINY.replace(id2label={0: "bad", 1: "so", 2: "good"}, attention_dropout=0.25)
    tensors = write_model(tmp_path / "source", config, task, random_tensors(config, task, dtype=dtype))
    convert_checkpoint(tmp_path / "source", tmp_path / "preset", "keras-hub")
    convert_checkpoint(tmp_path / "preset", tmp_path / "back")
    back = open_checkpoint(tmp_path / "back")
    found = back.fit(back.config, task).tensors
    assert found.keys() == tensors.keys()
    assert all(same_bits(found[name].load(), values) for name, values in tensors.items())
    assert back.config == open_checkpoint(tmp_path / "source").config


@pytest.mark.parametrize("task", ["encoder", "sequence-classification", "masked-lm"])
def test_through_keras_hub_and_back_is_bit_equal(keras_hub, tmp_path, task):
    tensors = write_model(tmp_path / "source", TINY, task)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        convert_checkpoint(tmp_path / "source", tmp_path / "preset", "keras-hub", task=task)
    model = load(keras_hub, tmp_path / "preset", task, **({} if task == "encoder" else {"preprocessor": None}))
    model.save_to_preset(str(tmp_path / "saved"))
    back = open_checkpoint(tmp_path / "saved")
    found = back.fit(back.config, task)
    assert found.is_exact
    assert all(same_bits(found.tensors[name].load(), values) for name, values in tensors.items())


@pytest.mark.parametrize(
    ("task", "changes", "problem"),
    [
        ("question-answering", {"num_labels": 2}, "has DistilBERT for encoder, sequence-classification, masked-lm"),
        (
            "encoder",
            {"activation": "relu"},
            "^keras-hub cannot hold this model: activation: keras-hub's DistilBERT computes 'gelu', found 'relu'",
        ),
        ("encoder", {"pruned_heads": {0: [1]}}, "pruned_heads"),
        ("masked-lm", {"tie_word_embeddings": False}, "tie_word_embeddings: always true"),
    ],
)
def test_what_keras_hub_cannot_compute_is_refused(tmp_path, task, changes, problem):
    write_model(tmp_path / "source", TINY.replace(**changes), task)
    with pytest.raises(ConfigError, match=problem):
        convert_checkpoint(tmp_path / "source", tmp_path / "preset", "keras-hub", task=task)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


# The tokenizer.


def test_the_tokenizer_is_read(keras_hub, presets, tmp_path):
    convert_checkpoint(presets["sequence-classification"], tmp_path / "out")
    tokenizer = DistilBertTokenizer.from_pretrained(tmp_path / "out")
    theirs = load(keras_hub, presets["sequence-classification"], "sequence-classification").preprocessor.tokenizer
    assert tokenizer.model_max_length == 48
    for text in TEXTS[:1] + TEXTS[2:]:  # this one of theirs knows no special tokens in a text
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == np.asarray(theirs(text)).tolist()


def test_the_tokenizer_is_written(keras_hub, tmp_path):
    write_model(tmp_path / "source", TINY, "sequence-classification")
    (tmp_path / "source" / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    convert_checkpoint(tmp_path / "source", tmp_path / "preset", "keras-hub")
    tokenizer = DistilBertTokenizer.from_pretrained(tmp_path / "source")
    preprocessor = load(keras_hub, tmp_path / "preset", "sequence-classification").preprocessor
    assert preprocessor.sequence_length == 48
    for text in TEXTS:
        assert np.asarray(preprocessor.tokenizer(text)).tolist() == tokenizer.encode(text, add_special_tokens=False)
    answer = preprocessor(TEXTS)
    expected = tokenizer(TEXTS, padding="max_length", max_length=48, return_tensors="np")
    assert np.array_equal(answer["token_ids"], expected["input_ids"])
    assert np.array_equal(answer["padding_mask"], expected["attention_mask"])


def test_a_tokenizer_that_keras_hub_has_not_is_refused(tmp_path):
    write_model(tmp_path / "source", TINY, "encoder")
    (tmp_path / "source" / "vocab.txt").write_text("\n".join(WORDS[:60]) + "\n")
    tokenizer = DistilBertTokenizer.from_pretrained(tmp_path / "source")
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(tmp_path / "source")
    with pytest.raises(TokenizerError, match="added tokens: expected none, found 1"):
        convert_checkpoint(tmp_path / "source", tmp_path / "preset", "keras-hub")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"cls_token": "film"}, r"cls_token: expected \[CLS\], found film"),
        ({"pad_token": "film"}, r"pad_token: expected \[PAD\], found film"),
        ({"never_split": ["film"]}, "never_split: expected none"),
        ({"tokenize_chinese_chars": False}, "tokenize_chinese_chars: expected true, found false"),
    ],
)
def test_settings_that_keras_hub_has_not_are_refused(tmp_path, settings, problem):
    write_model(tmp_path / "source", TINY, "encoder")
    (tmp_path / "source" / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (tmp_path / "source" / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(TokenizerError, match=problem):
        convert_checkpoint(tmp_path / "source", tmp_path / "preset", "keras-hub")


def test_a_preset_is_used_as_it_is(tmp_path):
    """Its tokenizer, its configuration and a pipeline, without a conversion and without keras-hub."""
    pytest.importorskip("torch")
    write_model(tmp_path / "source", TINY, "sequence-classification")
    (tmp_path / "source" / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    convert_checkpoint(tmp_path / "source", tmp_path / "preset", "keras-hub")
    source, preset = (DistilBertTokenizer.from_pretrained(tmp_path / name) for name in ("source", "preset"))
    assert preset(TEXTS)["input_ids"] == source(TEXTS)["input_ids"]
    assert preset.model_max_length == TINY.max_position_embeddings
    assert DistilBertTokenizer.from_pretrained(tmp_path / "preset", model_max_length=5).model_max_length == 5
    assert DistilBertConfig.from_pretrained(tmp_path / "preset", dropout=0.5) == open_checkpoint(
        tmp_path / "preset"
    ).config.replace(dropout=0.5)
    found = [pipeline("text-classification", tmp_path / name, backend="pt")(TEXTS) for name in ("source", "preset")]
    assert found[0] == found[1]


def test_a_configuration_of_keras_hub_alone_is_refused(preset):
    with pytest.raises(ConfigError, match="a configuration of keras-hub"):
        DistilBertConfig.from_file(preset / "config.json")


def test_verifying(preset, tmp_path):
    convert_checkpoint(preset, tmp_path / "back")
    report = verify(preset, against=tmp_path / "back", backends=())
    assert report.ok
    assert report.source.files.keys() == {"config.json", "model.weights.h5", "task.weights.h5"}


# Damaged presets.


@pytest.fixture
def preset(tmp_path) -> Path:
    write_model(tmp_path / "preset", TINY, "sequence-classification", format="keras-hub")
    return tmp_path / "preset"


def test_saving_over_a_preset_of_another_task_leaves_nothing_of_it(preset):
    (preset / "preprocessor.json").write_text("{}")
    write_model(preset, TINY, "encoder", format="keras-hub")
    assert open_checkpoint(preset).task == "encoder"
    assert {path.name for path in preset.iterdir()} == {"config.json", "metadata.json", "model.weights.h5"}


def test_config_json_decides_which_of_two_checkpoints_in_a_folder_is_read(preset):
    write_model(preset, TINY, "encoder")
    assert open_checkpoint(preset).format.name == "safetensors"


def test_a_foreign_metadata_file_is_left_aside(preset):
    (preset / "metadata.json").write_text(json.dumps({"distilbert_config": {"id2label": 3}}))
    assert open_checkpoint(preset).config.id2label[0] == "LABEL_0"


def test_another_model_is_refused(preset):
    config = json.loads((preset / "config.json").read_text())
    (preset / "config.json").write_text(json.dumps({**config, "class_name": "GemmaBackbone"}))
    with pytest.raises(ConfigError, match="expected one of DistilBertBackbone, BertBackbone"):
        open_checkpoint(preset)


def test_missing_sizes_are_listed(preset):
    config = json.loads((preset / "config.json").read_text())
    del config["config"]["num_heads"], config["config"]["dropout"]
    (preset / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"(?s)2 problems.*config\.dropout: missing.*config\.num_heads: missing"):
        open_checkpoint(preset)


def test_an_unknown_layer_is_named(preset, tmp_path):
    with h5py.File(preset / "task.weights.h5", "a", libver=("earliest", "v110")) as file:
        file["layers/dense_2/vars/0"] = np.zeros(3, np.float32)
    with pytest.raises(WeightsError, match="layers/dense_2/vars/0"):
        convert_checkpoint(preset, tmp_path / "out")


def test_a_training_state_and_random_states_are_left_aside(preset):
    before = set(open_checkpoint(preset).tensors)
    with h5py.File(preset / "task.weights.h5", "a", libver=("earliest", "v110")) as file:
        file["optimizer/vars/0"] = np.int32(5)
        file["layers/dropout/seed_generator/vars/0"] = np.zeros(2, np.uint32)
    assert set(open_checkpoint(preset).tensors) == before


def test_a_file_of_keras_2_is_refused(tmp_path):
    with h5py.File(tmp_path / "model.weights.h5", "w", libver=("earliest", "v110")) as file:
        file.attrs["layer_names"] = ["a"]
    with pytest.raises(WeightsError, match="no group layers: not saved by Keras 3"):
        keras_weights_h5.read(tmp_path / "model.weights.h5")


@pytest.mark.parametrize("turn", ["layers/again", "layers/a/vars/back"])
def test_groups_in_a_circle_end(tmp_path, turn):
    tensor = StoredTensor.of("layers/a/vars/0", np.zeros(3, np.float32))
    keras_weights_h5.write(tmp_path / "w.h5", [tensor], {})
    with h5py.File(tmp_path / "w.h5", "a", libver=("earliest", "v110")) as file:
        file[turn] = file["layers"]
    with pytest.raises(WeightsError, match="nested more than 16 deep"):
        keras_weights_h5.read(tmp_path / "w.h5")


def test_a_truncated_file_is_refused(preset):
    data = (preset / "model.weights.h5").read_bytes()
    (preset / "model.weights.h5").write_bytes(data[:-50])
    with pytest.raises(WeightsError, match="truncated"):
        open_checkpoint(preset)
