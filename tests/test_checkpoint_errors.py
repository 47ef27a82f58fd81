# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint can be wrong in, and that one message says it all: file, expectation, finding and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import spec
from distilbert.convert import convert, open_checkpoint
from distilbert.convert.writing import parse_size
from distilbert.errors import ConfigError, DistilBertError, FileError, InputError, WeightsError

from .samples import TINY, random_tensors, write_as_is, write_model

INDEXES = {
    "safetensors": "model.safetensors.index.json",
    "pytorch": "pytorch_model.bin.index.json",
    "tensorflow": "tf_model.h5.index.json",
    "flax": "flax_model.msgpack.index.json",
}


def problem_of(action: Callable[[], Any], kind: type[DistilBertError]) -> str:
    with pytest.raises(kind) as caught:
        action()
    return str(caught.value)


@pytest.fixture(params=INDEXES)
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The index of an encoder in shards, in each format."""
    write_model(tmp_path / "model", TINY, "encoder", format=request.param, max_shard_size="20KB")
    return tmp_path / "model" / INDEXES[request.param]


def edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


# Where the weights are.


def test_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    message = problem_of(lambda: open_checkpoint(tmp_path), FileError)
    assert message.startswith(f"{tmp_path}: no weights; expected one of model.safetensors, ")
    assert message.endswith("found config.json")


def test_variant_without_weights(tmp_path: Path) -> None:
    write_model(tmp_path, TINY, "encoder")
    message = problem_of(lambda: open_checkpoint(tmp_path, "fp16"), FileError)
    assert "expected one of model.fp16.safetensors, " in message
    (tmp_path / "model.safetensors").rename(tmp_path / "model.fp16.safetensors")
    assert open_checkpoint(str(tmp_path), "fp16").weights == tmp_path / "model.fp16.safetensors"


def test_path_that_is_not_there(tmp_path: Path) -> None:
    message = problem_of(lambda: open_checkpoint(tmp_path / "nowhere"), FileError)
    assert message.startswith(f"{tmp_path / 'nowhere'}: cannot be read")


def test_file_of_another_kind(tmp_path: Path) -> None:
    write_model(tmp_path, TINY, "encoder")
    message = problem_of(lambda: open_checkpoint(tmp_path / "config.json"), FileError)
    assert message.startswith(f"{tmp_path / 'config.json'}: expected a weights file ending in .safetensors, .bin, ")


def test_weights_without_config(tmp_path: Path) -> None:
    write_model(tmp_path, TINY, "encoder")
    (tmp_path / "config.json").unlink()
    message = problem_of(lambda: open_checkpoint(tmp_path / "model.safetensors"), FileError)
    assert message.startswith(f"{tmp_path / 'config.json'}: missing")
    assert open_checkpoint(tmp_path, config=TINY).config == TINY


def test_no_tensors(tmp_path: Path) -> None:
    message = problem_of(lambda: open_checkpoint(write_as_is(tmp_path, {}, TINY.to_dict())), WeightsError)
    assert message == f"{tmp_path / 'model.safetensors'}: holds no tensors"


# Shards and their index.


@pytest.mark.parametrize(
    "place", ["../other.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", 3, None, "x.txt"]
)
def test_index_entry_outside_the_folder(index: Path, place: object) -> None:
    edit_json(index, lambda data: data["weight_map"].update({"one": place, "two": place}))
    message = problem_of(lambda: open_checkpoint(index.parent), WeightsError)
    assert message.startswith(f"{index}: weight_map: 2 problems")
    assert message.count("expected the plain name of a file beside the index") == 2


@pytest.mark.parametrize("weight_map", [{}, [], None, "all", 5])
def test_index_without_a_list(index: Path, weight_map: object) -> None:
    edit_json(index, lambda data: data.update(weight_map=weight_map))
    message = problem_of(lambda: open_checkpoint(index.parent), WeightsError)
    assert message.startswith(f"{index}: weight_map: expected an object from tensor to file, found ")


def test_index_that_is_not_json(index: Path) -> None:
    index.write_text('{"weight_map": {')
    assert problem_of(lambda: open_checkpoint(index.parent), FileError).startswith(f"{index}: not valid JSON")


def test_index_with_a_key_twice(index: Path) -> None:
    index.write_text(index.read_text().replace('"weight_map"', '"weight_map": {}, "weight_map"'))
    assert "the same key twice: 'weight_map'" in problem_of(lambda: open_checkpoint(index.parent), FileError)


def test_index_without_metadata_is_fine(index: Path) -> None:
    edit_json(index, lambda data: data.pop("metadata"))
    assert open_checkpoint(index.parent).task == "encoder"


def test_missing_shards(index: Path) -> None:
    shards = sorted(path for path in index.parent.iterdir() if "-of-" in path.name)
    shards[0].unlink()
    shards[2].unlink()
    message = problem_of(lambda: open_checkpoint(index), FileError)
    assert message.startswith(f"{index}: lists files that are not there: 2 problems")
    assert shards[0].name in message
    assert shards[2].name in message


def test_an_endless_list_of_missing_shards_is_cut_short(index: Path) -> None:
    stem, _, ending = index.name.removesuffix(".index.json").rpartition(".")
    absent = {f"t{number}": f"{stem}-{number}.{ending}" for number in range(10_000)}
    edit_json(index, lambda data: data["weight_map"].update(absent))
    message = problem_of(lambda: open_checkpoint(index), FileError)
    assert message.endswith("and 9992 more")
    assert len(message) < 1000


def test_tensor_in_two_shards(index: Path) -> None:
    shards = sorted(path for path in index.parent.iterdir() if "-of-" in path.name)
    shutil.copy(shards[1], shards[0])
    message = problem_of(lambda: open_checkpoint(index), WeightsError)
    assert message.startswith(f"{index}: ")
    assert f"in {shards[0].name} and again in {shards[1].name}" in message
    assert "found nowhere" in message  # what the overwritten shard had


def test_index_names_another_shard_than_the_tensor_is_in(index: Path) -> None:
    weight_map = json.loads(index.read_text())["weight_map"]
    (first, place), *_, (_, other) = weight_map.items()
    edit_json(index, lambda data: data["weight_map"].update({first: other}))
    message = problem_of(lambda: open_checkpoint(index), WeightsError)
    assert message.endswith(f"weight_map says {other}, found in {place}")


def test_index_names_tensors_that_are_nowhere(index: Path) -> None:
    weight_map = json.loads(index.read_text())["weight_map"]
    place = next(iter(weight_map.values()))
    edit_json(index, lambda data: data["weight_map"].update({f"ghost{number}": place for number in range(50)}))
    message = problem_of(lambda: open_checkpoint(index), WeightsError)
    assert f"ghost0: weight_map says {place}, found nowhere" in message
    assert message.endswith("and 30 more")


# The config.


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("", FileError, "not valid JSON"),
        ("[]", FileError, "expected a JSON object, found list"),
        ('{"dim": 32, "dim": 64}', FileError, "the same key twice: 'dim'"),
        ('{"model_type": "roberta"}', ConfigError, "model_type: expected 'distilbert' or 'bert', found 'roberta'"),
        ('{"model_type": 7}', ConfigError, "found 7"),
        ('{"model_type": ["bert"]}', ConfigError, "found ['bert']"),
        ('{"n_heads": 0, "dim": "wide", "activation": "gelo"}', ConfigError, "3 problems"),
        ('{"dim": 33, "n_heads": 4}', ConfigError, "n_heads: 4 does not divide dim 33"),
        ('{"n_layers": 1000000000}', ConfigError, "n_layers: expected a whole number from 1 to 1,000"),
        ('{"id2label": {"0": "a", "2": "c"}}', ConfigError, "id2label"),
        ('{"architectures": 5}', ConfigError, "architectures: expected a list of class names"),
        ('{"architectures": ["A", 5]}', ConfigError, "architectures: expected a list of class names"),
        ('{"model_type": "bert", "architectures": 5}', ConfigError, "architectures: expected a list of class names"),
        ('{"model_type": "bert", "hidden_size": -1}', ConfigError, "dim: expected a whole number"),
    ],
)
def test_config_nonsense_beside_good_weights(tmp_path: Path, text: str, kind: type[DistilBertError], said: str) -> None:
    write_model(tmp_path, TINY, "encoder")
    (tmp_path / "config.json").write_text(text)
    message = problem_of(lambda: open_checkpoint(tmp_path), kind)
    assert message.startswith(f"{tmp_path / 'config.json'}: ")
    assert said in message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_layers": 3}, "n_layers 3, but the tensors have 2"),
        ({"n_layers": 1}, "n_layers 1, but the tensors have 2"),
        ({"n_layers": 1000}, "n_layers 1000, but the tensors have 2"),
        ({"vocab_size": 100}, "vocab_size 100, but the tensors have 99"),
        ({"max_position_embeddings": 512}, "max_position_embeddings 512, but the tensors have 48"),
        ({"dim": 64}, "dim 64, but the tensors have 32"),
        ({"hidden_dim": 38}, "hidden_dim 38, but the tensors have 37"),
        ({"num_labels": 2}, "num_labels 2, but the tensors have 3"),
    ],
)
def test_config_that_contradicts_the_tensors(tmp_path: Path, changes: dict[str, int], said: str) -> None:
    write_model(tmp_path, TINY, "sequence-classification")
    TINY.replace(**changes, architectures=("DistilBertForSequenceClassification",)).save_pretrained(tmp_path)
    message = problem_of(lambda: convert(tmp_path, tmp_path / "out"), WeightsError)
    assert message.startswith(f"{tmp_path / 'model.safetensors'}: does not fit DistilBertForSequenceClassification")
    assert said in message
    assert not (tmp_path / "out").exists()


def test_pruned_heads_that_are_not_pruned(tmp_path: Path) -> None:
    write_model(tmp_path, TINY, "encoder")
    TINY.replace(pruned_heads={1: [2]}, architectures=("DistilBertModel",)).save_pretrained(tmp_path)
    message = problem_of(lambda: convert(tmp_path, tmp_path / "out"), WeightsError)
    assert "transformer.layer.1.attention.q_lin.weight: expected (24, 32), found (32, 32)" in message


def test_a_position_table_too_large_to_compute(tmp_path: Path) -> None:
    config = TINY.replace(sinusoidal_pos_embds=True, max_position_embeddings=10_000_000)
    tensors = random_tensors(TINY, "encoder")
    del tensors[spec.POSITION_EMBEDDINGS]
    folder = write_as_is(tmp_path, tensors, config.to_dict())
    assert "max_position_embeddings: at most" in problem_of(lambda: open_checkpoint(folder), ConfigError)


# The tensors.


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    tensors = random_tensors(TINY, "masked-lm")
    del tensors["vocab_transform.bias"]
    tensors["extra.weight"] = np.zeros(3, np.float32)
    tensors["evil\x1b[2J\nname"] = np.zeros(3, np.float32)
    tensors["distilbert.transformer.layer.1.ffn.lin1.bias"] = np.zeros(38, np.float32)
    tensors["distilbert.embeddings.LayerNorm.bias"] = np.zeros(32, np.int32)
    folder = write_as_is(tmp_path, tensors, TINY.to_dict())
    message = problem_of(lambda: convert(folder, tmp_path / "out"), WeightsError)
    assert message.splitlines() == [
        f"{folder / 'model.safetensors'}: does not fit DistilBertForMaskedLM with 2 layers",
        "  missing    1: vocab_transform.bias",
        "  unexpected 2: 'evil\\x1b[2J\\nname', extra.weight",
        "  shape      1: distilbert.transformer.layer.1.ffn.lin1.bias: expected (37,), found (38,)",
        "  not float  1: distilbert.embeddings.LayerNorm.bias (int32)",
    ]


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.bool_])
def test_weights_that_are_no_real_numbers(tmp_path: Path, dtype: type) -> None:
    tensors = {name: array.astype(dtype) for name, array in random_tensors(TINY, "encoder").items()}
    folder = write_as_is(tmp_path, tensors, TINY.to_dict())
    message = problem_of(lambda: convert(folder, tmp_path / "out"), WeightsError)
    assert f"not float  36: embeddings.word_embeddings.weight ({np.dtype(dtype)}), " in message


def test_complex_weights(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    tensors = random_tensors(TINY, "encoder")
    state = {name: torch.from_numpy(array) for name, array in tensors.items()}
    state["embeddings.LayerNorm.bias"] = torch.zeros(32, dtype=torch.complex64)
    torch.save(state, tmp_path / "pytorch_model.bin")
    TINY.save_pretrained(tmp_path)
    message = problem_of(lambda: convert(tmp_path, tmp_path / "out"), WeightsError)
    assert message.startswith(f"{tmp_path / 'pytorch_model.bin'}: refused: it asks for torch.ComplexFloatStorage")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("distilbert.embeddings.LayerNorm.weight", "module.distilbert.embeddings.LayerNorm.weight"),
        ("distilbert.embeddings.LayerNorm.weight", "distilbert.embeddings.LayerNorm.gamma"),
        ("distilbert.embeddings.LayerNorm.weight", "embeddings.LayerNorm.weight"),
        ("distilbert.embeddings.LayerNorm.weight", "distilbert/embeddings/LayerNorm/gamma:0"),
    ],
)
def test_two_names_of_one_tensor(tmp_path: Path, one: str, other: str) -> None:
    tensors = random_tensors(TINY, "masked-lm")
    tensors[other] = tensors[one]
    message = problem_of(lambda: open_checkpoint(write_as_is(tmp_path, tensors, TINY.to_dict())), WeightsError)
    assert message.startswith(f"{tmp_path / 'model.safetensors'}: ")
    assert one in message
    assert f"{other.split('distilbert')[0]}" in message
    assert "are the same tensor, distilbert.embeddings.LayerNorm.weight" in message


def test_bert_names_with_a_distilbert_config(tmp_path: Path) -> None:
    tensors = {f"bert.{name}": array for name, array in random_tensors(TINY, "encoder").items()}
    folder = write_as_is(tmp_path, tensors, TINY.to_dict())
    message = problem_of(lambda: convert(folder, tmp_path / "out"), WeightsError)
    assert "model_type distilbert, but the names are BERT's" in message


def test_absurd_layer_numbers_are_only_names(tmp_path: Path) -> None:
    tensors = random_tensors(TINY, "encoder")
    tensors[f"transformer.layer.{'9' * 6000}.ffn.lin1.bias"] = np.zeros(37, np.float32)
    folder = write_as_is(tmp_path, tensors, TINY.to_dict())
    message = problem_of(lambda: convert(folder, tmp_path / "out"), WeightsError)
    assert "unexpected 1: distilbert.transformer.layer.999" in message
    assert len(message) < 1000


@pytest.mark.parametrize(
    "lost", ["vocab_transform.weight", "vocab_projector.bias", "distilbert.embeddings.LayerNorm.bias"]
)
def test_a_lost_tensor_is_never_made_up(tmp_path: Path, lost: str) -> None:
    tensors = random_tensors(TINY, "masked-lm")
    del tensors[lost]
    folder = write_as_is(tmp_path, tensors, TINY.to_dict())
    message = problem_of(lambda: convert(folder, tmp_path / "out"), WeightsError)
    assert f"missing    1: {lost}" in message


def test_untied_without_projector(tmp_path: Path) -> None:
    config = {**TINY.to_dict(), "tie_word_embeddings": False}
    folder = write_as_is(tmp_path, random_tensors(TINY, "masked-lm"), config)
    assert f"missing    1: {spec.PROJECTOR}" in problem_of(lambda: convert(folder, tmp_path / "out"), WeightsError)


# Conversions.


def test_conversion_does_not_drop_a_second_head_unasked(tmp_path: Path) -> None:
    tensors = {**random_tensors(TINY, "masked-lm"), **random_tensors(TINY, "token-classification")}
    config = {**TINY.to_dict(), "architectures": ["DistilBertForMaskedLM"]}
    folder = write_as_is(tmp_path / "both", tensors, config)
    message = problem_of(lambda: convert(folder, tmp_path / "out"), WeightsError)
    assert (
        "has more than the head of DistilBertForMaskedLM: classifier.bias, classifier.weight; name the task" in message
    )
    assert convert(folder, tmp_path / "lm", task="masked-lm").task == "masked-lm"
    assert convert(folder, tmp_path / "ner", task="ner").task == "token-classification"


def test_conversion_to_a_task_that_is_not_there(tmp_path: Path) -> None:
    write_model(tmp_path / "start", TINY, "encoder")
    message = problem_of(lambda: convert(tmp_path / "start", tmp_path / "out", task="ner"), WeightsError)
    assert "missing    2: classifier.weight, classifier.bias" in message
    assert list(tmp_path.iterdir()) == [tmp_path / "start"]


@pytest.mark.parametrize("options", [{"to": "onnx"}, {"task": "translation"}, {"max_shard_size": "big"}])
def test_conversion_options(tmp_path: Path, options: dict[str, str]) -> None:
    write_model(tmp_path / "start", TINY, "encoder")
    message = problem_of(lambda: convert(tmp_path / "start", tmp_path / "out", **options), InputError)  # type: ignore[arg-type]
    assert "expected" in message
    assert repr(next(iter(options.values()))) in message
    assert list(tmp_path.iterdir()) == [tmp_path / "start"]


def test_conversion_into_a_folder_with_files(tmp_path: Path) -> None:
    write_model(tmp_path / "start", TINY, "encoder")
    message = problem_of(lambda: convert(tmp_path / "start", tmp_path / "start", "flax"), FileError)
    assert message.startswith(f"{tmp_path / 'start'}: is not empty")


def test_conversion_that_writes_something_else_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of what was written can fail: here one bit of one value is flipped on the way to the disk."""
    from distilbert.convert import safetensors_file

    write_model(tmp_path / "start", TINY, "encoder")
    honest = safetensors_file.write

    def dishonest(path: Path, *arguments: Any) -> None:
        honest(path, *arguments)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    monkeypatch.setattr(safetensors_file, "write", dishonest)
    message = problem_of(lambda: convert(tmp_path / "start", tmp_path / "out"), WeightsError)
    assert "written values differ from the source" in message
    assert list(tmp_path.iterdir()) == [tmp_path / "start"]


def test_writing_a_model_that_does_not_fit_its_config(tmp_path: Path) -> None:
    tensors = random_tensors(TINY, "encoder")
    del tensors["embeddings.LayerNorm.bias"]
    message = problem_of(lambda: write_model(tmp_path / "out", TINY, "encoder", tensors), WeightsError)
    assert message.startswith(f"{tmp_path / 'out'}: cannot be written: does not fit DistilBertModel")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("size", "nbytes"), [(1, 1), ("300", 300), ("5GB", 5 * 10**9), ("1.5 MiB", 3 << 19), ("20kb", 20_000)]
)
def test_sizes(size: int | str, nbytes: int) -> None:
    assert parse_size(size) == nbytes


@pytest.mark.parametrize("size", [0, -1, "", "GB", "-5GB", "5XB", "0.1", "1e9", "nan", "9" * 400, True, None, 2.5])
def test_sizes_that_are_none(size: Any) -> None:
    assert problem_of(lambda: parse_size(size), InputError).startswith("max_shard_size: expected bytes or a size")
