# SPDX-License-Identifier: Apache-2.0
"""A report as a document to keep: what was compared, with which versions, on what, and how far apart it was.

The same comparison in the same environment gives the same bytes: there is no date in it.
"""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import distilbert
from distilbert.files import write_json
from distilbert.loading import runtime
from distilbert.parity import tolerances
from distilbert.parity.measuring import is_gradient
from distilbert.parity.report import OTHER, Report

KIND = "distilbert parity certificate"
VERSION = 1


def certificate(report: Report) -> dict[str, Any]:
    """The certificate as JSON values."""
    bounds = [tolerances.CONVERSION, tolerances.OUTPUTS[report.dtype]]
    if any(is_gradient(found.layer) for found in report.measurements):
        bounds.append(tolerances.GRADIENTS[report.dtype])
    if report.rounded:
        bounds.append(tolerances.ROUNDINGS[report.dtype])
    return {
        "kind": KIND,
        "version": VERSION,
        "verdict": "equal" if report.ok else "different",
        "problems": report.problems(),
        "environment": environment(tuple(name for name in report.columns if name != OTHER)),
        "config": dict(sorted(report.source.config.to_dict().items())),
        "bounds": [
            {"name": row.name, "quantity": row.quantity, "bound": row.bound, "measure": row.measure.value}
            for row in dict.fromkeys(bounds)
        ],
        **report.to_dict(),
    }


def write_certificate(report: Report, path: Path) -> None:
    """Write the certificate, all or nothing; FileError if that is impossible."""
    write_json(path, certificate(report))


def environment(backends: tuple[str, ...]) -> dict[str, Any]:
    """Versions of what computed, and the machine."""
    frameworks = {name: version for backend in backends for name, version in runtime(backend).versions.items()}
    return {
        "distilbert": distilbert.__version__,
        "numpy": importlib.metadata.version("numpy"),
        **frameworks,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
    }
