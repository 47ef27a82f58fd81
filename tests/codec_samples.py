# SPDX-License-Identifier: Apache-2.0
"""What the tests of the four codecs share: tensors of every kind, and ways to damage a file."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from distilbert.convert import flax_msgpack, pytorch_bin, safetensors_file, tensorflow_h5
from distilbert.convert.tensor import BFLOAT16, Array, StoredFile, StoredTensor
from distilbert.errors import WeightsError

CODECS: dict[str, ModuleType] = {
    "safetensors": safetensors_file,
    "pytorch": pytorch_bin,
    "tensorflow": tensorflow_h5,
    "flax": flax_msgpack,
}


def tensors_of_every_kind() -> dict[str, Array]:
    """All float dtypes with NaN and infinities, integers; any order in memory; no, one and no-dimension values."""
    generator = np.random.default_rng(0)
    values = generator.standard_normal((5, 6))
    values[0, :4] = [np.nan, np.inf, -np.inf, -0.0]
    arrays: dict[str, Array] = {
        f"a/{dtype.name}": values.astype(dtype)
        for dtype in map(np.dtype, (np.float64, np.float32, np.float16, BFLOAT16))
    }
    arrays["a/int64"] = np.arange(4).reshape(1, 4)
    arrays["b/0/fortran"] = np.asfortranarray(values, np.float32)
    arrays["b/0/strided"] = generator.standard_normal((9, 8))[::2, ::-3]
    arrays["b/10/transposed"] = generator.standard_normal((4, 3, 2)).T
    arrays["b/10/other_byte_order"] = values.astype(">f4")
    arrays["c/empty"] = np.zeros((0, 3), np.float32)
    arrays["c/number"] = np.array(1.5, np.float32)
    arrays["c/one"] = np.ones(1, BFLOAT16)
    arrays["c/mapped"] = generator.standard_normal((513, 300), np.float32)  # large enough to be mapped, not read
    arrays["c/large_fortran"] = generator.standard_normal((700, 900), np.float32).T  # written in several blocks
    return arrays


def small_tensors() -> dict[str, Array]:
    """Two tensors, for files of which every byte is tried."""
    return {"d/w": np.arange(6, dtype=np.float32).reshape(2, 3), "d/b": np.array([1, -1], np.float16)}


def stored(arrays: Mapping[str, Array]) -> list[StoredTensor]:
    """Arrays as a codec takes them."""
    return [StoredTensor.of(name, values) for name, values in arrays.items()]


def loaded(file: StoredFile) -> dict[str, Array]:
    """All values of a file, each checked against its header."""
    arrays = {}
    for name, tensor in file.tensors.items():
        array = tensor.load()
        assert (tensor.name, array.shape, array.dtype) == (name, tensor.shape, tensor.dtype)
        assert array.flags.writeable
        assert array.flags.aligned
        assert array.flags.forc
        arrays[name] = array
    return arrays


def same(one: Mapping[str, Array], other: Mapping[str, Array]) -> bool:
    """Whether names and values are the same bit for bit."""
    return one.keys() == other.keys() and all(same_values(one[name], other[name]) for name in one)


def same_values(one: Array, other: Array) -> bool:
    """Whether two arrays are the same bit for bit, whatever their order in memory."""
    if one.shape != other.shape or one.dtype.newbyteorder("=") != other.dtype.newbyteorder("="):
        return False
    return one.astype(one.dtype.newbyteorder("=")).tobytes() == other.astype(other.dtype.newbyteorder("=")).tobytes()


def outcome(codec: ModuleType, path: Path) -> dict[str, Array] | str:
    """The values of a file, or the message of the one error that is allowed, which must name the file."""
    try:
        return loaded(codec.read(path))
    except WeightsError as error:
        message = str(error)
    assert message.startswith(f"{path}: ")
    return message


def rewrite(path: Path, content: bytes) -> None:
    """Replace the content of an existing file without emptying it first, which some file systems answer by syncing."""
    with open(path, "r+b") as stream:
        stream.write(content)
        stream.truncate()


def damaged(content: bytes, count: int) -> Iterator[bytes]:
    """`count` copies with one to six random changes: bits, bytes, sizes and offsets, pieces moved."""
    generator = random.Random(0)
    busy = [index for index, byte in enumerate(content) if byte]
    sizes = (0, 1, 255, 2**15, 2**16 - 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1, len(content), len(content) - 8)
    for _ in range(count):
        copy = bytearray(content)
        for _ in range(generator.choice((1, 1, 2, 3, 6))):
            width = generator.choice((1, 2, 4, 8))
            place = max(0, min(generator.choice(busy) - generator.randrange(4), len(copy) - 2 * width))
            change = generator.randrange(4)
            if change == 0:
                copy[place] ^= 1 << generator.randrange(8)
            elif change == 1:
                copy[place] = generator.randrange(256)
            elif change == 2:
                order = generator.choice(("little", "big"))
                number = generator.choice(sizes) % (1 << 8 * width)
                copy[place : place + width] = number.to_bytes(width, order)
            else:
                source = max(0, min(generator.choice(busy), len(copy) - 2 * width))
                copy[place : place + 2 * width] = copy[source : source + 2 * width]
        yield bytes(copy)
