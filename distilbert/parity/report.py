# SPDX-License-Identifier: Apache-2.0
"""The outcome of a verification as data. How it looks is in `table.py`, `picture.py` and `certificate.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distilbert import spec
from distilbert.config import DistilBertConfig
from distilbert.loading import runtime
from distilbert.parity import tolerances
from distilbert.parity.measuring import Measurement, place
from distilbert.parity.weights import WeightsComparison

OTHER = "other"  # stands in the place of a framework for the second checkpoint


@dataclass(frozen=True)
class Subject:
    """A checkpoint that was compared: as it was named, what it is, and the SHA-256 of each of its files."""

    name: str
    task: str
    format: str
    config: DistilBertConfig
    parameters: int
    files: Mapping[str, str]

    @property
    def class_name(self) -> str:
        """The model class, without a framework's prefix."""
        return spec.TASKS[self.task].class_name

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": self.name,
            "class": self.class_name,
            "format": self.format,
            "parameters": self.parameters,
            "files": dict(sorted(self.files.items())),
        }


@dataclass(frozen=True)
class Report:
    """What was compared, and how far apart it is.

    Attributes:
        source: the checkpoint; `other` the second one, where one was given.
        backends: short names of the frameworks that ran.
        dtype: float type in which they ran.
        seed: of the sample inputs.
        not_finite: tensors with NaN or infinity; if there are any, outputs were not compared.
        weights: one comparison for each framework, and for the other checkpoint.
        measurements: the largest error of each layer, in the order of computation, for each framework, and for the
            other checkpoint (backend `other`).
    """

    source: Subject
    other: Subject | None
    backends: tuple[str, ...]
    dtype: str
    seed: int
    not_finite: tuple[str, ...]
    weights: tuple[WeightsComparison, ...]
    measurements: tuple[Measurement, ...]

    @property
    def ok(self) -> bool:
        """Whether every error is within its bound, or explained by rounding, and all weights are the same."""
        return all(one.ok for one in self.weights) and all(found.ok for found in self.measurements)

    @property
    def columns(self) -> list[str]:
        """What was compared with the reference: frameworks, and the other checkpoint (of the same shapes) or file."""
        measured = {found.backend for found in self.measurements}
        return [*self.backends, *sorted(measured - set(self.backends))]

    @property
    def layers(self) -> list[str]:
        """What was measured, in the order of computation."""
        return sorted({found.layer for found in self.measurements}, key=place)

    def of(self, backend: str) -> dict[str, Measurement]:
        """The measurements of one column by layer, in the order of computation."""
        return {found.layer: found for found in self.measurements if found.backend == backend}

    def first_divergence(self, backend: str) -> Measurement | None:
        """The first layer, in the order of computation, whose error is beyond its bound and beyond rounding."""
        return next((found for found in self.of(backend).values() if not found.ok), None)

    @property
    def rounded(self) -> list[Measurement]:
        """The errors that exceed their bound as far as rounding explains."""
        return [found for found in self.measurements if found.ok and not found.within_bound]

    @property
    def worst(self) -> Measurement | None:
        """The error that comes closest to what is accepted, or exceeds it most."""
        return max(self.measurements, key=lambda found: found.excess, default=None)

    def problems(self) -> list[str]:
        """One line for everything that failed."""
        lines = [
            f"{title(one.subject)}: {len(one.differences)} of {one.tensors} tensors differ from the checkpoint"
            + (", and outputs were not compared" if one.misshapen else "")
            for one in self.weights
            if not one.ok
        ]
        for backend in self.columns:
            first = self.first_divergence(backend)
            if first is not None:
                error = f"error {first.text}, bound {first.bound:.0e}, call: {first.call}"
                lines.append(f"{title(backend)}: diverges first at {first.layer} ({error})")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, always in the same order; an error that is not finite is null."""
        divergences = {backend: self.first_divergence(backend) for backend in self.columns}
        return {
            "ok": self.ok,
            "source": self.source.to_dict(),
            "other": self.other and self.other.to_dict(),
            "dtype": self.dtype,
            "reference": f"NumPy {tolerances.REFERENCE_DTYPES[self.dtype]}",
            "seed": self.seed,
            "not_finite": list(self.not_finite),
            "weights": [_weights_to_dict(one) for one in self.weights],
            "first_divergence": {backend: found and found.layer for backend, found in divergences.items()},
            "measurements": [_measurement_to_dict(found) for found in self.measurements],
        }


def title(backend: str) -> str:
    """What a reader calls a column."""
    return "other checkpoint" if backend == OTHER else runtime(backend).title


def _weights_to_dict(one: WeightsComparison) -> dict[str, Any]:
    different = [
        {"name": found.name, "problem": found.problem, "largest_difference": found.largest} for found in one.differences
    ]
    return {"subject": one.subject, "ok": one.ok, "tensors": one.tensors, "different": different}


def _measurement_to_dict(found: Measurement) -> dict[str, Any]:
    return {
        "backend": found.backend,
        "layer": found.layer,
        "error": found.error if math.isfinite(found.error) else None,
        "bound": found.bound,
        "rounding": found.rounding or None,
        "ok": found.ok,
        "call": found.call,
    }
