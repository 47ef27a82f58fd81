# SPDX-License-Identifier: Apache-2.0
"""Every format holds every model bit by bit, in one file or shards, in any dialect; the same model is the same bytes.

What is refused, and how, is in test_checkpoint_errors.py.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from distilbert import DistilBertConfig, spec
from distilbert.convert import Checkpoint, StoredTensor, convert, open_checkpoint, write_checkpoint
from distilbert.convert.formats import FORMATS
from distilbert.reference import sinusoidal_positions

from .samples import TINY, random_tensors, task_config, write_as_is, write_model

DTYPES = ("float64", "float32", "float16", "bfloat16")
SHARDS = "20KB"  # a tiny model is 80 KB in float32
TOKENIZER = {"vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", "tokenizer_config.json": '{"do_lower_case": true}\n'}


@pytest.fixture(autouse=True)
def _no_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of small files are written here; that each has reached the disk is not what is tested."""
    monkeypatch.setattr("distilbert.files._sync", lambda path: None)


def test_round_trip_keeps_every_bit_and_type(tmp_path: Path) -> None:
    for format, shard, task, dtype in itertools.product(FORMATS, ("5GB", SHARDS), spec.TASKS, (*DTYPES, "mixed")):
        config = task_config(TINY, task)
        tensors = of_type(random_tensors(config, task), dtype)
        folder = tmp_path / f"{format}-{shard}-{task}-{dtype}"
        write_model(folder, config, task, tensors, format, max_shard_size=shard)
        checkpoint = open_checkpoint(folder).with_settled_projector()
        assert checkpoint.task == task
        assert checkpoint.format.name == format
        assert checkpoint.dtype == ("float32" if dtype == "mixed" else dtype)
        assert checkpoint.config.dtype == (None if dtype == "mixed" else dtype)
        assert checkpoint.config.replace(dtype=None, architectures=None) == config
        assert (len(checkpoint.files) > 1) == (shard == SHARDS and tensors_size(tensors) > 20_000)
        assert_same(values(checkpoint, config, task), tensors)


@pytest.mark.parametrize("task", spec.TASKS)
@pytest.mark.parametrize("shard", ["5GB", SHARDS])
def test_full_tour_ends_with_the_same_files(tmp_path: Path, task: str, shard: str) -> None:
    config = task_config(TINY, task)
    start = tmp_path / "start"
    tensors = write_model(start, config, task, of_type(random_tensors(config, task), "mixed"), max_shard_size=shard)
    for name, text in TOKENIZER.items():
        (start / name).write_text(text)
    tour = ("pytorch", "tensorflow", "flax", "safetensors", "flax", "tensorflow", "pytorch", "safetensors")
    folder = start
    for step, format in enumerate(tour):
        result = convert(folder, tmp_path / f"{step}-{format}", format, max_shard_size=shard)
        assert (result.task, result.tensors, result.not_finite) == (task, len(tensors), ())
        folder = tmp_path / f"{step}-{format}"
        assert_same(values(open_checkpoint(folder).with_settled_projector(), config, task), tensors)
        if format == "safetensors":
            assert contents(folder) == contents(start)


def test_the_same_model_is_the_same_bytes(tmp_path: Path) -> None:
    """In another process, with another hash seed, from values in another order in memory."""
    write_model(tmp_path / "source", TINY, "masked-lm")
    script = "import sys\nfrom distilbert.convert import convert\nfor to in sys.argv[2:]: convert(sys.argv[1], to, to)"
    for seed in ("1", "2"):
        work = tmp_path / seed
        work.mkdir()
        command = [sys.executable, "-c", script, str(tmp_path / "source"), *FORMATS]
        subprocess.run(command, cwd=work, env={**os.environ, "PYTHONHASHSEED": seed}, check=True)
    turned = {name: np.asfortranarray(array) for name, array in random_tensors(TINY, "masked-lm").items()}
    for format in FORMATS:
        write_model(tmp_path / "turned" / format, TINY, "masked-lm", turned, format)
        assert contents(tmp_path / "1" / format) == contents(tmp_path / "2" / format)
        assert contents(tmp_path / "1" / format) == contents(tmp_path / "turned" / format)


def test_not_a_number_and_negative_zero_survive(tmp_path: Path) -> None:
    tensors = random_tensors(TINY, "encoder")
    words = tensors[spec.WORD_EMBEDDINGS]
    words[3, :4] = np.nan, np.inf, -np.inf, -0.0
    words.view(np.uint32)[3, 0] |= 0x1234  # a NaN with a payload
    folder = tmp_path / "start"
    write_model(folder, TINY, "encoder", tensors)
    for format in ("pytorch", "tensorflow", "flax", "safetensors"):
        result = convert(folder, tmp_path / format, format)
        assert result.not_finite == (spec.WORD_EMBEDDINGS,)
        folder = tmp_path / format
    assert_same(values(open_checkpoint(folder), TINY, "encoder"), tensors)


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}, {"format": "np"}, {"format": "tf", "note": "x"}])
@pytest.mark.parametrize("dialect", ["tf", "flax"])
def test_dialect_is_that_of_the_names(tmp_path: Path, dialect: str, metadata: dict[str, str]) -> None:
    for task in spec.TASKS:
        config = task_config(TINY, task)
        tensors = random_tensors(config, task)
        named = {}
        for name, row in spec.tensors(config, task).items():
            native = spec.native_name(row, dialect)
            native = native.replace("/", ".") if dialect == "flax" else native
            named[native] = np.ascontiguousarray(tensors[name].T) if row.transposed else tensors[name]
        folder = write_as_is(tmp_path / task, named, config.to_dict(), metadata=metadata)
        checkpoint = open_checkpoint(folder)
        assert checkpoint.dialect == dialect
        assert_same(values(checkpoint, config, task), tensors)


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name.replace("orm.weight", "orm.gamma").replace("orm.bias", "orm.beta"),
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.module.{name}",
        lambda name: f"module._orig_mod.{name}",
        lambda name: name.removeprefix("distilbert."),
        lambda name: f"distilbert.{name}",
        lambda name: name.replace("distilbert.", "distilbert.distilbert.distilbert."),
    ],
    ids=["gamma-beta", "module", "compiled", "module-compiled", "no-prefix", "prefix-everywhere", "three-prefixes"],
)
@pytest.mark.parametrize("task", spec.TASKS)
def test_spellings(tmp_path: Path, task: str, rename: object) -> None:
    config = task_config(TINY, task)
    tensors = random_tensors(config, task)
    named = {rename(name): array for name, array in tensors.items()}  # type: ignore[operator]
    named["distilbert.embeddings.position_ids"] = np.arange(48)[None]
    config_file = {**config.to_dict(), "architectures": [spec.TASKS[task].class_name]}
    checkpoint = open_checkpoint(write_as_is(tmp_path, named, config_file, "pytorch"))
    assert checkpoint.task == task
    assert_same(values(checkpoint, config, task), tensors)


def test_tied_projector_that_is_repeated(tmp_path: Path) -> None:
    tensors = random_tensors(TINY, "masked-lm")
    twice = {**tensors, spec.PROJECTOR: tensors[f"distilbert.{spec.WORD_EMBEDDINGS}"].copy()}
    folder = write_as_is(tmp_path, twice, TINY.to_dict())
    checkpoint = open_checkpoint(folder).with_settled_projector()
    assert checkpoint.config.tie_word_embeddings
    assert_same(values(checkpoint, TINY, "masked-lm"), tensors)


def test_tied_projector_that_alone_is_there(tmp_path: Path) -> None:
    tensors = random_tensors(TINY, "masked-lm")
    alone = {spec.PROJECTOR if "word_emb" in name else name: array for name, array in tensors.items()}
    folder = write_as_is(tmp_path, alone, TINY.to_dict())
    assert_same(values(open_checkpoint(folder).with_settled_projector(), TINY, "masked-lm"), tensors)


def test_tied_projector_that_differs_unties(tmp_path: Path) -> None:
    untied = TINY.replace(tie_word_embeddings=False)
    tensors = random_tensors(untied, "masked-lm")
    folder = write_as_is(tmp_path / "start", tensors, TINY.to_dict())
    for format in ("flax", "pytorch", "safetensors"):
        with pytest.warns(UserWarning, match="differs from the word embeddings"):
            convert(folder, tmp_path / format, format)
        checkpoint = open_checkpoint(tmp_path / format).with_settled_projector()
        assert not checkpoint.config.tie_word_embeddings
        assert_same(values(checkpoint, untied, "masked-lm"), tensors)


def test_untied_projector_in_tensorflow_is_kept_with_a_warning(tmp_path: Path) -> None:
    untied = TINY.replace(tie_word_embeddings=False)
    tensors = write_model(tmp_path / "start", untied, "masked-lm")
    with pytest.warns(UserWarning, match="TensorFlow class ties it"):
        convert(tmp_path / "start", tmp_path / "tf", "tensorflow")
    checkpoint = open_checkpoint(tmp_path / "tf").with_settled_projector()
    assert_same(values(checkpoint, untied, "masked-lm"), tensors)


def test_tensorflow_file_without_projector_is_tied_whatever_the_config_says(tmp_path: Path) -> None:
    tensors = write_model(tmp_path, TINY, "masked-lm", format="tensorflow")
    TINY.replace(tie_word_embeddings=False, architectures=("DistilBertForMaskedLM",)).save_pretrained(tmp_path)
    checkpoint = open_checkpoint(tmp_path).with_settled_projector()
    assert checkpoint.config.tie_word_embeddings
    assert_same(values(checkpoint, TINY, "masked-lm"), tensors)


def test_index_of_pytorch_shards_lists_the_tied_projector(tmp_path: Path) -> None:
    write_model(tmp_path, TINY, "masked-lm", format="pytorch", max_shard_size=SHARDS)
    weight_map = json.loads((tmp_path / "pytorch_model.bin.index.json").read_text())["weight_map"]
    assert weight_map[spec.PROJECTOR] == weight_map[f"distilbert.{spec.WORD_EMBEDDINGS}"]


def test_pruned_heads(tmp_path: Path) -> None:
    config = TINY.replace(pruned_heads={0: [1, 3], 1: [0]})
    tensors = random_tensors(config, "encoder")
    assert tensors["transformer.layer.0.attention.q_lin.weight"].shape == (16, 32)
    folder = tmp_path / "start"
    write_model(folder, config, "encoder", tensors)
    for format in ("flax", "tensorflow", "pytorch", "safetensors"):
        convert(folder, tmp_path / format, format)
        folder = tmp_path / format
        checkpoint = open_checkpoint(folder)
        assert checkpoint.config.pruned_heads == {0: (1, 3), 1: (0,)}
        assert_same(values(checkpoint, config, "encoder"), tensors)
    assert contents(folder) == contents(tmp_path / "start")


@pytest.mark.parametrize("dtype", [*DTYPES, "mixed"])
def test_sinusoidal_positions_are_computed_where_flax_leaves_them_out(tmp_path: Path, dtype: str) -> None:
    config = TINY.replace(sinusoidal_pos_embds=True)
    tensors = random_tensors(config, "masked-lm")
    table = f"distilbert.{spec.POSITION_EMBEDDINGS}"
    tensors[table] = sinusoidal_positions(48, 32).astype(np.float32)
    tensors = of_type(tensors, dtype)
    write_model(tmp_path / "start", config, "masked-lm", tensors)
    convert(tmp_path / "start", tmp_path / "flax", "flax")
    stored = FORMATS["flax"].codec.read(tmp_path / "flax" / "flax_model.msgpack").tensors
    assert table in FORMATS["safetensors"].codec.read(tmp_path / "start" / "model.safetensors").tensors
    same_type = tensors[table].dtype == tensors[f"distilbert.{spec.WORD_EMBEDDINGS}"].dtype
    assert ("distilbert/embeddings/position_embeddings/embedding" in stored) == (not same_type)
    convert(tmp_path / "flax", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(tmp_path / "start")


def test_a_sinusoidal_table_too_large_to_compute_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distilbert.convert.positions._LIMIT", 48 * 32 - 1)
    config = TINY.replace(sinusoidal_pos_embds=True)
    tensors = random_tensors(config, "encoder")
    tensors[spec.POSITION_EMBEDDINGS] = sinusoidal_positions(48, 32).astype(np.float32)
    write_model(tmp_path, config, "encoder", tensors, "flax")
    assert_same(values(open_checkpoint(tmp_path), config, "encoder"), tensors)


def test_sinusoidal_positions_that_differ_are_kept(tmp_path: Path) -> None:
    config = TINY.replace(sinusoidal_pos_embds=True)
    tensors = write_model(tmp_path / "start", config, "encoder")
    convert(tmp_path / "start", tmp_path / "flax", "flax")
    assert_same(values(open_checkpoint(tmp_path / "flax"), config, "encoder"), tensors)


@pytest.mark.parametrize("named", [True, False], ids=["architectures", "no-architectures"])
@pytest.mark.parametrize("task", spec.TASKS)
def test_task_is_found(tmp_path: Path, task: str, named: bool) -> None:
    config = task_config(TINY, task)
    data = {**config.to_dict(), "architectures": [spec.TASKS[task].class_name] if named else None}
    folder = write_as_is(tmp_path, random_tensors(config, task), data)
    assert open_checkpoint(folder).task == task


@pytest.mark.parametrize(
    ("tensors_of", "named", "task"),
    [
        ("masked-lm", "DistilBertModel", "masked-lm"),
        ("sequence-classification", "DistilBertForMaskedLM", "sequence-classification"),
        ("sequence-classification", "SomethingElse", "sequence-classification"),
        ("encoder", "DistilBertForMaskedLM", "masked-lm"),  # and so the missing head is an error
        ("token-classification", "DistilBertForSequenceClassification", "sequence-classification"),  # damaged
    ],
)
def test_task_when_config_and_tensors_differ(tmp_path: Path, tensors_of: str, named: str, task: str) -> None:
    data = {**TINY.to_dict(), "architectures": [named]}
    folder = write_as_is(tmp_path, random_tensors(TINY, tensors_of), data)
    assert open_checkpoint(folder).task == task


def test_a_part_of_a_head_is_that_head(tmp_path: Path) -> None:
    tensors = random_tensors(TINY, "masked-lm")
    del tensors["vocab_layer_norm.weight"], tensors["vocab_layer_norm.bias"]
    assert open_checkpoint(write_as_is(tmp_path, tensors, TINY.to_dict())).task == "masked-lm"


def test_conversion_to_another_task_leaves_the_head_behind(tmp_path: Path) -> None:
    tensors = write_model(tmp_path / "start", TINY, "masked-lm")
    result = convert(tmp_path / "start", tmp_path / "encoder", "flax", task="encoder")
    assert result.task == "encoder"
    encoder = {name.removeprefix("distilbert."): array for name, array in tensors.items() if "distilbert." in name}
    assert_same(values(open_checkpoint(tmp_path / "encoder"), TINY, "encoder"), encoder)


def test_conversion_reports_its_progress(tmp_path: Path) -> None:
    tensors = write_model(tmp_path / "start", TINY, "encoder")
    done = {"write": 0, "verify": 0}

    def count(step: str, nbytes: int) -> None:
        done[step] += nbytes

    result = convert(tmp_path / "start", tmp_path / "end", "flax", progress=count)
    assert done == {"write": tensors_size(tensors), "verify": tensors_size(tensors)}
    assert result.nbytes == tensors_size(tensors)
    assert result.files == ("config.json", "flax_model.msgpack")


def test_writing_again_replaces_what_would_contradict(tmp_path: Path) -> None:
    write_model(tmp_path, TINY, "masked-lm", max_shard_size=SHARDS)
    second = write_model(tmp_path, TINY, "encoder", random_tensors(TINY, "encoder", seed=1))
    assert sorted(contents(tmp_path)) == ["config.json", "model.safetensors"]
    assert_same(values(open_checkpoint(tmp_path), TINY, "encoder"), second)
    third = write_model(tmp_path, TINY, "encoder", random_tensors(TINY, "encoder", seed=2), max_shard_size="30KB")
    assert "model.safetensors" not in contents(tmp_path)
    assert_same(values(open_checkpoint(tmp_path), TINY, "encoder"), third)


def test_a_failed_write_leaves_the_older_checkpoint(tmp_path: Path) -> None:
    first = write_model(tmp_path, TINY, "encoder")
    before = contents(tmp_path)

    def broken() -> np.ndarray:
        raise OSError("no values")

    stored = {name: StoredTensor.of(name, array) for name, array in first.items()}
    name = "transformer.layer.1.ffn.lin2.weight"
    stored[name] = StoredTensor(name, first[name].shape, first[name].dtype, broken)
    with pytest.raises(OSError, match="no values"):
        write_checkpoint(tmp_path, TINY.replace(dropout=0.3), "encoder", stored, format="safetensors")
    assert contents(tmp_path) == before


def of_type(tensors: Mapping[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """The tensors in one float type, or each in another one."""
    types = itertools.cycle(DTYPES if dtype == "mixed" else [dtype])
    numpy_types = {name: getattr(ml_dtypes if name == "bfloat16" else np, name) for name in DTYPES}
    return {name: values.astype(numpy_types[next(types)]) for name, values in tensors.items()}


def values(checkpoint: Checkpoint, config: DistilBertConfig, task: str) -> dict[str, np.ndarray]:
    found = checkpoint.fit(config, task)
    assert found.is_exact, found.problems()
    return {name: tensor.load() for name, tensor in found.tensors.items()}


def assert_same(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def tensors_size(tensors: Mapping[str, np.ndarray]) -> int:
    return sum(array.nbytes for array in tensors.values())
