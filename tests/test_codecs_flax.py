# SPDX-License-Identifier: Apache-2.0
"""flax_model.msgpack: the same bytes as Flax writes, its files read, everything else refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from distilbert.convert import flax_msgpack
from distilbert.convert.tensor import BFLOAT16, Array
from distilbert.errors import WeightsError

from .codec_samples import loaded, same, stored, tensors_of_every_kind

WORDS = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flax_model.msgpack"


def nested(arrays: dict[str, Array]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, values in arrays.items():
        *folders, leaf = name.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = np.ascontiguousarray(values, values.dtype.newbyteorder("=")).reshape(values.shape)
    return tree


def array(shape: object = (2, 3), dtype: object = "float32", values: object = WORDS.tobytes()) -> msgpack.ExtType:
    return msgpack.ExtType(1, msgpack.packb((shape, dtype, values)))


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        flax_msgpack.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_bytes_equal_those_of_flax(path: Path) -> None:
    serialization = pytest.importorskip("flax.serialization")
    arrays = tensors_of_every_kind()
    arrays |= {f"size/{size}": np.ones(size, np.uint8) for size in (*range(40), 250, 300, 65_530, 65_540)}
    flax_msgpack.write(path, stored(arrays), {})
    assert path.read_bytes() == serialization.to_bytes(nested(arrays))
    restored = serialization.msgpack_restore(path.read_bytes())
    assert np.array_equal(restored["b"]["10"]["transposed"], arrays["b/10/transposed"])


def test_files_of_flax_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serialization = pytest.importorskip("flax.serialization")
    arrays = tensors_of_every_kind()
    path.write_bytes(serialization.to_bytes(nested(arrays)))
    assert same(loaded(flax_msgpack.read(path)), arrays)
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 100)  # arrays in pieces, as of 1 GiB and more
    arrays = {name: values for name, values in arrays.items() if values.size < 100}
    tree = nested(arrays)
    tree["scalar"] = np.float32(2.5)
    path.write_bytes(serialization.to_bytes(tree))
    assert b"__msgpack_chunked_array__" in path.read_bytes()
    assert same(loaded(flax_msgpack.read(path)), {**arrays, "scalar": np.array(2.5, np.float32)})


def test_plain_msgpack_is_enough(path: Path) -> None:
    path.write_bytes(
        msgpack.packb({"layer": {"0": {"kernel": array()}, "empty": {}}, "b": array((), "float64", bytes(8))})
    )
    assert same(loaded(flax_msgpack.read(path)), {"layer/0/kernel": WORDS, "b": np.array(0.0)})
    path.write_bytes(msgpack.packb({}))
    assert flax_msgpack.read(path).tensors == {}
    half = np.ones((1, 1), BFLOAT16)
    path.write_bytes(msgpack.packb({"x": array([1, 1], "bfloat16", half.tobytes())}))
    assert same(loaded(flax_msgpack.read(path)), {"x": half})


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": {"b": 3}}, "a/b: expected an array, found int"),
        ({"a": "text"}, "a: expected an array, found str"),
        ({"a": None}, "a: expected an array, found nil"),
        ({"a": [array()]}, "a: expected an array, found array"),
        ({"a": msgpack.ExtType(2, b"12")}, "a: expected an array, found extension 2"),
        ({3: array()}, "found int"),
        ({"a/b": array()}, "a/b: a key with a slash"),
        ({"x" * 2000: array()}, "at most 1000 bytes"),
        ({"a": array((2, 2))}, "a: expected 16 bytes of values, found bin of 24"),
        ({"a": array((2, -3))}, "a: expected a size"),
        ({"a": array((2, 1.5))}, "a: expected a size, found float"),
        ({"a": array(6)}, "a: damaged array: expected a shape"),
        ({"a": array([1] * 40, "float32", bytes(4))}, "a: damaged array: expected a shape of at most 32 sizes"),
        ({"a": array((2**63, 0), "float32", b"")}, "a: impossible shape"),
        ({"a": array((2, 3), "complex64")}, "a: unknown dtype complex64"),
        ({"a": array((2, 3), 4)}, "found int"),
        ({"a": array((2, 3), "float32", "x" * 24)}, "a: expected 24 bytes of values, found str"),
        ({"a": msgpack.ExtType(1, msgpack.packb(((2,), "float32")))}, "a: damaged array: expected array of 3"),
        ({"a": msgpack.ExtType(1, array().data + b"\x00")}, "a: damaged array: its parts take"),
        ({"__msgpack_chunked_array__": True}, "__msgpack_chunked_array__: expected an array"),
    ],
)
def test_lies_and_strangers(path: Path, tree: dict[Any, Any], message: str) -> None:
    assert message in refusal(path, msgpack.packb(tree))


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ({"shape": {"0": 6}}, "expected its shape"),
        ({"shape": {"0": 6}, "chunks": {}}, "expected chunks of one dtype"),
        ({"shape": {"0": 7}, "chunks": {"0": array()}}, "do not make up shape [7]"),
        ({"shape": {"1": 6}, "chunks": {"0": array()}}, "number 0 is missing"),
        ({"shape": [6], "chunks": {"0": array()}}, "expected a map"),
        ({"shape": {"0": 6}, "chunks": {"0": 3}}, "expected an array, found int"),
        ({"shape": {"0": 6}, "pieces": {"0": array()}}, "expected its chunks"),
        (
            {"shape": {"0": 0}, "chunks": {"0": array((0,), "float32", b""), "1": array((0,), "float16", b"")}},
            "one dtype",
        ),
    ],
)
def test_damaged_arrays_in_pieces(path: Path, pieces: dict[str, Any], message: str) -> None:
    content = msgpack.packb({"layer": {"__msgpack_chunked_array__": True, **pieces}})
    assert f"layer: {message}" in refusal(path, content) or message in refusal(path, content)


def test_doubled_keys_are_refused(path: Path) -> None:
    one = msgpack.packb("a") + msgpack.packb(array())
    assert "a: occurs twice" in refusal(path, b"\x82" + one + one)


def test_sizes_beyond_the_file_cost_nothing(path: Path) -> None:
    name = msgpack.packb("a")
    for start in (b"\xdf\xff\xff\xff\xff", b"\x81\xdb\xff\xff\xff\xff", b"\x81" + name + b"\xc9\xff\xff\xff\xff\x01"):
        refusal(path, start)
    values = b"\x93\x91\xce\x3f\xff\xff\xff\xa7float32\xc6\xff\xff\xff\xfc"
    header = b"\x81" + name + b"\xc9" + (len(values) + 0xFFFFFFFC & 0xFFFFFFFF).to_bytes(4, "big") + b"\x01"
    assert "truncated" in refusal(path, header + values)


def test_depth_and_number_of_entries_are_bounded(path: Path) -> None:
    assert "nested more than 32 deep" in refusal(path, b"\x81\xa1a" * 100_000 + b"\x80")
    entries = b"".join(b"\xa6%06d\x80" % index for index in range(150_000))
    assert "more than 200,000 values" in refusal(path, b"\xdf" + (150_000).to_bytes(4, "big") + entries)


def test_a_name_cannot_be_an_array_and_a_folder(path: Path) -> None:
    for names in (("a", "a/b"), ("a/b", "a")):
        with pytest.raises(WeightsError, match="a"):
            flax_msgpack.write(path, stored(dict.fromkeys(names, WORDS)), {})
