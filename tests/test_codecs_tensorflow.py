# SPDX-License-Identifier: Apache-2.0
"""tf_model.h5: the layouts of Keras and Hugging Face of all years, and the tricks of HDF5 to mislead a reader."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from distilbert.convert import tensorflow_h5
from distilbert.convert.tensor import BFLOAT16, Array
from distilbert.errors import WeightsError

from .codec_samples import loaded, outcome, rewrite, same, stored, tensors_of_every_kind

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)
NAME = "distilbert/transformer/layer_._0/ffn/lin1/kernel:0"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tf_model.h5"


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        loaded(tensorflow_h5.read(path))
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def fixed(names: list[str]) -> Array:
    return np.array([name.encode() for name in names], dtype=np.bytes_)


def keras_file(
    path: Path, layers: dict[str, dict[str, Any]], texts: Callable[[list[str]], Any] = list, **options: Any
) -> None:
    """A file as Keras 2 saves it: `layers` maps a layer to its weights by full name."""
    with h5py.File(path, "w", **options) as file:
        file.attrs["layer_names"] = texts(list(layers))
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.3.0-tf"
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = texts(list(weights)) if weights else []
            for name, values in weights.items():
                group.create_dataset(name, data=values)


@pytest.mark.parametrize("texts", [list, fixed], ids=["variable", "fixed"])
def test_the_layout_of_keras_of_all_years(path: Path, texts: Callable[[list[str]], Any]) -> None:
    weights = {f"tf_distil_bert_model_1/distilbert/embeddings/weight_{index}:0": KERNEL + index for index in range(3)}
    layers = {"distilbert": weights, "activation_13": {}, "qa_outputs": {"tf_x/qa_outputs/bias:0": np.ones(2)}}
    keras_file(path, layers, texts)
    file = tensorflow_h5.read(path)
    expected = {name.partition("/")[2]: values for name, values in weights.items()}
    assert same(loaded(file), {**expected, "qa_outputs/bias:0": np.ones(2)})
    assert list(file.tensors)[:2] == ["distilbert/embeddings/weight_0:0", "distilbert/embeddings/weight_1:0"]
    assert file.metadata == {"backend": "tensorflow", "keras_version": "2.3.0-tf"}


def test_many_layers_and_names_in_several_attributes(path: Path) -> None:
    names = [f"m/distilbert/layer_._{index}/kernel:0" for index in range(500)]  # a tree of links several levels deep
    with h5py.File(path, "w") as file:
        for part, some in enumerate(("distilbert", "empty")):
            file.attrs[f"layer_names{part}"] = fixed([some])
            file.create_group(some)
        file["empty"].attrs["weight_names"] = []
        for part in range(5):
            file["distilbert"].attrs[f"weight_names{part}"] = fixed(names[100 * part : 100 * part + 100])
        for index, name in enumerate(names):
            file["distilbert"].create_dataset(name, data=np.float32(index))
    arrays = loaded(tensorflow_h5.read(path))
    assert [float(arrays[name[2:]]) for name in names] == list(range(500))


def test_weights_of_the_model_itself_are_found(path: Path) -> None:
    keras_file(path, {"distilbert": {}})
    with h5py.File(path, "a") as file:
        group = file.create_group("top_level_model_weights")
        group.attrs["weight_names"] = ["scale:0"]
        group["scale:0"] = KERNEL
    assert same(loaded(tensorflow_h5.read(path)), {"scale:0": KERNEL})


def test_the_layout_of_a_shard(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset(NAME, data=KERNEL)
        file.attrs["layer_names"] = [NAME.encode()]
    file = tensorflow_h5.read(path)
    assert same(loaded(file), {NAME: KERNEL})
    assert file.metadata == {}


def test_numbers_of_every_kind(path: Path) -> None:
    kinds = ("<f8", ">f8", "<f4", ">f4", "<f2", ">f2", "<i8", ">i4", "<i2", "i1", "u1", ">u2", "<u4", "<u8")
    weights = {
        f"m/x/{kind[0] + kind[1:]}".replace("<", "l").replace(">", "b"): np.arange(4).astype(kind) for kind in kinds
    }
    weights |= {"m/x/empty": np.zeros((0, 3), "f4"), "m/x/number": np.float32(1.5)}
    keras_file(path, {"x": weights})
    assert same(loaded(tensorflow_h5.read(path)), {name[2:]: np.asarray(values) for name, values in weights.items()})


def test_copies_of_a_tensor_are_compared_and_collapse(path: Path) -> None:
    values = np.array([[1, np.nan], [-0.0, 2]], np.float32)
    layers = {"distilbert": {"m/distilbert/w:0": values}, "vocab_projector": {"m/distilbert/w:0": values.copy()}}
    keras_file(path, layers)
    assert same(loaded(tensorflow_h5.read(path)), {"distilbert/w:0": values})
    layers["vocab_projector"]["m/distilbert/w:0"][1, 0] = 0.0
    keras_file(path, layers)
    assert "distilbert/w:0: the file holds two copies with different values" in refusal(path)
    layers["vocab_projector"]["m/distilbert/w:0"] = values.T[:1]
    keras_file(path, layers)
    assert "distilbert/w:0: several copies, of different shape or dtype" in refusal(path)


@pytest.mark.parametrize("sharded", [False, True])
def test_what_is_written_h5py_reads(path: Path, sharded: bool) -> None:
    arrays = tensors_of_every_kind()
    tensorflow_h5.write(path, stored(arrays), {}, model_name="tf_model", sharded=sharded)
    with h5py.File(path) as file:
        assert list(file.attrs["layer_names"]) == [name.encode() for name in (arrays if sharded else ["a", "b", "c"])]
        for name, values in arrays.items():
            dataset = file[name if sharded else f"{name.split('/')[0]}/tf_model/{name}"]
            assert dataset.shape == values.shape
            assert np.array_equal(dataset[()], values.astype(dataset.dtype), equal_nan=True)
            assert dataset.dtype == (np.float32 if values.dtype == BFLOAT16 else values.dtype.newbyteorder("="))
        if not sharded:
            names = [f"tf_model/{name}".encode() for name in arrays if name.startswith("a/")]
            assert list(file["a"].attrs["weight_names"]) == names
            assert len(file["top_level_model_weights"].attrs["weight_names"]) == 0
    assert same(loaded(tensorflow_h5.read(path)), arrays)


def test_repeated_tensors_take_no_space(path: Path) -> None:
    arrays = {"distilbert/w:0": np.ones((300, 300), np.float32), "vocab_projector/bias:0": np.ones(3, np.float32)}
    tensorflow_h5.write(path, stored(arrays), {}, repeated={"vocab_projector": ["distilbert/w:0"]})
    assert path.stat().st_size < 1.2 * sum(values.nbytes for values in arrays.values())
    with h5py.File(path) as file:
        group = file["vocab_projector"]
        assert [name.partition(b"/")[2].decode() for name in group.attrs["weight_names"]] == list(arrays)[::-1]
        assert np.array_equal(group["tf_distil_bert_model/distilbert/w:0"], arrays["distilbert/w:0"])
    assert same(loaded(tensorflow_h5.read(path)), arrays)
    with pytest.raises(WeightsError, match="x: cannot be repeated"):
        tensorflow_h5.write(path, stored(arrays), {}, repeated={"vocab_projector": ["x"]})


def test_long_lists_of_names_are_split(path: Path) -> None:
    arrays = {f"distilbert/{'long' * 30}/{index}": np.float32(index).reshape(()) for index in range(700)}
    tensorflow_h5.write(path, stored(arrays), {})
    with h5py.File(path) as file:
        assert sorted(file["distilbert"].attrs) == ["weight_names0", "weight_names1"]
    assert same(loaded(tensorflow_h5.read(path)), arrays)


@pytest.mark.parametrize(
    "names", [("a", "a/b"), ("a/b", "a"), ("a//b",), ("/a",), ("a/../b",), ("é/a",), ("a\n",), ("",)]
)
def test_names_that_hdf5_cannot_hold(path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(WeightsError, match="tf_model.h5"):
        tensorflow_h5.write(path, stored(dict.fromkeys(names, KERNEL)), {})
    assert not path.exists()


def put(change: Callable[[h5py.Group, Path], None]) -> Callable[[Path], None]:
    """A file in which `change` makes the one weight."""

    def make(path: Path) -> None:
        keras_file(path, {"x": {}})
        with h5py.File(path, "a") as file:
            file["x"].attrs["weight_names"] = ["m/x/w:0"]
            change(file["x"].create_group("m/x"), path)

    return make


def other_file(path: Path) -> str:
    with h5py.File(path.parent / "other.h5", "w") as file:
        file["w:0"] = KERNEL
    return str(path.parent / "other.h5")


def external_link(group: h5py.Group, path: Path) -> None:
    group["w:0"] = h5py.ExternalLink(other_file(path), "w:0")


def soft_link(group: h5py.Group, path: Path) -> None:
    group["real"] = KERNEL
    group["w:0"] = h5py.SoftLink("real")


def link_on_the_way(link: Any) -> Callable[[h5py.Group, Path], None]:
    def change(group: h5py.Group, path: Path) -> None:
        group["w:0"] = KERNEL
        other_file(path)
        root = group.file["x"]
        root.move("m", "real")
        root["m"] = link

    return change


def external_values(group: h5py.Group, path: Path) -> None:
    (path.parent / "values.bin").write_bytes(KERNEL.tobytes())
    group.create_dataset("w:0", (2, 3), "f4", external=[(str(path.parent / "values.bin"), 0, 24)])


def virtual(group: h5py.Group, path: Path) -> None:
    layout = h5py.VirtualLayout((2, 3), "f4")
    layout[...] = h5py.VirtualSource(other_file(path), "w:0", (2, 3))
    group.create_virtual_dataset("w:0", layout)


def lying_filter(group: h5py.Group, path: Path) -> None:
    dataset = group.create_dataset("w:0", (2, 3), "f4", chunks=(2, 3), compression="gzip")
    dataset.id.write_direct_chunk((0, 0), b"x\x9cc\x00\x00\x00\x01\x00\x01")


def named_type(group: h5py.Group, path: Path) -> None:
    group["type"] = np.dtype("f4")
    group.create_dataset("w:0", (2, 3), dtype=group["type"])


def compact(group: h5py.Group, path: Path) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    h5py.h5d.create(group.id, b"w:0", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((2, 3)), plist)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external_link, "links out of the file"),
        (soft_link, "w:0 is a link to another name"),
        (link_on_the_way(h5py.SoftLink("/x/real")), "m is a link to another name"),
        (link_on_the_way(h5py.ExternalLink("other.h5", "/")), "links out of the file"),
        (external_values, "x/w:0: its values are in another file"),
        (virtual, "x/w:0: chunked or virtual values"),
        (lying_filter, "x/w:0: compressed or filtered"),
        (named_type, "named type"),
        (compact, "x/w:0: chunked or virtual values"),
        (lambda g, p: g.create_dataset("w:0", (2, 3), "f4"), "x/w:0: its values were never written"),
        (lambda g, p: g.create_dataset("w:0", data=KERNEL, chunks=(2, 2)), "x/w:0: chunked or virtual"),
        (lambda g, p: g.create_dataset("w:0", (2, 3), "f4", maxshape=(None, 3)), "x/w:0: chunked or virtual"),
        (lambda g, p: g.create_dataset("w:0", (2**20, 2**20), "f4", chunks=(1, 1)), "x/w:0: chunked or virtual"),
        (lambda g, p: g.create_dataset("w:0", (2**40, 2**40), "f4"), "x/w:0: "),
        (lambda g, p: g.create_dataset("w:0", data="text"), "x/w:0: text"),
        (lambda g, p: g.create_dataset("w:0", data=[b"a", b"b"]), "x/w:0: text"),
        (lambda g, p: g.create_dataset("w:0", data=[True, False]), "x/w:0: an enumeration of a type"),
        (lambda g, p: g.create_dataset("w:0", data=np.ones(2, np.complex64)), "x/w:0: compound"),
        (lambda g, p: g.create_dataset("w:0", data=np.void(b"12")), "x/w:0: opaque bytes"),
        (
            lambda g, p: g.create_dataset("w:0", data=h5py.Empty("f4")),
            "x/w:0: expected a shape of non-negative integers, found None",
        ),
        (lambda g, p: g.create_group("w:0"), "x/w:0: expected a dataset"),
        (lambda g, p: None, "x/w:0: m/x/w:0: not in the file (w:0 is missing)"),
    ],
)
def test_tricks_of_hdf5(path: Path, change: Callable[[h5py.Group, Path], None], message: str) -> None:
    put(change)(path)
    assert message in refusal(path)


def attributes(**changes: Any) -> Callable[[Path], None]:
    """A sound file with other attributes; None removes one."""

    def make(path: Path) -> None:
        keras_file(path, {"x": {"m/x/w:0": KERNEL}})
        with h5py.File(path, "a") as file:
            for name, value in changes.items():
                target = file["x"] if name == "weight_names" else file
                del target.attrs[name]
                if value is not None:
                    target.attrs[name] = value

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (attributes(layer_names=None), "no attribute layer_names"),
        (attributes(weight_names=None), "layer x: no attribute weight_names"),
        (attributes(layer_names=["x", "x"]), "lists a layer twice"),
        (attributes(layer_names=["y"]), "y: not in the file"),
        (attributes(layer_names=[""]), "not in the file"),
        (attributes(layer_names=["x/../x"]), "not in the file"),
        (attributes(layer_names=[1.5]), "attribute layer_names: "),
        (attributes(layer_names=[["x"]]), "attribute layer_names: expected a list of texts"),
        (attributes(layer_names=np.array([b"\xff"])), "expected a name in UTF-8"),
        (attributes(weight_names=["m/x/w:0/more"]), "expected a group, found something else"),
        (attributes(weight_names=["m/x"]), "expected a dataset"),
        (attributes(weight_names=["/m/x/w:0"]), "not in the file"),
    ],
)
def test_lies_of_the_attributes(path: Path, make: Callable[[Path], None], message: str) -> None:
    make(path)
    assert message in refusal(path)


@pytest.mark.parametrize(
    "options", [{"libver": "latest"}, {"libver": "v108"}, {"userblock_size": 512}, {"track_order": True}]
)
def test_layouts_that_keras_does_not_write(path: Path, options: dict[str, Any]) -> None:
    keras_file(path, {"x": {"m/x/w:0": KERNEL}}, **options)
    message = refusal(path)
    assert "newer layout" in message or "expected an HDF5 file" in message or "does not write" in message


def test_overlapping_datasets_are_refused(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["a", "b"]
        for name in ("a", "b"):
            file[name] = KERNEL
        one, two = (file[name].id.get_offset() for name in ("a", "b"))
    path.write_bytes(path.read_bytes().replace(two.to_bytes(8, "little"), (one + 4).to_bytes(8, "little")))
    assert f"two datasets overlap at byte {one + 4:,}" in refusal(path)


def test_a_damaged_heap_of_texts_ends(path: Path) -> None:
    """The HDF5 library itself loops for ever on some of these."""
    keras_file(path, {"distilbert": {"m/distilbert/w:0": KERNEL}})
    content = path.read_bytes()
    start = content.index(b"GCOL")
    for place in range(start, start + 200):
        for byte in (0x00, 0x01, 0x80, 0xFF):
            rewrite(path, content[:place] + bytes([byte]) + content[place + 1 :])
            result = outcome(tensorflow_h5, path)
            assert isinstance(result, str) or all(np.array_equal(values, KERNEL) for values in result.values())


def test_loops_in_the_structure_end(path: Path) -> None:
    keras_file(path, {"x": {"m/x/w:0": KERNEL}})
    with h5py.File(path, "a") as file:
        file["x/m/x/again"] = file["x"]
        file["x"].attrs["weight_names"] = ["/".join(["m/x/again"] * 10_000) + "/m/x/w:0"]
    assert len(loaded(tensorflow_h5.read(path))) == 1
    content = path.read_bytes()
    first = content.index(b"TREE")
    child = first + 24 + 8
    path.write_bytes(content[:child] + first.to_bytes(8, "little") + content[child + 8 :])
    assert "damaged" in refusal(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ForMaskedLM", "ForSequenceClassification", "Model"])
def test_files_are_exchanged_with_transformers(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("tf_keras")
    code = f"""
import logging, sys
import numpy as np
from pathlib import Path
import transformers
from distilbert.convert import tensorflow_h5
kind, folder = {kind!r}, Path({str(tmp_path)!r})
cls = getattr(transformers, "TFDistilBert" + kind)
config = transformers.DistilBertConfig(vocab_size=99, dim=32, n_layers=2, n_heads=4, hidden_dim=64,
                                       max_position_embeddings=48)
ids = np.arange(10).reshape(1, 10)
model = cls(config)
expected = model(ids)[0].numpy()
values = {{"/".join(w.name.split("/")[1:]): w.numpy() for w in model.weights}}
for size in ("5GB", "10KB"):
    model.save_pretrained(folder / size, safe_serialization=False, max_shard_size=size)
    tensors = {{}}
    for file in sorted((folder / size).glob("*.h5")):
        found = tensorflow_h5.read(file).tensors
        assert not found.keys() & tensors.keys()
        tensors |= found
        if size == "5GB":
            words = [name for name in found if name.startswith("distilbert/embeddings/")]
            more = {{"repeated": {{"vocab_projector": words}}}} if kind == "ForMaskedLM" else {{}}
        else:
            more = {{"sharded": True}}
        found = {{name: tensor.of(name, tensor.load().copy()) for name, tensor in found.items()}}
        found = {{name: tensor.of(name, tensor.load().copy()) for name, tensor in found.items()}}
        file.unlink()
        tensorflow_h5.write(file, list(found.values()), {{}}, **more)
    assert tensors.keys() == values.keys()
    loaded, info = cls.from_pretrained(folder / size, output_loading_info=True)
    missing = [name for name in info["missing_keys"] if not name.startswith("dropout_")]
    assert not missing and not info["unexpected_keys"] and not info["mismatched_keys"], info
    assert np.array_equal(loaded(ids)[0].numpy(), expected)
"""
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
