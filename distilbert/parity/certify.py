# SPDX-License-Identifier: Apache-2.0
"""Certify that a checkpoint gives the same numbers in every framework, and that two checkpoints are the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from distilbert import backend as backends
from distilbert import reference
from distilbert.config import DistilBertConfig
from distilbert.convert.finite import all_finite
from distilbert.convert.tensor import FLOAT_DTYPES, Array
from distilbert.errors import BackendError, InputError
from distilbert.parity import tolerances
from distilbert.parity.inputs import SampleCall, sample_calls
from distilbert.parity.measuring import Measurement, layers_of_gradients, layers_of_output, measure, worst
from distilbert.parity.reading import ReadCheckpoint, read_checkpoint
from distilbert.parity.report import OTHER, Report, title
from distilbert.parity.running import Runner, running
from distilbert.parity.weights import WeightsComparison, compare_weights

Progress = Callable[[str], None]  # told what is about to happen


def verify(
    source: str | os.PathLike[str],
    against: str | os.PathLike[str] | None = None,
    frameworks: Sequence[str] | None = None,
    dtype: str = "float32",
    *,
    task: str | None = None,
    gradients: bool = False,
    seed: int = 0,
    progress: Progress = lambda step: None,
) -> Report:
    """Run the same inputs through the NumPy reference and the frameworks, and compare every layer.

    Weights that hold NaN or infinity are named in the report; their outputs cannot be compared, only their bits.

    Args:
        source: a folder, weights file or hub repository, in any format.
        against: a second checkpoint, whose weights must equal those of `source` bit by bit; its outputs in the
            reference are compared as if it were a framework.
        frameworks: short names (`pt`, `tf`, `flax`); default all that are installed.
        dtype: float type in which the frameworks compute.
        task: which of the six models; default what the checkpoint is.
        gradients: also compare the gradients of the loss.
        seed: of the sample inputs.
        progress: told what is about to happen.

    Raises:
        BackendError: a framework is unknown or not installed, or there is nothing to compare.
        InputError: the float type or task is unknown, the tasks of the checkpoints differ, or there is no loss to take
            gradients of.
        WeightsError, ConfigError, FileError, HubError: a checkpoint cannot be read.
    """
    names = _wanted(frameworks, against is not None)
    _check_dtype(dtype, gradients)
    progress("reading the weights")
    subject = read_checkpoint(source, task)
    other = None if against is None else read_checkpoint(against, task)
    if other and other.task != subject.task:
        raise InputError(f"{other.name}: expected a model for {subject.task} like {subject.name}, found {other.task}")
    calls = sample_calls(subject.config, subject.task, seed)
    not_finite = [name for name, values in subject.tensors.items() if not all_finite(values)]
    measurements: list[Measurement] = []
    weights: list[WeightsComparison] = []
    expected = None
    if not not_finite:
        progress("computing the reference")
        expected = Expected(subject.task, subject.config, subject.tensors, dtype, calls, gradients)
    for backend in names:
        progress(f"running {title(backend)}")
        with running(backend, subject.task, subject.config, subject.tensors, dtype) as runner:
            stored = {name: values.astype(FLOAT_DTYPES[dtype], copy=False) for name, values in subject.tensors.items()}
            weights.append(compare_weights(backend, runner.tensors(), stored))
            measurements += expected.measure(backend, runner) if expected else []
    if other:
        progress(f"comparing with {other.name}")
        weights.append(compare_weights(OTHER, other.tensors, subject.tensors))
    ...
