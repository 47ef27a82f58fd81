# SPDX-License-Identifier: Apache-2.0
"""The section of a card that says whether the frameworks agree, from the parity certificate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distilbert.backend import BACKENDS
from distilbert.model_cards.markdown import code, grid


@dataclass(frozen=True)
class Parity:
    """How a model compares in all frameworks.

    Attributes:
        certificate: as `parity.certificate` makes it; None where there is none.
        missing: titles of the frameworks that are not installed.
        problem: why there is no certificate.
    """

    certificate: Mapping[str, Any] | None = None
    missing: tuple[str, ...] = ()
    problem: str | None = None


def parity_section(parity: Parity, file: str = "parity.json", at: str = "where the model was trained") -> list[str]:
    """Paragraphs: the verdict, a row for each framework, what was not compared.

    Args:
        parity: what was compared.
        file: the certificate's name.
        at: says of which machine the frameworks are.
    """
    certificate = parity.certificate
    if certificate is None:
        reason = f": {parity.problem}" if parity.problem else ""
        said = [f"The frameworks were not compared{reason}. `distilbert verify` does it."]
    else:
        said = [_verdict(certificate), _table(certificate), *_digests(certificate)]
        said.append(f"`{file}` is the certificate: versions, digests and the error of every layer.")
    if parity.missing:
        said.append(f"Not installed {at}, so not compared: {', '.join(parity.missing)}.")
    return said


def _verdict(certificate: Mapping[str, Any]) -> str:
    if certificate["verdict"] == "equal" and certificate["not_finite"]:
        return (
            "**Equal weights.** The weights hold NaN or infinity, so only their bits were compared, "
            "in every framework; outputs were not."
        )
    if certificate["verdict"] == "equal":
        return (
            f"**Equal.** The same inputs were run through the frameworks in {certificate['dtype']}; every layer and "
            f"output is within its bound of the reference ({certificate['reference']}), or explained by rounding."
        )
    problems = "\n".join(f"- {problem}" for problem in certificate["problems"])
    return f"**Different.** What the comparison found:\n\n{problems or '- see the certificate'}"


def _table(certificate: Mapping[str, Any]) -> str:
    rows = []
    weights = {one["subject"]: one for one in certificate["weights"]}
    for name, backend in BACKENDS.items():
        found = [one for one in certificate["measurements"] if one["backend"] == name]
        if name in weights:
            versions = [
                f"{package} {certificate['environment'][package]}"
                for package in backend.packages
                if package in certificate["environment"]
            ]
            same = "bit-equal" if weights[name]["ok"] else "different"
            rows.append((backend.title, ", ".join(versions), same, *_worst(found)))
    return grid(("framework", "versions", "weights", "largest difference", "bound", "in"), rows, "lllrrl")


def _worst(found: Sequence[Mapping[str, Any]]) -> tuple[str, str, str]:
    if not found:
        return "not compared", "", ""
    worst = max(found, key=lambda one: math.inf if one["error"] is None else one["error"] / one["bound"])
    error = "not finite" if worst["error"] is None else f"{worst['error']:.1e}"
    return error, f"{worst['bound']:.0e}", worst["layer"]


def _digests(certificate: Mapping[str, Any]) -> list[str]:
    rows = [(code(name), code(digest)) for name, digest in certificate["source"]["files"].items()]
    return [grid(("file", "SHA-256"), rows, "ll")] if rows else []
