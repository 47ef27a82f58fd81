# SPDX-License-Identifier: Apache-2.0
"""Does an exported file give the numbers of its source? Measured against the NumPy reference, as `verify` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from distilbert import spec
from distilbert.config import DistilBertConfig
from distilbert.errors import InputError, ParityError, describe
from distilbert.export.formats import QUANTIZED
from distilbert.export.running import ExportedModel
from distilbert.export.signature import INPUTS, Array, Session, output_names
from distilbert.parity.comparing import Comparison
from distilbert.parity.inputs import SampleCall, sample_calls
from distilbert.parity.measuring import Measurement, layers_of_output, worst
from distilbert.parity.report import Subject


@dataclass(frozen=True)
class SessionRunner:
    """An open file as what a comparison runs."""

    session: Session

    def outputs(self, arguments: Mapping[str, Array]) -> list[dict[str, Array]]:
        """One run."""
        return [layers_of_output(self.session.run({name: arguments[name].astype(np.int64) for name in INPUTS}))]

    def gradients(self, arguments: Mapping[str, Array]) -> dict[str, Array]:
        """None: a file is not trained."""
        return {}


def check(
    session: Session, name: str, task: str, config: DistilBertConfig, tensors: Mapping[str, Array], dtype: str
) -> list[Measurement]:
    """The worst error of each output.

    Args:
        session: an open file.
        name: of its format.
        task, config, tensors: of its source.
        dtype: float type of the file.

    Raises:
        ParityError: an error exceeds its bound.
    """
    found = measure(session, name, task, config, tensors, dtype)
    bad = [
        f"{one.layer}: off by {one.text} of its largest value in '{one.call}', expected {one.bound:.0e} at most"
        for one in found
        if not one.ok
    ]
    if bad:
        raise ParityError(describe(f"{name} in {dtype} gives other numbers than its source", bad))
    return found


def measure(
    session: Session, name: str, task: str, config: DistilBertConfig, tensors: Mapping[str, Array], dtype: str
) -> list[Measurement]:
    """The same, whatever it is."""
    calls = [_plain(call) for call in sample_calls(config, task)]
    outputs = [output.replace("_", " ") for output in output_names(task)]
    comparison = Comparison(task, config, tensors, dtype, calls, only=outputs)
    return list(worst(comparison.errors(name, SessionRunner(session))))


def compare_export(exported: ExportedModel, subject: Subject, tensors: Mapping[str, Array]) -> list[Measurement]:
    """The worst error of each output of a file, against the reference with the weights of a checkpoint.

    Raises:
        InputError: the file is of another task, or in 8 bits, for which there is no bound.
    """
    if exported.task != subject.task:
        found = spec.TASKS[exported.task].class_name
        raise InputError(f"{exported.backend}: expected {subject.class_name} like {subject.name}, found {found}")
    if exported.dtype in QUANTIZED:
        raise InputError(
            f"{exported.backend}: is in {exported.dtype}, whose answers are near the checkpoint's and not the same; "
            "distilbert quantize measures on your data what that costs"
        )
    return measure(exported.session, exported.backend, subject.task, subject.config, tensors, exported.dtype)


def as_json(found: Measurement) -> dict[str, Any]:
    """A measurement for the metadata of a file."""
    return {"error": found.error, "bound": max(found.bound, found.rounding), "call": found.call}


def _plain(call: SampleCall) -> SampleCall:
    """The same with ids and a mask alone, which are what a file takes."""
    ids = call.arguments["input_ids"]
    mask = call.arguments.get("attention_mask", np.ones_like(ids))
    return SampleCall(call.name, {"input_ids": ids, "attention_mask": mask}, call.finite_only)
