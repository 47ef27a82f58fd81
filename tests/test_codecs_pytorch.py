# SPDX-License-Identifier: Apache-2.0
"""pytorch_model.bin: what PyTorch writes is read, what is written PyTorch reads, and no pickle runs."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert.convert import pytorch_bin
from distilbert.convert.pytorch_bin import PICKLE_LIMIT
from distilbert.convert.pytorch_unpickler import unpickle
from distilbert.convert.raw import Problem
from distilbert.convert.tensor import Array
from distilbert.errors import WeightsError

from .codec_samples import (
    damaged,
    loaded,
    outcome,
    rewrite,
    same,
    same_values,
    small_tensors,
    stored,
    tensors_of_every_kind,
)

SIX = struct.pack("<6f", *range(6))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pytorch_model.bin"


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        loaded(pytorch_bin.read(path))
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def numpy_of(tensor: Any) -> Array:
    import ml_dtypes
    import torch

    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return np.asarray(tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16))
    return np.asarray(tensor.numpy())


def state_of_every_kind(torch: Any) -> dict[str, Any]:
    base = torch.arange(60.0).reshape(3, 4, 5)
    dtypes = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    return {
        **{f"dtype.{name}": torch.arange(6).reshape(2, 3).to(getattr(torch, name)) for name in dtypes},
        "base": base,
        "shared": base,
        "permuted": base.permute(2, 0, 1),
        "sliced": base[1:, ::2, 3],
        "expanded": torch.ones(1).expand(4, 3),
        "parameter": torch.nn.Parameter(torch.ones(3, 2).T),
        "number": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "large": torch.arange(300_000.0).reshape(600, 500),
        "large.transposed": torch.arange(300_000.0).reshape(600, 500).T,
    }


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"_use_new_zipfile_serialization": False},
        {"pickle_protocol": 4},
        {"pickle_protocol": 5, "_use_new_zipfile_serialization": False},
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_files_of_pytorch_are_read(torch: Any, path: Path, options: dict[str, Any], nested: bool) -> None:
    state = state_of_every_kind(torch)
    torch.save({"state_dict": state, "epoch": 3, "lr": [0.1, None, (True, -1)]} if nested else state, path, **options)
    assert same(loaded(pytorch_bin.read(path)), {name: numpy_of(tensor) for name, tensor in state.items()})


def test_the_state_of_a_module_is_read(torch: Any, path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    for new in (True, False):
        torch.save(layer.state_dict(), path, _use_new_zipfile_serialization=new)  # an OrderedDict with _metadata
        assert same(loaded(pytorch_bin.read(path)), {n: numpy_of(t) for n, t in layer.state_dict().items()})


@pytest.mark.parametrize("mmap", [False, True])
def test_files_are_read_by_pytorch(torch: Any, path: Path, mmap: bool) -> None:
    arrays = tensors_of_every_kind()
    pytorch_bin.write(path, stored(arrays), {}, shared={"tied": "c/mapped"})
    state = torch.load(path, weights_only=True, mmap=mmap)
    assert isinstance(state, OrderedDict)
    assert same({name: numpy_of(tensor) for name, tensor in state.items()}, {**arrays, "tied": arrays["c/mapped"]})
    assert state["tied"].data_ptr() == state["c/mapped"].data_ptr()
    assert all(tensor.is_contiguous() for tensor in state.values())


def test_loaded_values_become_tensors_without_a_copy(torch: Any, path: Path) -> None:
    pytorch_bin.write(path, stored({"a": np.ones((600, 300), np.float32)}), {})
    values = pytorch_bin.read(path).tensors["a"].load()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = torch.from_numpy(values)
    tensor[0, 0] = 5
    assert values[0, 0] == 5


def test_records_are_aligned_plain_and_timeless(path: Path) -> None:
    pytorch_bin.write(path, stored(tensors_of_every_kind()), {})
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for record in archive.infolist():
            assert record.date_time == (1980, 1, 1, 0, 0, 0)
            with archive.open(record) as stream:
                assert stream._orig_compress_start % 64 == 0  # type: ignore[attr-defined]


def test_aliases_need_a_tensor_and_a_free_name(path: Path) -> None:
    tensors = stored(small_tensors())
    for shared in ({"new": "absent"}, {"d/w": "d/b"}):
        with pytest.raises(WeightsError, match="cannot share"):
            pytorch_bin.write(path, tensors, {}, shared=shared)
    pytorch_bin.write(path, tensors, {}, shared={"new": "d/w"})
    assert same_values(loaded(pytorch_bin.read(path))["new"], small_tensors()["d/w"])


# Pickles by hand: `a` is a tensor of six numbers in storage "0".

STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\x00K\x02K\x03\x86K\x03K\x01\x86\x89}tR"


def state(tensor: bytes = TENSOR) -> bytes:
    return b"\x80\x02}(X\x01\x00\x00\x00a" + tensor + b"u."


def archive(
    path: Path, pickled: bytes, values: bytes = SIX, compression: int = zipfile.ZIP_STORED, **more: bytes
) -> None:
    records = {"x/data.pkl": pickled, "x/data/0": values, **{f"x/{name}": content for name, content in more.items()}}
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in records.items():
            file.writestr(name, content)


def test_the_pickle_by_hand_is_sound(path: Path) -> None:
    archive(path, state(), byteorder=b"little")
    assert same(loaded(pytorch_bin.read(path)), {"a": np.arange(6, dtype=np.float32).reshape(2, 3)})


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (
            TENSOR.replace(b"K\x03\x86K\x03K\x01", b"K\x03\x86K\x04K\x01"),
            "a: shape [2, 3], strides [4, 1] and offset 0",
        ),
        (TENSOR.replace(b"tQK\x00", b"tQK\x01"), "a: shape [2, 3], strides [3, 1] and offset 1 reach beyond the 6"),
        (TENSOR.replace(b"tQK\x00", b"tQJ\xff\xff\xff\xff"), "impossible offset or strides"),
        (TENSOR.replace(b"K\x03K\x01\x86\x89", b"K\x03J\xff\xff\xff\xff\x86\x89"), "impossible offset or strides"),
        (TENSOR.replace(b"K\x03K\x01\x86\x89", b"K\x03\x85\x89"), "impossible offset or strides"),
        (TENSOR.replace(b"K\x02K\x03\x86", b"J\xff\xff\xff\xffK\x03\x86"), "expected a shape"),
        (TENSOR.replace(b"K\x02K\x03\x86K\x03K\x01", b"J\xff\xff\xff\x7fK\x03\x86K\x00K\x00"), "beyond any use"),
        (TENSOR.replace(b"cpuK\x06", b"cpuK\x07"), "a: record data/0 has 24 bytes, expected 28"),
        (TENSOR.replace(b"Float", b"Double"), "a: record data/0 has 24 bytes, expected 48"),
        (TENSOR.replace(b"\x01\x00\x00\x000", b"\x01\x00\x00\x001"), "a: its values, record data/1, are missing"),
        (TENSOR.replace(b"FloatStorage", b"FancyStorage"), "refused: it asks for torch.FancyStorage"),
        (TENSOR.replace(STORAGE, b"N"), "expected storage, offset, shape and strides"),
        (b"K\x05", "a: expected a tensor, found 5"),
        (b"N", "a: expected a tensor, found None"),
        (b"X\x04\x00\x00\x00text", "a: expected a tensor, found text"),
        (b"}", "a: expected a tensor, found a dict of 0"),
        (TENSOR + b"X\x01\x00\x00\x00a" + TENSOR, "a: occurs twice"),
        (TENSOR + b"K\x05" + TENSOR, "5: expected text as the name"),
        (TENSOR + b")" + TENSOR, "expected text or a number as a key, found a tuple"),
        (STORAGE, "a: expected a tensor, found a Storage"),
        (STORAGE + b"0" + TENSOR, "unsupported pickle operation 0x30"),
    ],
)
def test_lies_of_the_pickle(path: Path, tensor: bytes, message: str) -> None:
    archive(path, state(tensor))
    assert message in refusal(path)


@pytest.mark.parametrize(
    "target",
    [
        print,
        Counter("ab"),
        pickle.Unpickler,
        np.float32(1),
        {1, 2},
        bytearray(b"x"),
        Path("x"),
        complex(1, 2),
        type("Local", (), {}),
    ],
    ids=repr,
)
def test_no_other_class_or_function_is_allowed(path: Path, target: object) -> None:
    for protocol in (2, 4):
        try:
            content = pickle.dumps({"a": target}, protocol)
        except (pickle.PicklingError, AttributeError):
            content = b"\x80\x02clocal\nLocal\n."
        archive(path, content)
        message = refusal(path)
        assert "refused: it asks for" in message or "unsupported pickle operation" in message


def test_a_whole_module_names_the_class(torch: Any, path: Path) -> None:
    torch.save(torch.nn.Linear(2, 3), path)
    assert "it asks for torch.nn.modules.linear.Linear" in refusal(path)


def test_what_is_refused_never_runs(path: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "trap",)

    archive(path, pickle.dumps({"a": Trap()}, 2))
    assert "refused" in refusal(path)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02",
        b".",
        b"\x80\x02(.",
        b"\x80\x02u.",
        b"\x80\x02}u.",
        b"\x80\x02}(Nu.",
        b"\x80\x02NR.",
        b"\x80\x02NNR.",
        b"\x80\x02h\x05.",
        b"\x80\x02X\xff\xff\xff\xff.",
        b"\x80\x02X\x01\x00\x00\x00\xff.",
        b"\x80\x02X\x03\x00\x00\x00\xed\xa0\x80.",
        b"\x80\x02Nb.",
        b"\x80\x02NNb.",
        b"\x80\x02NQ.",
        b"\x80\x02]Na" + b"Na" * 5,
        b"\x80\x02ctorch",
        b"\x80\x02c" + b"x" * 5000 + b"\n.",
        b"\x80\x04NN\x93.",
        b"\x80\x02ctorch\nFloatStorage\n)R.",
        b"\x80\x02ctorch\nSize\n)R.",
        b"\x80\x02ccollections\nOrderedDict\n](NNe\x85R.",
    ],
)
def test_damaged_pickles(content: bytes) -> None:
    with pytest.raises(Problem):
        unpickle(content)


def test_depth_and_length_of_the_pickle_are_bounded(path: Path) -> None:
    deep = b"\x80\x02" + b"(" * 1_000_000 + b"t" * 1_000_000 + b"."
    archive(path, deep)
    assert "expected a mapping of names to tensors, found a tuple of 1" in refusal(path)
    archive(path, b"\x80\x04" + b"(" * 100_000 + b"t" * 100_000 + b"N\x93.")
    assert "expected the name of a class" in refusal(path)
    laughs = b"\x80\x02)q\x00" + b"".join(
        b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(99)
    )
    archive(path, laughs + b".")
    assert "expected a mapping" in refusal(path)
    archive(path, b"\x80\x02" + b"]" * PICKLE_LIMIT + b".")
    assert "at most 4,194,304 are accepted" in refusal(path)


def test_containers_that_are_not_of_torch_save(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "no weights")
    assert "not one of torch.save" in refusal(path)
    archive(path, state(), **{"y/data.pkl": b"."})
    assert "not one of torch.save" in refusal(path)
    archive(path, state(), **{"constants.pkl": b"."})
    assert "a TorchScript program" in refusal(path)
    archive(path, state(), byteorder=b"big")
    assert "big-endian" in refusal(path)
    archive(path, state() + b"more")
    assert "bytes after the end of the pickle" in refusal(path)
    archive(path, pickle.dumps([1, 2], 2))
    assert "expected a mapping of names to tensors, found [1, 2]" in refusal(path)
    path.write_bytes(pickle.dumps({"a": 1}, 2))
    assert "a Python pickle" in refusal(path)


def test_archives_are_plain_and_exact(path: Path) -> None:
    archive(path, state(), compression=zipfile.ZIP_DEFLATED)
    assert "record x/data.pkl: compressed or encrypted" in refusal(path)
    for size in (23, 25, 0):
        archive(path, state(), SIX[:1] * size)
        assert f"a: record data/0 has {size} bytes, expected 24" in refusal(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", state())
        file.writestr("x/data/0", SIX)
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("x/data/0", SIX)
    assert "record x/data/0: occurs twice" in refusal(path)
    archive(path, state())
    sound = path.read_bytes()
    for content, message in (
        (sound + b"\x00", "foreign bytes"),
        (sound[:-1], "truncated"),
        (sound.replace(SIX, SIX[::-1]), "x/data/0: damaged: its checksum"),
        (sound.replace(b"FloatStorage", b"HalfStorages"), "x/data.pkl: damaged: its checksum"),
        (sound.replace(b"x/data/0", b"x/data/1", 1), "called differently in its own header"),
    ):
        path.write_bytes(content)
        assert message in refusal(path)


def test_records_that_share_bytes_are_refused(path: Path) -> None:
    archive(path, state())
    sound = path.read_bytes()
    hidden = sound[sound.rindex(b"PK\x03\x04") : sound.index(b"PK\x01\x02")]  # x/data/0 with its header
    archive(path, state(), more=hidden)
    content = bytearray(path.read_bytes())
    entry = content.index(b"x/data/0", content.index(b"PK\x01\x02")) - 46
    content[entry + 42 : entry + 46] = struct.pack("<I", content.rindex(b"PK\x03\x04"))
    path.write_bytes(bytes(content))
    assert "record x/more: overlaps record x/data/0" in refusal(path)


def stream(keys: list[str], *values: bytes, saved: bytes = b"", little: bool = True, version: int = 1001) -> bytes:
    """A file of PyTorch before 1.6."""
    saved = saved or state().replace(b"cpuK\x06t", b"cpuK\x06Nt")
    head = (0x1950A86A20F9469CFC6C, version, {"little_endian": little, "type_sizes": {"int": 4}})
    parts = [pickle.dumps(part, 2) for part in head] + [saved, pickle.dumps(keys, 2)]
    return b"".join(parts) + b"".join(struct.pack("<q", len(part) // 4) + part for part in values)


def test_the_stream_by_hand_is_sound(path: Path) -> None:
    path.write_bytes(stream(["0"], SIX))
    assert same(loaded(pytorch_bin.read(path)), {"a": np.arange(6, dtype=np.float32).reshape(2, 3)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (stream(["0"], SIX) + b"\x00", "1 bytes after the last storage"),
        (stream(["0"], SIX)[:-1], "truncated"),
        (stream(["0"]), "truncated"),
        (stream([], SIX), "not those that the tensors use"),
        (stream(["1"], SIX), "not those that the tensors use"),
        (stream(["0", "0"], SIX, SIX), "not those that the tensors use"),
        (stream(["0"], SIX + SIX), "12 elements, expected 6"),
        (stream(["0"], SIX, little=False), "big-endian"),
        (stream(["0"], SIX, version=1002), "expected version 1001"),
        (stream(["0"], SIX, saved=b"\x80\x02cposix\nsystem\n."), "it asks for posix.system"),
        (stream(["0"], SIX, saved=state().replace(b"cpuK\x06t", b"cpuK\x06(tt")), "part of another one"),
    ],
)
def test_lies_of_the_old_stream(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    assert message in refusal(path)


def test_damaged_old_streams_are_harmless(path: Path) -> None:
    content = stream(["0"], SIX)
    path.write_bytes(content)
    for size in range(len(content)):
        rewrite(path, content[:size])
        assert isinstance(outcome(pytorch_bin, path), str)
    for changed in damaged(content, 1500):
        rewrite(path, changed)
        outcome(pytorch_bin, path)


def test_the_pickle_written_is_a_pickle(path: Path) -> None:
    pytorch_bin.write(path, stored(small_tensors()), {})
    with zipfile.ZipFile(path) as file:
        pickled = file.read("archive/data.pkl")

    class Names(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return OrderedDict if name == "OrderedDict" else lambda *arguments: (name, *arguments)

        def persistent_load(self, pid: Any) -> Any:
            return pid[2:]

    read = Names(io.BytesIO(pickled)).load()
    assert read["d/w"] == ("_rebuild_tensor_v2", ("0", "cpu", 6), 0, (2, 3), (3, 1), False, OrderedDict())
