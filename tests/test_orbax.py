# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of Orbax: Flax's tree of parameters, read lazily without JAX and written by Orbax itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from distilbert import convert_checkpoint, open_checkpoint, spec
from distilbert.convert import orbax_folder
from distilbert.convert.arrays import same_bits
from distilbert.convert.formats import FORMATS
from distilbert.convert.tensor import BFLOAT16
from distilbert.errors import BackendError, FileError, WeightsError
from distilbert.files import file_digest
from distilbert.parity import verify

from .samples import TINY, random_tensors, task_config, write_model

orbax = pytest.importorskip("orbax.checkpoint")
TASK = "sequence-classification"


def params(folder: Path) -> dict:
    """The tree of flax_model.msgpack as nested dictionaries of arrays."""
    tree: dict = {}
    for name, tensor in FORMATS["flax"].codec.read(folder / "flax_model.msgpack").tensors.items():
        *path, leaf = name.split("/")
        node = tree
        for step in path:
            node = node.setdefault(step, {})
        node[leaf] = np.ascontiguousarray(tensor.load())
    return tree


@pytest.fixture
def flax(tmp_path) -> Path:
    write_model(tmp_path / "flax", TINY, TASK, format="flax")
    return tmp_path / "flax"


def assert_same(folder: Path, tensors: dict[str, np.ndarray], task: str = TASK) -> None:
    checkpoint = open_checkpoint(folder)
    assert checkpoint.format.name == "orbax"
    found = checkpoint.fit(checkpoint.config, task)
    assert found.is_exact
    assert found.tensors.keys() == tensors.keys()
    assert all(same_bits(found.tensors[name].load(), values) for name, values in tensors.items())


@pytest.mark.parametrize("task", spec.TASKS)
def test_every_task_there_and_back(tmp_path, task):
    config = task_config(TINY, task)
    tensors = write_model(tmp_path / "source", config, task)
    convert_checkpoint(tmp_path / "source", tmp_path / "orbax", "orbax")
    assert_same(tmp_path / "orbax", tensors, task)
    convert_checkpoint(tmp_path / "orbax", tmp_path / "back")
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == (
        tmp_path / "source" / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("dtype", [np.float64, np.float16, BFLOAT16])
def test_every_float_type(tmp_path, dtype):
    tensors = random_tensors(TINY, TASK, dtype=dtype)
    write_model(tmp_path / "orbax", TINY, TASK, tensors, format="orbax")
    assert_same(tmp_path / "orbax", tensors)


def test_orbax_restores_the_params_of_flax(tmp_path):
    pytest.importorskip("flax")
    import jax

    from distilbert import FlaxDistilBertForSequenceClassification

    write_model(tmp_path / "orbax", TINY, TASK, format="orbax")
    model = FlaxDistilBertForSequenceClassification.from_pretrained(tmp_path / "orbax")
    with orbax.StandardCheckpointer() as checkpointer:
        restored = checkpointer.restore((tmp_path / "orbax" / "flax_model.orbax").absolute(), model.params)
    assert jax.tree.structure(restored) == jax.tree.structure(model.params)
    assert all(map(np.array_equal, jax.tree.leaves(restored), jax.tree.leaves(model.params)))


def test_params_that_jax_saved_are_read(tmp_path):
    pytest.importorskip("flax")
    from distilbert import FlaxDistilBertForSequenceClassification

    model = FlaxDistilBertForSequenceClassification(TINY, seed=3)
    TINY.save_pretrained(tmp_path)
    with orbax.StandardCheckpointer() as checkpointer:
        checkpointer.save((tmp_path / "step_7").absolute(), model.params)
    assert_same(tmp_path, model.dump_tensors())


@pytest.mark.parametrize("layout", [{}, {"use_ocdbt": False}, {"use_zarr3": True}])
def test_every_layout_of_orbax_is_read(flax, tmp_path, layout):
    tensors = {name: tensor.load() for name, tensor in open_checkpoint(flax).tensors.items()}
    state = {"params": params(flax), "step": 5, "moments": ({"nu": np.zeros(3)}, np.zeros(2))}
    with orbax.PyTreeCheckpointer(**layout) as checkpointer:
        checkpointer.save((tmp_path / "run" / "state").absolute(), state)
    (tmp_path / "run" / "config.json").write_bytes((flax / "config.json").read_bytes())
    assert_same(tmp_path / "run", {spec.with_prefix(name): values for name, values in tensors.items()})


def test_the_folder_itself_can_be_named_and_may_hold_the_config(flax, tmp_path):
    convert_checkpoint(flax, tmp_path / "out", "orbax")
    folder = tmp_path / "out" / "flax_model.orbax"
    assert open_checkpoint(folder).config == open_checkpoint(flax).config
    (tmp_path / "out" / "config.json").rename(folder / "config.json")
    assert open_checkpoint(tmp_path / "out").task == TASK


def test_saving_again_replaces(tmp_path):
    write_model(tmp_path, TINY, TASK, format="orbax")
    tensors = write_model(tmp_path, TINY, TASK, random_tensors(TINY, TASK, seed=1), format="orbax")
    assert_same(tmp_path, tensors)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "flax_model.orbax"]


def test_a_folder_that_is_no_checkpoint_stays(tmp_path):
    (tmp_path / "flax_model.orbax").mkdir()
    (tmp_path / "flax_model.orbax" / "notes.txt").write_text("mine")
    with pytest.raises(FileError, match="is in the way"):
        write_model(tmp_path, TINY, TASK, format="orbax")
    assert (tmp_path / "flax_model.orbax" / "notes.txt").read_text() == "mine"


def test_an_older_checkpoint_outlasts_a_failure(tmp_path, monkeypatch):
    tensors = write_model(tmp_path, TINY, TASK, format="orbax")

    def fail(checkpointer: object, place: Path, *arguments: object, **options: object) -> None:
        shutil.rmtree(place, ignore_errors=True)  # as Orbax does with force=True before it writes
        raise OSError("the disk is full")

    monkeypatch.setattr(orbax.StandardCheckpointer, "save", fail)
    with pytest.raises(FileError, match="the disk is full"):
        write_model(tmp_path, TINY, TASK, random_tensors(TINY, TASK, seed=1), format="orbax")
    assert_same(tmp_path, tensors)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "flax_model.orbax"]


@pytest.mark.parametrize("inside", [False, True])
def test_verifying(flax, written, inside):
    if inside:
        (written.parent / "config.json").rename(written / "config.json")
    report = verify(written if inside else written.parent, against=flax, backends=())
    assert report.ok
    config = "flax_model.orbax/config.json" if inside else "config.json"
    assert report.source.files.keys() >= {config, "flax_model.orbax/_METADATA"}
    assert report.source.files["flax_model.orbax/_METADATA"] == file_digest(written / "_METADATA")


def test_reading_imports_no_framework(flax, tmp_path):
    convert_checkpoint(flax, tmp_path / "out", "orbax")
    code = (
        "import sys; from distilbert import convert_checkpoint; convert_checkpoint(*sys.argv[1:]); "
        "print({'jax', 'flax', 'torch', 'tensorflow', 'orbax.checkpoint'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out"), str(tmp_path / "back")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "set()\n"


# What is wrong.


@pytest.fixture
def written(flax, tmp_path) -> Path:
    convert_checkpoint(flax, tmp_path / "out", "orbax")
    return tmp_path / "out" / "flax_model.orbax"


@pytest.mark.parametrize("package", ["tensorstore", "orbax.checkpoint"])
def test_a_missing_package_is_named(flax, written, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BackendError, match=rf'{package}[\s\S]*pip install "distilbert\[orbax\]"'):
        convert_checkpoint(flax, tmp_path / "again", "orbax")
    if package == "tensorstore":
        with pytest.raises(BackendError, match="reading a checkpoint of Orbax needs tensorstore"):
            open_checkpoint(written)
    assert not (tmp_path / "again").exists()


def test_two_checkpoints_must_be_told_apart(written):
    (written.parent / "other").mkdir()
    (written.parent / "other" / "_METADATA").write_bytes((written / "_METADATA").read_bytes())
    with pytest.raises(FileError, match=r"2 checkpoints of Orbax, flax_model\.orbax, other"):
        open_checkpoint(written.parent)


@pytest.mark.parametrize(
    "text", ["{}", '{"tree_metadata": {"a": 1}}', '{"tree_metadata": {"a": {"key_metadata": [1]}}}']
)
def test_metadata_of_another_kind(written, text):
    (written / "_METADATA").write_text(text)
    with pytest.raises(WeightsError, match="expected the arrays of a tree, as Orbax lists them"):
        open_checkpoint(written)


@pytest.mark.parametrize("key", ["../../secret", "a/b", "", 3])
def test_a_name_that_leads_elsewhere_is_refused(written, key):
    entry = {"key_metadata": [{"key": key, "key_type": 2}], "value_metadata": {}}
    (written / "_METADATA").write_text(json.dumps({"tree_metadata": {"x": entry}}))
    with pytest.raises(WeightsError, match="expected a path of names"):
        open_checkpoint(written)


def test_an_array_that_is_not_there_is_named(written):
    metadata = json.loads((written / "_METADATA").read_text())
    entry = {"key_metadata": [{"key": "ghost", "key_type": 2}], "value_metadata": {}}
    metadata["tree_metadata"]["('ghost',)"] = entry
    (written / "_METADATA").write_text(json.dumps(metadata))
    with pytest.raises(WeightsError, match="ghost: "):
        open_checkpoint(written)


def test_missing_values_are_not_zeros(flax, tmp_path):
    with orbax.PyTreeCheckpointer(use_ocdbt=False) as checkpointer:
        checkpointer.save((tmp_path / "run" / "state").absolute(), params(flax))
    (tmp_path / "run" / "config.json").write_bytes((flax / "config.json").read_bytes())
    (tmp_path / "run" / "state" / "classifier.bias" / "0").unlink()
    bias = open_checkpoint(tmp_path / "run").tensors["classifier.bias"]
    with pytest.raises(WeightsError, match="classifier/bias: "):
        bias.load()


def test_a_truncated_file_is_refused(written):
    for file in written.rglob("d/*"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(WeightsError, match=f"{written}: "):
        for tensor in open_checkpoint(written.parent).tensors.values():
            tensor.load()


def test_names_are_those_of_the_flax_file(flax, written):
    expected = FORMATS["flax"].codec.read(flax / "flax_model.msgpack").tensors
    found = orbax_folder.read(written).tensors
    assert {name: tensor.shape for name, tensor in found.items()} == {
        name: tensor.shape for name, tensor in expected.items()
    }
