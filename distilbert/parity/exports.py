# SPDX-License-Identifier: Apache-2.0
"""Does an exported file give the numbers of its source? Measured against the NumPy reference, as `verify` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distilbert import spec
from distilbert.config import DistilBertConfig
from distilbert.errors import InputError, ParityError, describe
from distilbert.export.formats import QUANTIZED
from distilbert.export.running import ExportedModel, files_of
from distilbert.export.signature import INPUTS, Array, Session, output_names
from distilbert.files import file_digest
from distilbert.parity.comparing import Comparison
from distilbert.parity.inputs import SampleCall, sample_calls
from distilbert.parity.measuring import Measurement, layers_of_output, worst
from distilbert.parity.report import Subject

_SIZES = ("vocab_size", "max_position_embeddings", "num_labels")  # that inputs and outputs depend on


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
    session: Session,
    name: str,
    task: str,
    config: DistilBertConfig,
    tensors: Mapping[str, Array],
    dtype: str,
    seed: int = 0,
) -> list[Measurement]:
    """The same, whatever it is; `seed` is of the inputs, the longest of which is as long as the model takes."""
    longest = config.max_position_embeddings
    calls = [_plain(call) for call in sample_calls(config, task, seed, longest)]
    outputs = [output.replace("_", " ") for output in output_names(task)]
    comparison = Comparison(task, config, tensors, dtype, calls, only=outputs)
    return list(worst(comparison.errors(name, SessionRunner(session))))


def same_answers(one: Session, other: Session, config: DistilBertConfig, task: str) -> bool:
    """Whether two sessions answer a batch with the same bits."""
    call = _plain(sample_calls(config, task)[0])
    (found,), (expected,) = (SessionRunner(session).outputs(call.arguments) for session in (one, other))
    return all(np.array_equal(found[name], values) for name, values in expected.items())


def compare_export(
    exported: ExportedModel, subject: Subject, tensors: Mapping[str, Array], seed: int
) -> list[Measurement]:
    """The worst error of each output of a file, against the reference with the weights of a checkpoint.

    Raises:
        InputError: the file is of another task or size, or in 8 bits, for which there is no bound.
    """
    if exported.task != subject.task:
        found = spec.TASKS[exported.task].class_name
        raise InputError(f"{exported.backend}: expected {subject.class_name} like {subject.name}, found {found}")
    sizes = {name: (getattr(subject.config, name), getattr(exported.config, name)) for name in _SIZES}
    other = [f"{name}: expected {own}, found {found}" for name, (own, found) in sizes.items() if own != found]
    if other:
        raise InputError(describe(f"{exported.backend}: is no export of {subject.name}", other))
    if exported.dtype in QUANTIZED:
        raise InputError(
            f"{exported.backend}: is in {exported.dtype}, whose answers are near the checkpoint's and not the same; "
            "distilbert quantize measures on your data what that costs"
        )
    return measure(exported.session, exported.backend, subject.task, subject.config, tensors, exported.dtype, seed)


def subject_of(exported: ExportedModel, folder: Path, source: Subject) -> Subject:
    """What a report says of an export."""
    files = {path.relative_to(folder).as_posix(): file_digest(path) for path in files_of(folder)}
    return Subject(str(folder), exported.task, exported.backend, exported.config, source.parameters, files)


def as_json(found: Measurement) -> dict[str, Any]:
    """A measurement for the metadata of a file."""
    return {"error": found.error, "bound": max(found.bound, found.rounding), "call": found.call}


def _plain(call: SampleCall) -> SampleCall:
    """The same with ids and a mask alone, which are what a file takes: it counts positions itself."""
    ids = call.arguments["input_ids"]
    mask = call.arguments.get("attention_mask", np.ones_like(ids))
    name = "the longest text" if "positions" in call.name else call.name
    return SampleCall(name, {"input_ids": ids, "attention_mask": mask}, call.finite_only)
