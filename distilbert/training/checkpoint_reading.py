# SPDX-License-Identifier: Apache-2.0
"""What is read of a checkpoint of a training, with all that can be wrong with it. `checkpoints` writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from distilbert.convert.tensor import Array
from distilbert.errors import ConfigError, FileError, InputError, WeightsError, describe
from distilbert.files import check_regular_file, read_json

STATE = "trainer_state.json"
OPTIMIZER = "optimizer.safetensors"
VERSION = 1
_SHOWN = 10  # tensors in a message

Tensors = Mapping[str, Array]


def check_tensors(path: Path, shapes: Mapping[str, tuple[int, ...]], weights: Tensors, *moments: Tensors) -> None:
    """Raise FileError for tensors of a checkpoint that no training of this model has written.

    Args:
        path: of the checkpoint.
        shapes: of all tensors of the model.
        weights: float32, all of them.
        moments: two, of the same tensors each; not those that are not trained.
    """
    first, second = moments
    trained = {*first, *second}
    problems = []
    for kind, names, found in (("weight", {*shapes}, weights), ("first", trained, first), ("second", trained, second)):
        problems += [f"{kind} {name}: is missing" for name in sorted(names - found.keys())]
        for name, values in found.items():
            expected, form = f"float32 {shapes.get(name)}", f"{values.dtype} {values.shape}"
            if name not in shapes:
                problems.append(f"{kind} {name}: the model has no such tensor")
            elif form != expected:
                problems.append(f"{kind} {name}: expected {expected}, found {form}")
            elif not np.isfinite(values).all() or (kind == "second" and values.min(initial=0) < 0):
                problems.append(f"{kind} {name}: holds values that cannot be")
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise FileError(describe(str(path), problems[:_SHOWN] + more))


def read_moments(path: Path) -> tuple[dict[str, Array], dict[str, Array]]:
    """AdamW's running means by the names of their tensors."""
    check_regular_file(path)
    try:
        found = load_file(path)
    except SafetensorError as error:
        raise FileError(f"{path}: not a sound safetensors file ({error})") from None
    first, second = (
        {name.removeprefix(kind): values for name, values in found.items() if name.startswith(kind)}
        for kind in ("first.", "second.")
    )
    return first, second


def read_document(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """What `Checkpoints` wrote of a training besides tensors; InputError if it was another one."""
    with damage_of(path):
        document = read_json(path / STATE)
        if document.get("version") != VERSION:
            raise FileError(f"{path / STATE}: expected version {VERSION}, found {document.get('version')!r}")
        problems = [
            f"{name}: expected {noun}, found {document.get(name)!r:.60}"
            for name, (noun, is_right) in _DOCUMENT.items()
            if not is_right(document.get(name))
        ]
        if f"checkpoint-{document.get('step')}" != path.name:
            problems.append(f"step: expected that of the folder, found {document.get('step')!r:.60}")
        if problems:
            raise FileError(describe(str(path / STATE), problems))
    then = document["recipe"]
    different = [name for name in sorted({*then, *identity}) if then.get(name) != identity.get(name)]
    if different:
        problems = [f"{name}: was {then.get(name)!r}, is {identity.get(name)!r}" for name in different]
        advice = "choose another output folder, or begin anew with --overwrite_output_dir"
        raise InputError(f"{describe(f'{path} is of another training', problems)}\n{advice}")
    return document


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_history(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(line, dict) and {"step", "epoch"} <= line.keys() and all(map(_is_number, line.values()))
        for line in value
    )


_DOCUMENT: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "recipe": ("an object", lambda value: isinstance(value, dict)),
    "history": ("a list of objects with numbers", _is_history),
    "best_metric": ("a number or null", lambda value: value is None or _is_number(value)),
    "best_step": ("a whole number or null", lambda value: value is None or type(value) is int),
    "without_gain": ("a whole number", lambda value: type(value) is int),
}


@contextmanager
def damage_of(path: Path) -> Iterator[None]:
    """Say what can be done about a damaged checkpoint."""
    try:
        yield
    except (FileError, WeightsError, ConfigError) as error:
        advice = f"remove {path} to go on from the checkpoint before, or begin anew with --overwrite_output_dir"
        raise FileError(f"{error}\n{advice}") from None
