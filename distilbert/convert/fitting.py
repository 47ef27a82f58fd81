# SPDX-License-Identifier: Apache-2.0
"""Which model is in a set of tensors, and does it fit the one wanted? Looks at names, shapes and types, not values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from distilbert import spec
from distilbert.config import DistilBertConfig
from distilbert.convert.raw import shown
from distilbert.convert.tensor import FLOAT_DTYPES, StoredTensor
from distilbert.errors import WeightsError
from distilbert.spec import TensorSpec

_LAYER = re.compile(rf"{re.escape(spec.PREFIX)}transformer\.layer\.([0-9]{{1,9}})\.")
_BERT = re.compile(r"bert\.|encoder\.layer\.")
_SHOWN = 8  # names listed of each kind of problem; a wrong config can have hundreds


@dataclass(frozen=True)
class Fit:
    """How tensors fit the model of a config and task.

    Attributes:
        tensors: those that have their place, by the model's names.
        missing: those the model needs and the checkpoint lacks.
        unexpected: names of those that no model here has a place for.
        mismatched: those of another shape, with the shape found.
        not_float: those whose values cannot be weights.
        aside: names of those that belong to the head of another task.
        contradictions: config fields that the tensors say are wrong, in words.
    """

    task: str
    config: DistilBertConfig
    tensors: dict[str, StoredTensor]
    missing: list[TensorSpec]
    unexpected: list[str]
    mismatched: list[tuple[TensorSpec, tuple[int, ...]]]
    not_float: list[StoredTensor]
    aside: list[str]
    contradictions: list[str]

    @property
    def is_exact(self) -> bool:
        """Whether every place of the model has its tensor, and no tensor is unknown."""
        return not (self.missing or self.unexpected or self.mismatched or self.not_float)

    @property
    def lacks_head(self) -> bool:
        """Whether exactly the whole head is missing, which the config does not claim to be there."""
        claimed = spec.TASKS[self.task].class_name in (self.config.architectures or ())
        present = any(spec.is_head_tensor(name) for name in self.tensors)
        return not claimed and not present and all(spec.is_head_tensor(tensor.name) for tensor in self.missing)

    def problems(self) -> list[str]:
        """What does not fit, a line for each kind of problem, and what the config seems to get wrong."""
        kinds = {
            "missing   ": [tensor.name for tensor in self.missing],
            "unexpected": self.unexpected,
            "shape     ": [
                f"{tensor.name}: expected {tensor.shape}, found {found}" for tensor, found in self.mismatched
            ],
            "not float ": [f"{tensor.name} ({tensor.dtype})" for tensor in self.not_float],
            "config    ": self.contradictions,
        }
        return [f"{kind} {_list(names)}" for kind, names in kinds.items() if names]

    def error(self, origin: str, hints: Iterable[str] = ()) -> WeightsError:
        """The error that lists everything that does not fit, and what to do."""
        title = f"{origin}: does not fit {spec.TASKS[self.task].class_name} with {self.config.n_layers} layers"
        return WeightsError("\n  ".join([title, *self.problems(), *hints]))


def fit(tensors: Mapping[str, StoredTensor], config: DistilBertConfig, task: str) -> Fit:
    """Compare tensors (encoder names prefixed) with the model of `task`; heads of other tasks are left aside."""
    expected = spec.tensors(config, task)
    aside = _of_other_heads(tensors, config, task)
    found: dict[str, StoredTensor] = {}
    missing, mismatched, not_float = [], [], []
    for name, tensor in expected.items():
        stored = None if name in aside else tensors.get(spec.with_prefix(name))
        if stored is None:
            missing.append(tensor)
        elif stored.dtype not in FLOAT_DTYPES.values():
            not_float.append(stored.renamed(name))
        elif stored.shape != tensor.shape:
            mismatched.append((tensor, stored.shape))
        else:
            found[name] = stored.renamed(name)
    known = {spec.with_prefix(name) for name in expected}
    unexpected = [name for name in tensors if name not in known and name not in aside]
    contradictions = _contradictions(tensors, config, task) if missing or unexpected or mismatched else []
    return Fit(task, config, found, missing, unexpected, mismatched, not_float, sorted(aside), contradictions)


def task_of(tensors: Mapping[str, StoredTensor], config: DistilBertConfig) -> str:
    """Which of the six models tensors are: what the config says unless they contradict it, else what they look like."""
    present = _head_paths(tensors)
    named = [task for task in spec.TASKS.values() if task.class_name in (config.architectures or ())]
    for task in named:
        if _paths(task.name) & present or not present:
            return task.name
    if not present:
        return "encoder"
    whole = _whole_heads(present)
    fitting = [task for task in whole if fit(tensors, config, task).is_exact]
    nearest = max(spec.TASKS, key=lambda task: len(_paths(task) & present))
    return next(iter(fitting or whole), nearest)


def _of_other_heads(tensors: Iterable[str], config: DistilBertConfig, task: str) -> set[str]:
    """Names of head tensors that are no part of this task's head: by their path, or because they complete another's.

    A sequence classifier's `classifier` follows its `pre_classifier`: it is not a token classifier's of the same name.
    """
    names = {name for name in tensors if spec.is_head_tensor(name)}
    present = {_path(name) for name in names}
    own = _paths(task)
    whole = _whole_heads(present)
    claimed = spec.TASKS[task].class_name in (config.architectures or ())
    if whole and task not in whole and not claimed:
        own = own.difference(*map(_paths, whole))
    return {name for name in names if _path(name) not in own}


def _whole_heads(present: set[str]) -> list[str]:
    """The tasks whose head is there, unless it is only a part of another's."""
    whole = [task for task in spec.TASKS if _paths(task) and _paths(task) <= present]
    return [task for task in whole if not any(_paths(task) < _paths(other) for other in whole)]


def _head_paths(tensors: Iterable[str]) -> set[str]:
    return {_path(name) for name in tensors if spec.is_head_tensor(name)}


def _paths(task: str) -> set[str]:
    return {layer.path for layer in spec.TASKS[task].layers}


def _path(name: str) -> str:
    return name.rpartition(".")[0]


def _contradictions(tensors: Mapping[str, StoredTensor], config: DistilBertConfig, task: str) -> list[str]:
    """Sizes in the config that are not those of the tensors."""
    layers = [int(match[1]) for match in map(_LAYER.match, tensors) if match]
    sizes = {"n_layers": max(layers, default=-1) + 1}
    block = [replace(layer, path=f"transformer.layer.0.{layer.path}") for layer in spec.BLOCK_LAYERS]
    for layer in (*spec.EMBEDDING_LAYERS, *block, *spec.TASKS[task].layers):
        tensor = tensors.get(spec.with_prefix(f"{layer.path}.weight"))
        if tensor is not None and len(tensor.shape) == len(layer.sizes):
            for field, size in zip(layer.sizes, tensor.shape, strict=True):
                if isinstance(field, str) and field != "attention":
                    sizes.setdefault(field, size)
    return [
        f"{field} {getattr(config, field)}, but the tensors have {size}"
        for field, size in sizes.items()
        if size and getattr(config, field) != size
    ] + (["model_type distilbert, but the names are BERT's"] if any(map(_BERT.match, tensors)) else [])


def _list(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)}: {', '.join(map(shown, names[:_SHOWN]))}{rest}"
