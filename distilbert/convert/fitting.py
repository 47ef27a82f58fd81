# SPDX-License-Identifier: Apache-2.0
"""Does a checkpoint fit a model? Compares names, shapes and types before any value is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distilbert import spec
from distilbert.config import DistilBertConfig
from distilbert.convert.tensor import FLOAT_DTYPES, StoredTensor
from distilbert.errors import WeightsError
from distilbert.spec import TensorSpec

_SHOWN = 8  # names listed of each kind of problem; a wrong config can have hundreds


@dataclass(frozen=True)
class Fit:
    """The outcome of a comparison: what can be loaded, and what is wrong."""

    tensors: dict[str, StoredTensor]
    missing: list[TensorSpec]
    unexpected: list[str]
    mismatched: list[tuple[TensorSpec, tuple[int, ...]]]
    not_float: list[StoredTensor]

    @property
    def is_exact(self) -> bool:
        """Whether every tensor has its place and every place its tensor."""
        return not (self.missing or self.unexpected or self.mismatched or self.not_float)

    def problems(self) -> list[str]:
        """One line for each kind of problem."""
        lines = []
        if self.missing:
            lines.append(f"missing    {_list([tensor.name for tensor in self.missing])}")
        if self.unexpected:
            lines.append(f"unexpected {_list(self.unexpected)}")
        if self.mismatched:
            shapes = [f"{tensor.name}: file {found}, config {tensor.shape}" for tensor, found in self.mismatched]
            lines.append(f"shape      {_list(shapes)}")
        if self.not_float:
            lines.append(f"not float  {_list([f'{tensor.name} ({tensor.dtype})' for tensor in self.not_float])}")
        return lines

    def error(self, origin: str, task: str, config: DistilBertConfig, hint: str = "") -> WeightsError:
        """The error that lists everything."""
        title = f"{origin}: does not fit {spec.TASKS[task].class_name} ({config.n_layers} layers)"
        return WeightsError("\n  ".join([title, *self.problems(), *([hint] if hint else [])]))


def fit(tensors: Mapping[str, StoredTensor], config: DistilBertConfig, task: str) -> Fit:
    """Compare tensors (encoder names prefixed) with the model of `task`; heads of other tasks are left aside."""
    expected = spec.tensors(config, task)
    found: dict[str, StoredTensor] = {}
    missing, mismatched, not_float = [], [], []
    for name, tensor in expected.items():
        stored = tensors.get(spec.with_prefix(name))
        if stored is None:
            missing.append(tensor)
        elif stored.dtype not in FLOAT_DTYPES.values():
            not_float.append(stored)
        elif stored.shape != tensor.shape:
            mismatched.append((tensor, stored.shape))
        else:
            found[name] = stored.renamed(name)
    known = {spec.with_prefix(name) for name in expected}
    unexpected = [name for name in tensors if name not in known and not _is_other_head(name, task)]
    return Fit(found, missing, unexpected, mismatched, not_float)


def _is_other_head(name: str, task: str) -> bool:
    """Whether a tensor belongs to the head of another task, which a model of this task does without."""
    own = {layer.path for layer in spec.TASKS[task].layers}
    return spec.is_head_tensor(name) and name.rpartition(".")[0] not in own


def _list(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)}: {', '.join(names[:_SHOWN])}{rest}"
