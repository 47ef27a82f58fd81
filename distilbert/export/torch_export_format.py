# SPDX-License-Identifier: Apache-2.0
"""`torch.export`: a graph of PyTorch's own operators with the weights in it, for any batch and length."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distilbert.export.signature import INPUTS, Array, axes, output_names


class Answering(nn.Module):
    """A model that takes ids and mask and answers with a tuple of tensors in float32."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.names = output_names(model.task)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        answer = self.model(input_ids, attention_mask=attention_mask, return_dict=True)
        return tuple(answer[name].float() for name in self.names)


def program(model: Any) -> torch.export.ExportedProgram:
    """The graph of a model."""
    names = axes(model.task)
    most = {"sequence_length": model.config.max_position_embeddings}
    dims = {place: torch.export.Dim(name, min=1, max=most.get(name, 65536)) for place, name in enumerate(names)}
    sizes = (2, 3, 7)[-len(names) :] if len(names) == 3 else (2, 7)
    ids = torch.ones(sizes, dtype=torch.int64)
    found = torch.export.export(Answering(model.eval()), (ids, torch.ones_like(ids)), dynamic_shapes=(dims, dims))
    for node in found.graph.nodes:
        node.meta.pop("stack_trace", None)  # where in whose files each operation comes from
    return found


def write(model: Any, path: Path, dtype: str) -> None:
    """Write a model of PyTorch."""
    torch.export.save(program(model.to(getattr(torch, dtype))), path)


def annotate(path: Path, record: str) -> None:
    """Write text into the file's metadata: an extra file in its archive."""
    torch.export.save(torch.export.load(path), path, extra_files={"distilbert.json": record})


class Session:
    """A program that is read back."""

    def __init__(self, path: Path, task: str) -> None:
        self.names = output_names(task)
        self.call = torch.export.load(path).module()

    def run(self, inputs: Mapping[str, NDArray[np.int64]]) -> dict[str, Array]:
        with torch.no_grad():
            found = self.call(*(torch.from_numpy(inputs[name]) for name in INPUTS))
        return {name: value.numpy() for name, value in zip(self.names, found, strict=True)}
