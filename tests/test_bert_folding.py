# SPDX-License-Identifier: Apache-2.0
"""BERT checkpoints read as DistilBERT: the same outputs as transformers' BERT, and a reason where that cannot be."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import backend, spec
from distilbert.convert import convert, open_checkpoint
from distilbert.convert.loading import load_for_task
from distilbert.errors import ConfigError, WeightsError
from distilbert.spec import TASKS

from . import oracle
from .samples import write_as_is
from .test_parity import backends, run
from .test_transformers_exchange import assert_same_outputs, frameworks, ours

SIZES = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 48,
}
TASK_OF = {
    "BertModel": "encoder",
    "BertForMaskedLM": "masked-lm",
    "BertForTokenClassification": "token-classification",
    "BertForQuestionAnswering": "question-answering",
    "BertForPreTraining": "masked-lm",
}
OUTPUTS = {"logits", "prediction_logits", "last_hidden_state", "start_logits", "end_logits"}
IDS = np.random.default_rng(0).integers(1, 99, (3, 7))
CALL = {"input_ids": IDS, "attention_mask": (np.arange(7)[None] < np.array([[7], [4], [1]])).astype(np.int64)}


def bert(framework: str, name: str, **changes: Any) -> Any:
    """A BERT of transformers, every parameter random."""
    labels = 2 if name == "BertForQuestionAnswering" else 3
    with oracle.quiet():
        config = oracle.transformers().BertConfig(**{**SIZES, "num_labels": labels, **changes})
        config.architectures = [name]
        model = oracle.hf_class(framework, name)(config)
        oracle.shake(framework, model, np.random.default_rng(1), 0.2)
        return model


def expected_outputs(framework: str, model: Any) -> dict[str, Any]:
    output = oracle.run_hf(framework, model, CALL)
    return {name.removeprefix("prediction_"): values for name, values in output.items() if name in OUTPUTS}


@frameworks
@pytest.mark.parametrize("name", TASK_OF)
def test_the_same_outputs(tmp_path: Path, framework: str, name: str) -> None:
    pytest.importorskip("transformers")
    model = bert(framework, name)
    expected = expected_outputs(framework, model)
    task = TASK_OF[name]
    for form, (options, _) in oracle.FORMS[framework].items():
        oracle.save_hf(model, tmp_path / form, options)
        checkpoint = open_checkpoint(tmp_path / form).with_settled_projector()
        assert (checkpoint.folded_bert, checkpoint.task, checkpoint.obstacle) == (True, task, None)
        assert checkpoint.fit(checkpoint.config, task).is_exact
    for mine in {framework, "pt"} & set(backend.installed()):
        assert_same_outputs(run(mine, ours(mine, task, tmp_path / form), CALL), expected)


@backends
def test_every_backend_reads_a_bert(tmp_path: Path, name: str) -> None:
    pytest.importorskip("transformers")
    model = bert("pt", "BertForMaskedLM")
    oracle.save_hf(model, tmp_path / "bert", {})
    convert(tmp_path / "bert", tmp_path / "own", "flax")
    for folder in ("bert", "own"):
        found = run(name, ours(name, "masked-lm", tmp_path / folder), CALL)
        assert_same_outputs(found, expected_outputs("pt", model))
    written = json.loads((tmp_path / "own" / "config.json").read_text())
    assert written["model_type"] == "distilbert"
    assert written["architectures"] == ["DistilBertForMaskedLM"]


@frameworks
@pytest.mark.parametrize("name", ["BertForSequenceClassification", "BertForMultipleChoice"])
def test_a_pooled_head_is_refused_with_the_reason(tmp_path: Path, framework: str, name: str) -> None:
    pytest.importorskip("transformers")
    model = bert(framework, name)
    folder = oracle.save_hf(model, tmp_path / "bert", {})
    checkpoint = open_checkpoint(folder)
    task = checkpoint.task
    assert TASKS[task].class_name == f"Distil{name}"
    for attempt in (lambda: load_for_task(folder, task), lambda: convert(folder, tmp_path / "out")):
        with pytest.raises(WeightsError) as caught:
            attempt()
        message = str(caught.value)
        assert message.startswith(
            f"{checkpoint.weights}: its head cannot be read: BERT's classifier reads a pooled token"
        )
        assert "task 'encoder'" in message
    convert(folder, tmp_path / "encoder", task="encoder")
    if framework == "pt":
        found = run("pt", ours("pt", "encoder", tmp_path / "encoder"), CALL)
        assert_same_outputs(found, {"last_hidden_state": oracle.run_hf("pt", model.bert, CALL)["last_hidden_state"]})
    with pytest.warns(UserWarning, match="drawn anew, train before use: classifier.weight, classifier.bias"):
        load_for_task(folder, "token-classification")  # the classifier of texts is not taken for one of tokens
    with pytest.warns(UserWarning, match="drawn anew, train before use: pre_classifier.weight"):
        load_for_task(folder, task, strict=False)


CONFIG = {**SIZES, "model_type": "bert", "architectures": ["BertModel"]}


def bert_tensors(prefix: str = "") -> dict[str, np.ndarray]:
    """A BERT without transformers: names as in its PyTorch files."""
    random = np.random.default_rng(2)
    shapes = {
        "embeddings.word_embeddings.weight": (99, 32),
        "embeddings.position_embeddings.weight": (48, 32),
        "embeddings.token_type_embeddings.weight": (2, 32),
        "embeddings.LayerNorm.weight": (32,),
        "embeddings.LayerNorm.bias": (32,),
    }
    for layer in range(2):
        for path, shape in {
            "attention.self.query": (32, 32),
            "attention.self.key": (32, 32),
            "attention.self.value": (32, 32),
            "attention.output.dense": (32, 32),
            "attention.output.LayerNorm": (32,),
            "intermediate.dense": (37, 32),
            "output.dense": (32, 37),
            "output.LayerNorm": (32,),
        }.items():
            shapes[f"encoder.layer.{layer}.{path}.weight"] = shape
            shapes[f"encoder.layer.{layer}.{path}.bias"] = shape[:1]
    return {prefix + name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("prefix", ["", "bert.", "module.bert.", "bert.bert."])
@pytest.mark.parametrize("said", [True, False], ids=["model_type", "no-model_type"])
def test_prefixes_and_old_configs(tmp_path: Path, prefix: str, said: bool) -> None:
    config = CONFIG if said else {name: value for name, value in CONFIG.items() if name != "model_type"}
    tensors = bert_tensors(prefix)
    tensors[f"{prefix}embeddings.position_ids"] = np.arange(48)[None]
    tensors[f"{prefix}pooler.dense.weight"] = np.zeros((32, 32), np.float32)
    checkpoint = open_checkpoint(write_as_is(tmp_path, tensors, config))
    assert checkpoint.folded_bert
    assert checkpoint.fit(checkpoint.config, "encoder").is_exact
    positions = checkpoint.tensors[spec.PREFIX + spec.POSITION_EMBEDDINGS].load()
    segment = tensors[f"{prefix}embeddings.token_type_embeddings.weight"][0]
    assert np.array_equal(positions, tensors[f"{prefix}embeddings.position_embeddings.weight"] + segment)


@pytest.mark.parametrize(("dtype", "folded"), [("float16", "float32"), ("float32", "float32"), ("float64", "float64")])
def test_the_sum_is_not_rounded_to_half_precision(tmp_path: Path, dtype: str, folded: str) -> None:
    tensors = {name: values.astype(dtype) for name, values in bert_tensors().items()}
    checkpoint = open_checkpoint(write_as_is(tmp_path, tensors, CONFIG))
    positions = checkpoint.tensors[spec.PREFIX + spec.POSITION_EMBEDDINGS]
    assert positions.dtype == positions.load().dtype == folded
    assert checkpoint.tensors[spec.PREFIX + spec.WORD_EMBEDDINGS].dtype == dtype


def test_config_fields(tmp_path: Path) -> None:
    said = {
        **CONFIG,
        "hidden_act": "relu",
        "hidden_dropout_prob": 0.3,
        "attention_probs_dropout_prob": 0.2,
        "classifier_dropout": None,
        "initializer_range": 0.5,
        "pad_token_id": 7,
        "type_vocab_size": 2,
        "gradient_checkpointing": False,
    }
    config = open_checkpoint(write_as_is(tmp_path, bert_tensors(), said)).config
    assert (config.dim, config.n_layers, config.n_heads, config.hidden_dim) == (32, 2, 4, 37)
    assert (config.activation, config.initializer_range, config.pad_token_id) == ("relu", 0.5, 7)
    assert (config.dropout, config.attention_dropout, config.seq_classif_dropout) == (0.3, 0.2, 0.3)
    assert config.architectures == ("DistilBertModel",)
    assert config.extra["gradient_checkpointing"] is False
    del said["num_hidden_layers"]
    assert open_checkpoint(write_as_is(tmp_path, bert_tensors(), said)).config.n_layers == 12


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("layer_norm_eps", 1e-5, "1e-12"),
        ("position_embedding_type", "relative_key", "'absolute'"),
        ("is_decoder", True, "False"),
        ("add_cross_attention", True, "False"),
    ],
)
def test_what_a_distilbert_cannot_compute_is_refused(tmp_path: Path, field: str, value: object, wanted: str) -> None:
    folder = write_as_is(tmp_path, bert_tensors(), {**CONFIG, field: value})
    with pytest.raises(ConfigError) as caught:
        open_checkpoint(folder)
    message = f"this BERT cannot be read as a DistilBERT: {field}: DistilBERT has {wanted}, found {value!r}"
    assert str(caught.value) == f"{tmp_path / 'config.json'}: {message}"


def test_all_that_cannot_be_computed_is_listed(tmp_path: Path) -> None:
    folder = write_as_is(tmp_path, bert_tensors(), {**CONFIG, "layer_norm_eps": 1e-5, "is_decoder": True})
    with pytest.raises(ConfigError, match="2 problems\n  - layer_norm_eps: .*\n  - is_decoder: "):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"embeddings.token_type_embeddings.weight": None}, "embeddings.token_type_embeddings.weight: missing"),
        ({"embeddings.token_type_embeddings.weight": np.zeros((2, 31), np.float32)}, "found (2, 31)"),
        ({"embeddings.token_type_embeddings.weight": np.zeros((0, 32), np.float32)}, "found (0, 32)"),
        ({"embeddings.token_type_embeddings.weight": np.zeros(32, np.float32)}, "found (32,)"),
        ({"embeddings.token_type_embeddings.weight": np.zeros((2, 32), np.int32)}, "expected floats, found int32"),
        ({"embeddings.position_embeddings.weight": np.float32(1)}, "position table (); found (2, 32)"),
        ({"bert.embeddings.LayerNorm.weight": np.zeros(32, np.float32)}, "are the same tensor, embeddings.LayerNorm"),
    ],
)
def test_damaged_embeddings(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    tensors = {name: values for name, values in {**bert_tensors(), **change}.items() if values is not None}
    folder = write_as_is(tmp_path, {name: np.asarray(values) for name, values in tensors.items()}, CONFIG)
    with pytest.raises(WeightsError) as caught:
        open_checkpoint(folder)
    assert str(caught.value).startswith(f"{tmp_path / 'model.safetensors'}: ")
    assert said in str(caught.value)


def test_tensors_without_a_place(tmp_path: Path) -> None:
    tensors = bert_tensors("bert.")
    tensors["bert.encoder.layer.0.crossattention.self.query.weight"] = np.zeros((32, 32), np.float32)
    del tensors["bert.embeddings.position_embeddings.weight"]
    folder = write_as_is(tmp_path, tensors, CONFIG)
    with pytest.raises(WeightsError) as caught:
        load_for_task(folder, "encoder")
    assert "missing    1: embeddings.position_embeddings.weight" in str(caught.value)
    assert "unexpected 1: encoder.layer.0.crossattention.self.query.weight" in str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "pooler", "task", "refused"),
    [
        ("BertForTokenClassification", True, "token-classification", False),  # as transformers 3 and before saved it
        ("BertForTokenClassification", False, "token-classification", False),
        ("BertForSequenceClassification", True, "sequence-classification", True),
        ("BertForSequenceClassification", False, "sequence-classification", True),
        (None, True, "encoder", True),
        (None, False, "token-classification", False),
    ],
)
def test_whose_classifier_it_is(tmp_path: Path, architecture: str, pooler: bool, task: str, refused: bool) -> None:
    tensors = bert_tensors("bert.")
    tensors |= {"classifier.weight": np.zeros((2, 32), np.float32), "classifier.bias": np.zeros(2, np.float32)}
    if pooler:
        tensors["bert.pooler.dense.bias"] = np.zeros(32, np.float32)
    config = {**CONFIG, "architectures": [architecture] if architecture else None}
    checkpoint = open_checkpoint(write_as_is(tmp_path, tensors, config))
    assert (checkpoint.task, checkpoint.obstacle is not None) == (task, refused)
    assert ("classifier.weight" in checkpoint.tensors) == (not refused)
    if refused:
        attempts = [lambda: convert(tmp_path, tmp_path / "out"), lambda: load_for_task(tmp_path, "multiple-choice")]
        for attempt in attempts:
            with pytest.raises(WeightsError, match="its head cannot be read: BERT's classifier reads a pooled token"):
                attempt()


def test_a_config_of_ones_own_does_not_hide_that_it_is_a_bert(tmp_path: Path) -> None:
    folder = write_as_is(tmp_path, bert_tensors(), {**CONFIG, "layer_norm_eps": 1e-5})
    config = open_checkpoint(write_as_is(tmp_path / "sound", bert_tensors(), CONFIG)).config
    with pytest.raises(ConfigError, match="layer_norm_eps"):
        load_for_task(folder, "encoder", config)
    (folder / "config.json").unlink()
    assert open_checkpoint(folder, config=config).folded_bert


@pytest.mark.slow
@backends
def test_a_trained_sentence_encoder(minilm: Path, data_folder: Path, name: str) -> None:
    """Mean-pooled embeddings of real sentences equal those of transformers' BERT."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    lines = (data_folder / "glue_stsb" / "dev.tsv").read_text(encoding="utf-8").splitlines()
    sentences = [line.split("\t")[7] for line in lines[1:65]]
    with oracle.quiet():
        tokens = transformers.BertTokenizerFast.from_pretrained(minilm)(sentences, padding=True, return_tensors="np")
        model = transformers.BertModel.from_pretrained(minilm, attn_implementation="eager")
        with torch.no_grad():
            hidden = model(**{key: torch.tensor(values) for key, values in tokens.items()}).last_hidden_state
    call = {key: tokens[key] for key in ("input_ids", "attention_mask")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_for_task(minilm, "encoder")
        assert not any(loaded.info().values())
        found = run(name, ours(name, "encoder", minilm), call)["last_hidden_state"]
    expected = embed(hidden.numpy(), call["attention_mask"])
    assert expected.shape == (64, 384)
    assert np.max(np.abs(embed(found, call["attention_mask"]) - expected)) <= oracle.BOUND


def embed(hidden: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean over the tokens, of length one: how this encoder is used."""
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)
