# SPDX-License-Identifier: Apache-2.0
"""The weight formats: file name, dialect of the tensor names, and the codec that knows the bytes.

Four are of transformers and hold every model. Two are of other libraries.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from distilbert.checkpoint_files import PRESET_FILE
from distilbert.convert.tensor import StoredFile, StoredTensor
from distilbert.errors import FileError


class Codec(Protocol):
    """What each of the codec modules offers."""

    def read(self, path: Path) -> StoredFile:
        """The tensors of a file, without their values."""

    def write(self, path: Path, tensors: Sequence[StoredTensor], metadata: Mapping[str, str], **layout: Any) -> None:
        """Write a file, one tensor at a time."""


@dataclass(frozen=True)
class Format:
    """One format: its name on the command line, its file name, how it spells names, and its codec module."""

    name: str
    file_name: str
    dialect: str
    module: str

    @property
    def codec(self) -> Codec:
        """The codec, imported only when a file of this format is read or written."""
        return importlib.import_module(f"distilbert.convert.{self.module}")

    @property
    def index_name(self) -> str:
        """The file that lists the shards of a model written in several files."""
        return f"{self.file_name}.index.json"

    def shard_name(self, number: int, count: int) -> str:
        """The name of shard `number` (from 1) of `count`; the only shard has the plain file name."""
        stem, _, ending = self.file_name.rpartition(".")
        return self.file_name if count == 1 else f"{stem}-{number:05d}-of-{count:05d}.{ending}"


FORMATS = {
    row.name: row
    for row in (
        Format("safetensors", "model.safetensors", "pt", "safetensors_file"),
        Format("pytorch", "pytorch_model.bin", "pt", "pytorch_bin"),
        Format("tensorflow", "tf_model.h5", "tf", "tensorflow_h5"),
        Format("flax", "flax_model.msgpack", "flax", "flax_msgpack"),
    )
}
KERAS_HUB = Format("keras-hub", PRESET_FILE, "keras-hub", "keras_weights_h5")  # a preset: more files than one
ORBAX = Format("orbax", "flax_model.orbax", "flax", "orbax_folder")  # this "file" is a folder
ALL_FORMATS = {**FORMATS, KERAS_HUB.name: KERAS_HUB, ORBAX.name: ORBAX}


def format_of(path: Path) -> Format:
    """The format of a weights file or index, by its ending; a folder is Orbax's."""
    if path.is_dir():
        return ORBAX
    name = re.sub(r"\.index(\.[\w-]+)?\.json$", "", path.name)  # with a variant, as in .index.fp16.json
    for row in FORMATS.values():
        if name.endswith(Path(row.file_name).suffix):
            return row
    endings = ", ".join(Path(row.file_name).suffix for row in FORMATS.values())
    raise FileError(f"{path}: expected a weights file ending in {endings} (or an .index.json of shards)")
