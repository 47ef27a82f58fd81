# SPDX-License-Identifier: Apache-2.0
"""model.safetensors: the same bytes as the reference implementation writes, and every lie a header can tell."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from distilbert.convert import safetensors_file
from distilbert.convert.safetensors_file import DTYPES, HEADER_LIMIT
from distilbert.convert.tensor import Array, StoredTensor
from distilbert.errors import WeightsError

from .codec_samples import loaded, same, stored, tensors_of_every_kind

ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
GOOD = {"a": ENTRY, "b": {"dtype": "F16", "shape": [2, 1], "data_offsets": [8, 12]}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def reference_form(values: Array) -> Array:
    """What the reference writer takes: C order, native byte order."""
    return np.array(values, dtype=values.dtype.newbyteorder("="), order="C")


def raw(header: bytes, values: bytes = bytes(12)) -> bytes:
    return struct.pack("<Q", len(header)) + header + values


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        safetensors_file.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}, {"note": 'é "\n\x01'}])
def test_bytes_equal_those_of_the_reference_writer(path: Path, metadata: dict[str, str]) -> None:
    arrays = {**tensors_of_every_kind(), "é": np.ones(3, np.float32)}
    arrays |= {f"dtype/{name}": np.ones(3, dtype) for name, dtype in DTYPES.items()}
    safetensors_file.write(path, stored(arrays), metadata)
    expected = {name: reference_form(values) for name, values in arrays.items()}
    assert path.read_bytes() == safetensors.numpy.save(expected, metadata or None)


def test_files_of_the_reference_writer_are_read(path: Path) -> None:
    arrays = {name: reference_form(values) for name, values in tensors_of_every_kind().items()}
    safetensors.numpy.save_file(arrays, path, {"format": "tf", "other": "text"})
    file = safetensors_file.read(path)
    assert same(loaded(file), arrays)
    assert file.metadata == {"format": "tf", "other": "text"}


def test_files_are_read_by_the_reference_reader(path: Path) -> None:
    arrays = {name: values for name, values in tensors_of_every_kind().items() if values.dtype.name != "bfloat16"}
    safetensors_file.write(path, stored(arrays), {})
    assert same(safetensors.numpy.load_file(path), arrays)


def test_an_empty_file_and_missing_metadata_are_fine(path: Path) -> None:
    path.write_bytes(raw(b"{}", b""))
    assert safetensors_file.read(path) == safetensors_file.StoredFile({}, {})
    path.write_bytes(raw(json.dumps(GOOD).encode() + b"   "))
    assert list(loaded(safetensors_file.read(path))) == ["a", "b"]


def test_unaligned_values_are_read(path: Path) -> None:
    values = np.arange(100_000, dtype=np.float64)
    header = b'{"a":{"dtype":"F64","shape":[100000],"data_offsets":[0,800000]}}'
    for spaces in range(8):
        path.write_bytes(raw(header + b" " * spaces, values.tobytes()))
        assert same(loaded(safetensors_file.read(path)), {"a": values})


def changed(change: Callable[[dict[str, Any]], None]) -> bytes:
    header = json.loads(json.dumps(GOOD))
    change(header)
    return raw(json.dumps(header).encode())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h["a"].update(dtype="F8_E4M3"), "a: unknown dtype F8_E4M3, expected one of"),
        (lambda h: h["a"].update(dtype=["F32"]), "a: unknown dtype"),
        (lambda h: h["a"].update(shape=[3]), "a: F32 [3] takes 12 bytes, data_offsets are [0, 8]"),
        (lambda h: h["a"].update(shape=[-2]), "a: expected a shape of non-negative integers, found [-2]"),
        (lambda h: h["a"].update(shape=[True, 2]), "a: expected a shape"),
        (lambda h: h["a"].update(shape=[2.0]), "a: expected a shape"),
        (lambda h: h["a"].update(shape=2), "a: expected a shape"),
        (lambda h: h["a"].update(shape=[2**62, 4]), "a: impossible shape"),
        (lambda h: h["a"].update(shape=[0, 2**62]), "a: impossible shape"),
        (lambda h: h["a"].update(shape=[2] + [1] * 40), "a: 41 dimensions"),
        (lambda h: h["a"].update(data_offsets=[0, 8, 8]), "a: expected two integers"),
        (lambda h: h["a"].update(data_offsets=[0, "8"]), "a: expected two integers"),
        (lambda h: h["a"].update(data_offsets=[8, 0]), "a: F32 [2] takes 8 bytes"),
        (lambda h: h["a"].update(data_offsets=[-8, 0]), "a: F32 [2] takes 8 bytes"),
        (lambda h: h["a"].update(data_offsets=[0, 2**70]), "a: F32 [2] takes 8 bytes"),
        (lambda h: h["b"].update(data_offsets=[4, 8]), "b: begins at 4, expected 8: overlaps"),
        (lambda h: h["b"].update(data_offsets=[10, 14]), "b: begins at 10, expected 8: leaves a gap"),
        (lambda h: h["a"].pop("shape"), "a: expected an object with dtype, shape and data_offsets"),
        (lambda h: h["a"].update(more=1), "a: expected an object with dtype, shape and data_offsets"),
        (lambda h: h.update(a=3), "a: expected an object"),
        (lambda h: h.pop("b"), "4 bytes after the last tensor"),
        (lambda h: h.update(c={"dtype": "F32", "shape": [1], "data_offsets": [12, 16]}), "truncated"),
        (lambda h: h.update(__metadata__={"format": 1}), "__metadata__: expected an object of strings"),
        (lambda h: h.update(__metadata__=[]), "__metadata__: expected an object of strings"),
    ],
)
def test_lies_of_the_header(path: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    assert f"{path}: {message}" in refusal(path, changed(change))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b'{"a":1,"a":2}', "the same key twice"),
        (b'{"a":{"dtype":"F32","dtype":"F32"}}', "the same key twice"),
        (b'{"\xff":1}', "expected UTF-8"),
        (b'{"\\ud800":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}', "not valid Unicode"),
        (b'{"__metadata__":{"\\ud800":"1"}}', "expected valid Unicode"),
        (b'{"a":', "not valid JSON"),
        (b"{} x", "not valid JSON"),
        (b' {"a":1}', "expected a safetensors file"),
        (b"[]", "expected a safetensors file"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"a":' + b"9" * 10_000 + b"}", "not valid JSON"),
    ],
)
def test_broken_headers(path: Path, header: bytes, message: str) -> None:
    assert message in refusal(path, raw(header))


def test_sizes_of_the_header(path: Path) -> None:
    assert "at most" in refusal(path, struct.pack("<Q", HEADER_LIMIT + 1) + b"{")
    assert "at most" in refusal(path, struct.pack("<Q", 2**64 - 1) + b"{}")
    assert "truncated" in refusal(path, struct.pack("<Q", 100) + b"{}")


def test_many_problems_are_listed_once_and_shortly(path: Path) -> None:
    header = {f"tensor{index}": {"dtype": "X", "shape": [], "data_offsets": [0, 0]} for index in range(500)}
    message = refusal(path, raw(json.dumps(header).encode()))
    assert "tensor0: " in message
    assert message.endswith("and 480 more")
    assert len(message.splitlines()) == 22


def test_the_name_of_the_metadata_is_reserved(path: Path) -> None:
    with pytest.raises(WeightsError, match="no tensor can be called __metadata__"):
        safetensors_file.write(path, [StoredTensor.of("__metadata__", np.ones(1, np.float32))], {})
