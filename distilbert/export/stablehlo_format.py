# SPDX-License-Identifier: Apache-2.0
"""StableHLO as `jax.export` serializes it, for any batch and length, with the weights in it.

JAX promises to read it for six months: it is for serving, and no archive. The checkpoint is that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from numpy.typing import NDArray

from distilbert.export.signature import INPUTS, Array, axes, output_names

PLATFORMS = ("cpu", "cuda", "tpu")


def write(model: Any, path: Path, dtype: str) -> None:
    """Write a model of JAX."""
    params = jax.tree.map(lambda values: values.astype(dtype), model.params)

    def answer(input_ids: jax.Array, attention_mask: jax.Array) -> tuple[jax.Array, ...]:
        found = model(input_ids, attention_mask=attention_mask, params=params, return_dict=True)
        return tuple(found[name].astype(jnp.float32) for name in output_names(model.task))

    names = axes(model.task)
    most = model.config.max_position_embeddings
    shape = export.symbolic_shape(", ".join(names), constraints=[f"{names[-1]} <= {most}"])
    argument = jax.ShapeDtypeStruct(shape, jnp.int32)
    with _without_folders():
        path.write_bytes(export.export(jax.jit(answer), platforms=PLATFORMS)(argument, argument).serialize())


def annotate(path: Path, record: str) -> None:
    """Nothing: the file has no room for text; the same stands in `export.json` beside it."""


class Session:
    """A file that is read back."""

    def __init__(self, path: Path, task: str) -> None:
        self.names = output_names(task)
        self.call = jax.jit(export.deserialize(bytearray(path.read_bytes())).call)

    def run(self, inputs: Mapping[str, NDArray[np.int64]]) -> dict[str, Array]:
        found = self.call(*(inputs[name].astype(np.int32) for name in INPUTS))
        return {name: np.asarray(value) for name, value in zip(self.names, found, strict=True)}


@contextmanager
def _without_folders() -> Iterator[None]:
    """JAX notes in which file each operation was written; its folder on this machine is nobody's business."""
    option = "jax_hlo_source_file_canonicalization_regex"
    before = getattr(jax.config, option)
    jax.config.update(option, ".*/")
    try:
        yield
    finally:
        jax.config.update(option, before)
