# SPDX-License-Identifier: Apache-2.0
"""docs/tensors.md says how files are: its names and shapes against those that are in files of every dialect."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file

from distilbert import DistilBertConfig, spec
from distilbert.convert import bert, flax_msgpack, keras_hub_writing
from distilbert.convert.tensor import StoredTensor

from .conftest import REPOSITORY
from .samples import TINY, random_tensors, task_config, write_model

PAGE = (REPOSITORY / "docs" / "tensors.md").read_text(encoding="utf-8")
CONFIG = TINY.replace(tie_word_embeddings=False)
COLUMNS = ("PyTorch", "TensorFlow", "Flax", "keras-hub", "BERT")
Shapes = dict[str, tuple[int, ...]]
tasks = pytest.mark.parametrize("task", spec.TASKS)


def sections() -> dict[str, str]:
    parts = re.split(r"^##+ (.*)$", PAGE, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def tables(text: str) -> list[list[list[str]]]:
    """The rows of each table, without its head."""
    found = re.findall(r"(?:^\|.*\|\n?)+", text, re.M)
    return [[[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]] for table in found]


def part(section: str, config: DistilBertConfig, column: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names with `{i}` and shapes, as a section of the page has them in a column; only where there is a name."""
    text = sections()[section]
    shapes, names = tables(text)
    starts = re.search(r"^Their names begin with (.*), and go on with$", text, re.M)
    begin = starts and re.findall(r"`([^`]+)` \(", starts[1])
    place = COLUMNS.index(column)
    for row, spellings in zip(shapes, names, strict=True):
        if spellings[place] != "–":
            shape = row[{"TensorFlow": 2, "Flax": 2, "keras-hub": 3}.get(column, 1)]
            yield (begin[place] if begin else "") + spellings[place].strip("`"), sizes(shape, config)


def sizes(shape: str, config: DistilBertConfig) -> tuple[int, ...]:
    symbols = re.findall(r"\w+", re.match(r"`\((.*)\)`", shape)[1])
    return tuple(
        int(symbol) if symbol.isdigit() else config.dim if symbol == "attention" else getattr(config, symbol)
        for symbol in symbols
    )


def of_page(task: str, column: str) -> Shapes:
    """Every tensor that the page gives a model of two layers."""
    config = task_config(CONFIG, task)
    found = dict(part("Embeddings", config, column))
    for name, shape in part("A layer", config, column):
        found |= {name.replace("{i}", str(i)).replace("encoder_0/", "encoder/"): shape for i in range(config.n_layers)}
    if spec.TASKS[task].layers:
        found |= dict(part(spec.TASKS[task].class_name, config, column))
    return found


def in_hdf5(path: Path) -> Shapes:
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item.shape} if isinstance(item, h5py.Dataset) else {}))
    return found


@tasks
def test_names_and_shapes_of_pytorch(tmp_path, task):
    write_model(tmp_path / "m", task_config(CONFIG, task), task)
    found = {name: values.shape for name, values in load_file(tmp_path / "m" / "model.safetensors").items()}
    page = of_page(task, "PyTorch")
    assert found == (page if task != "encoder" else {name.removeprefix("distilbert."): page[name] for name in page})


@tasks
@pytest.mark.filterwarnings("ignore:.*vocab_projector")
def test_names_and_shapes_of_tensorflow(tmp_path, task):
    write_model(tmp_path / "m", task_config(CONFIG, task), task, format="tensorflow")
    found = in_hdf5(tmp_path / "m" / "tf_model.h5")
    below = {re.sub(r"^[^/]+/tf_distil_bert_[a-z_]+/", "", name): shape for name, shape in found.items()}
    assert all(name.startswith(name.split("/", 2)[2].split("/")[0]) for name in found if "word_embed" not in name)
    assert below == of_page(task, "TensorFlow")


@tasks
def test_names_and_shapes_of_flax(tmp_path, task):
    write_model(tmp_path / "m", task_config(CONFIG, task), task, format="flax")
    tensors = flax_msgpack.read(tmp_path / "m" / "flax_model.msgpack").tensors
    page = of_page(task, "Flax")
    expected = page if task != "encoder" else {name.removeprefix("distilbert/"): page[name] for name in page}
    assert {name: tensor.shape for name, tensor in tensors.items()} == expected


@pytest.mark.parametrize("task", spec.KERAS_HUB_TASKS)
@pytest.mark.filterwarnings("ignore:.*epsilon")
def test_names_and_shapes_of_keras_hub(tmp_path, task):
    stored = [StoredTensor.of(name, values) for name, values in random_tensors(TINY, task).items()]
    files = keras_hub_writing.write_preset(tmp_path / "m", TINY, task, stored, "float32")
    assert {name: shape for file in files for name, shape in in_hdf5(file).items()} == of_page(task, "keras-hub")


@tasks
def test_names_of_bert_fold_to_every_tensor(task):
    page = of_page(task, "BERT")
    heads = task not in bert.POOLED_TASKS
    assert any(not name.startswith("bert.") for name in page) == (heads and task != "encoder")
    extra = {"bert.embeddings.token_type_embeddings.weight": (2, CONFIG.dim)}
    stored = {name: StoredTensor.of(name, np.zeros(shape, np.float32)) for name, shape in {**page, **extra}.items()}
    config = {"architectures": [spec.TASKS[task].class_name]}
    folded, problem = bert.fold_tensors(stored, config, "page")
    expected = spec.tensors(task_config(CONFIG, task), task if heads else "encoder")
    found = {spec.with_prefix(name): tensor.shape for name, tensor in folded.items()}
    assert problem is None
    assert found == {spec.with_prefix(name): tensor.shape for name, tensor in expected.items()}
