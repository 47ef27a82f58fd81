# SPDX-License-Identifier: Apache-2.0
"""Certify that a checkpoint gives the same numbers in every framework, and that two checkpoints are the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from distilbert import hub
from distilbert.backend import BACKENDS, installed, require
from distilbert.convert.finite import all_finite
from distilbert.convert.tensor import FLOAT_DTYPES, Array
from distilbert.errors import BackendError, InputError
from distilbert.export.running import export_folder, open_export
from distilbert.parity import tolerances
from distilbert.parity.comparing import Comparison
from distilbert.parity.exports import compare_export, subject_of
from distilbert.parity.inputs import sample_calls
from distilbert.parity.measuring import Measurement, worst
from distilbert.parity.reading import Checkpoint, read_checkpoint
from distilbert.parity.report import OTHER, Report, title
from distilbert.parity.running import ReferenceRunner, running
from distilbert.parity.weights import WeightsComparison, compare_weights

Progress = Callable[[str], None]  # told what is about to happen


def verify(
    source: str | os.PathLike[str],
    against: str | os.PathLike[str] | None = None,
    backends: Sequence[str] | None = None,
    dtype: str = "float32",
    *,
    task: str | None = None,
    gradients: bool = False,
    seed: int = 0,
    progress: Progress = lambda step: None,
) -> Report:
    """Run the same inputs through the NumPy reference and the frameworks, and compare every layer.

    Weights that hold NaN or infinity are named in the report; then only bits are compared, for outputs mean nothing.

    Args:
        source: a folder, weights file or hub repository, in any format.
        against: a second checkpoint, whose weights must equal those of `source` bit by bit; its outputs in the
            reference are compared as if it were a framework. Or a folder that `distilbert export` wrote, whose outputs
            are compared.
        backends: short names of frameworks (`pt`, `tf`, `flax`); default all that are installed.
        dtype: float type in which the frameworks compute.
        task: which of the six models; default what the checkpoint is.
        gradients: also compare the gradients of the loss.
        seed: of the sample inputs.
        progress: told what is about to happen.

    Raises:
        BackendError: a framework is unknown or not installed, or there is nothing to compare with.
        InputError: the float type or task is unknown, the checkpoints are of different classes, or there is no loss to
            take gradients of.
        WeightsError, ConfigError, FileError, HubError: a checkpoint cannot be read.
    """
    names = _wanted(backends, alone=against is None)
    tolerances.for_outputs(dtype)
    progress("reading the weights")
    checkpoint = read_checkpoint(source, task)
    folder = None if against is None else export_folder(hub.resolve(against))
    exported = open_export(folder) if folder else None
    other = None if against is None or exported else _read_other(against, task, checkpoint)
    subject, tensors = checkpoint.subject, checkpoint.tensors
    not_finite = tuple(name for name, values in tensors.items() if not all_finite(values))

    progress("computing the reference")
    calls = [] if not_finite else sample_calls(subject.config, subject.task, seed)
    comparison = Comparison(subject.task, subject.config, tensors, dtype, calls, gradients)
    errors: list[Measurement] = []
    weights: list[WeightsComparison] = []
    for name in names:
        progress(f"running {title(name)}")
        same, found = _run(name, comparison)
        weights.append(same)
        errors += found
    if other and not exported:
        progress(f"comparing with {other.subject.name}")
        weights.append(compare_weights(OTHER, other.tensors, tensors))
        if not weights[-1].misshapen:
            oracle = ReferenceRunner(
                subject.task, other.subject.config, other.tensors, tolerances.REFERENCE_DTYPES[dtype]
            )
            errors += comparison.errors(OTHER, oracle)
    if exported and folder and not not_finite:
        progress(f"running {title(exported.backend)}")
        errors += compare_export(exported, subject, tensors, seed)
        other = Checkpoint(subject_of(exported, folder, subject), {})
    return Report(
        source=subject,
        other=other.subject if other else None,
        backends=tuple(names),
        dtype=dtype,
        seed=seed,
        not_finite=not_finite,
        weights=tuple(weights),
        measurements=worst(errors),
    )


def _wanted(backends: Sequence[str] | None, alone: bool) -> list[str]:
    names = list(dict.fromkeys(installed() if backends is None else backends))
    if not names and alone:
        raise BackendError('verify: no framework is installed; pip install "distilbert[pt]" (or [tf], or [flax])')
    unknown = [name for name in names if name not in BACKENDS]
    if unknown:
        raise BackendError(f"backends: expected {', '.join(BACKENDS)}; found {', '.join(map(repr, unknown))}")
    for name in names:
        require(name, "verify")
    return names


def _read_other(against: str | os.PathLike[str], task: str | None, checkpoint: Checkpoint) -> Checkpoint:
    other = read_checkpoint(against, task)
    expected, found = checkpoint.subject, other.subject
    if found.task != expected.task:
        raise InputError(f"{found.name}: expected {expected.class_name} like {expected.name}, found {found.class_name}")
    return other


def _run(name: str, comparison: Comparison) -> tuple[WeightsComparison, list[Measurement]]:
    """How the weights in a framework's model compare, and its errors. The model is gone before the next is made."""
    task, config, tensors, dtype = comparison.task, comparison.config, comparison.tensors, comparison.dtype
    with running(name, task, config, tensors, dtype) as runner:
        same = compare_weights(name, *_as_held(runner.tensors(), tensors, dtype))
        return same, comparison.errors(name, runner)


def _as_held(
    held: dict[str, Array], tensors: Mapping[str, Array], dtype: str
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The weights in a model, and the checkpoint's in the same float type, in which a cast NaN may be any NaN."""
    expected = {name: values.astype(FLOAT_DTYPES[dtype], copy=False) for name, values in tensors.items()}
    for name, values in expected.items():
        if values.dtype != tensors[name].dtype and not all_finite(values):
            nan = values.dtype.type(np.nan)
            expected[name] = np.where(np.isnan(values), nan, values)
            held[name] = np.where(np.isnan(held[name]), nan, held[name])
    return held, expected
