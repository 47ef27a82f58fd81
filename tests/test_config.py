# SPDX-License-Identifier: Apache-2.0
"""DistilBertConfig: fields, aliases, files, and one error that lists every problem."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from distilbert import DistilBertConfig
from distilbert.config import ALIASES
from distilbert.errors import ConfigError, FileError

EVERYTHING_ELSE = {
    "vocab_size": 99,
    "max_position_embeddings": 48,
    "sinusoidal_pos_embds": True,
    "n_layers": 3,
    "n_heads": 4,
    "dim": 32,
    "hidden_dim": 37,
    "dropout": 0.2,
    "attention_dropout": 0.3,
    "activation": "relu",
    "initializer_range": 0.5,
    "qa_dropout": 0.4,
    "seq_classif_dropout": 0.6,
    "pad_token_id": 7,
    "tie_word_embeddings": False,
    "problem_type": "regression",
    "output_attentions": True,
    "output_hidden_states": True,
    "return_dict": False,
    "dtype": "bfloat16",
    "architectures": ("DistilBertForMaskedLM",),
    "pruned_heads": {0: (1, 2), 2: (0,)},
    "id2label": {0: "no", 1: "yes", 2: "perhaps"},
    "label2id": {"no": 0, "yes": 1, "perhaps": 2},
    "extra": {"my_field": {"deep": [1, 2]}},
}


def test_defaults_are_hugging_faces():
    transformers = pytest.importorskip("transformers")
    theirs, ours = transformers.DistilBertConfig().to_dict(), DistilBertConfig().to_dict()
    shared = ours.keys() & theirs.keys()
    assert {name: theirs[name] for name in shared - {"id2label"}} == {
        name: ours[name] for name in shared - {"id2label"}
    }
    assert len(shared) > 15


def test_every_field_survives_a_file(tmp_path):
    config = DistilBertConfig(**EVERYTHING_ELSE)
    defaults = DistilBertConfig()
    for name, value in EVERYTHING_ELSE.items():
        assert getattr(config, name) == value
        assert getattr(defaults, name) != value, f"the test does not try {name}"
    config.save_pretrained(tmp_path)
    assert DistilBertConfig.from_pretrained(tmp_path) == config
    assert json.loads((tmp_path / "config.json").read_text())["my_field"] == {"deep": [1, 2]}


def test_hugging_face_reads_what_we_write(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = DistilBertConfig(**EVERYTHING_ELSE)
    config.save_pretrained(tmp_path)
    theirs = transformers.DistilBertConfig.from_pretrained(tmp_path)
    for name in EVERYTHING_ELSE.keys() - {"extra", "dtype", "architectures", "pruned_heads"}:
        assert getattr(theirs, name) == getattr(config, name)
    assert theirs.num_labels == 3
    assert theirs.pruned_heads == {0: [1, 2], 2: [0]}


@pytest.mark.parametrize(
    ("alias", "name"), [(alias, name) for alias, name in ALIASES.items() if alias != "torch_dtype"]
)
def test_aliases_read_and_construct(alias, name):
    value = False if name == "return_dict" else 12
    config = DistilBertConfig(**{alias: value})
    assert getattr(config, alias) == getattr(config, name) == value
    assert config.replace(**{alias: value}) == config


def test_dtype_in_every_spelling():
    assert DistilBertConfig(torch_dtype="torch.float16").dtype == "float16"
    assert DistilBertConfig(dtype="bfloat16").torch_dtype == "bfloat16"


def test_num_labels():
    assert DistilBertConfig(num_labels=3).id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    named = DistilBertConfig(id2label={"0": "a", "1": "b", "2": "c"})
    assert named.num_labels == 3
    assert named.label2id == {"a": 0, "b": 1, "c": 2}
    assert named.replace(num_labels=5).label2id["LABEL_4"] == 4


def test_immutable_hashable_picklable():
    config = DistilBertConfig(**EVERYTHING_ELSE)
    with pytest.raises(AttributeError, match=r"config\.replace\(dim=64\)"):
        config.dim = 64
    twin = DistilBertConfig.from_dict(config.to_dict())
    assert hash(twin) == hash(config)
    assert twin == config != DistilBertConfig()
    assert pickle.loads(pickle.dumps(config)) == copy.deepcopy(config) == config


def test_old_hub_file():
    data = {
        "activation": "gelu", "architectures": ["DistilBertForMaskedLM"], "attention_dropout": 0.1, "dim": 768,
        "dropout": 0.1, "hidden_dim": 3072, "initializer_range": 0.02, "max_position_embeddings": 512,
        "model_type": "distilbert", "n_heads": 12, "n_layers": 6, "pad_token_id": 0, "qa_dropout": 0.1,
        "seq_classif_dropout": 0.2, "sinusoidal_pos_embds": False, "tie_weights_": True, "output_past": True,
        "finetuning_task": None, "num_labels": 2, "id2label": {"0": "N", "1": "P"}, "label2id": {"N": 0, "P": 1},
        "torchscript": False, "vocab_size": 30522, "transformers_version": "4.10.0.dev0",
    }  # fmt: skip
    config = DistilBertConfig.from_dict(data)
    written = config.to_dict()
    assert {name: written.get(name) for name in data if name != "num_labels"} == {
        name: value for name, value in data.items() if name != "num_labels"
    }


def test_all_problems_at_once():
    with pytest.raises(ConfigError) as caught:
        DistilBertConfig(n_layer=2, dim=0, dropout=1.5, activation="swoosh", id2label={1: "a"}, tie_word_embeddings=1)
    message = str(caught.value)
    parts = (
        "n_layer: unknown field; did you mean n_layers?",
        "dim: expected",
        "dropout: expected a rate",
        "activation: expected one of",
        "id2label: expected the ids",
        "tie_word_embeddings: expected true",
    )
    for part in parts:
        assert part in message
    assert "6 problems" in message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dim": 30, "n_heads": 4}, "4 does not divide dim 30"),
        ({"dim": "768"}, "dim: expected a whole number"),
        ({"n_layers": True}, "n_layers: expected a whole number"),
        ({"n_layers": 10**9}, "n_layers: expected a whole number from 1 to 1,000"),
        ({"pad_token_id": 40000}, "pad_token_id: expected null or an id below vocab_size 30522"),
        ({"pruned_heads": {9: [0]}}, "layer 9 does not exist"),
        ({"pruned_heads": {0: list(range(12))}}, "would have no head left"),
        ({"pruned_heads": {0: 3}}, "pruned_heads: expected lists"),
        ({"num_labels": 2, "id2label": {0: "a", 1: "b", 2: "c"}}, "num_labels: 2, but id2label has 3"),
        ({"hidden_size": 64, "dim": 128}, "dim: given twice"),
        ({"dtype": "int8"}, "dtype: expected one of float32"),
        ({"dropout": float("nan")}, "dropout: expected a rate"),
        ({"id2label": "abc"}, "id2label: expected a map"),
        ({"sinusoidal_pos_embds": True, "dim": 33, "n_heads": 3}, "even width"),
    ],
)
def test_each_problem(fields, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        DistilBertConfig(**fields)


def test_bad_files(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"dim": "wide", "n_heads": -1}')
    with pytest.raises(ConfigError, match=r"config\.json: configuration: 2 problems"):
        DistilBertConfig.from_pretrained(tmp_path)
    path.write_text('{"model_type": "gpt2"}')
    with pytest.raises(ConfigError, match="model_type: expected 'distilbert', found 'gpt2'"):
        DistilBertConfig.from_pretrained(tmp_path)
    path.write_text('{"dim": 1, "dim": 2}')
    with pytest.raises(FileError, match="the same key twice: 'dim'"):
        DistilBertConfig.from_pretrained(tmp_path)
    path.write_text("\ufeff{}")
    assert DistilBertConfig.from_pretrained(tmp_path) == DistilBertConfig()
    path.write_text('{"a":' * 100_000)
    with pytest.raises(FileError, match="nested too deeply"):
        DistilBertConfig.from_pretrained(tmp_path)
