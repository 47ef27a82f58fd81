# SPDX-License-Identifier: Apache-2.0
"""A run as JSON: every time of every call, and what is needed to judge them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import distilbert
from distilbert.bench.measured import Case, Measurement, SuiteResult
from distilbert.bench.run import Run
from distilbert.files import write_json

KIND = "distilbert benchmark"
VERSION = 1


def as_json(run: Run) -> dict[str, Any]:
    """The run as JSON values."""
    return {
        "kind": KIND,
        "version": VERSION,
        "distilbert": distilbert.__version__,
        "machine": dict(run.machine),
        "versions": {name: dict(found) for name, found in run.versions.items()},
        "settings": dict(run.settings),
        "speeds": dict(run.speeds),
        "suites": [_suite(result) for result in run.results],
    }


def write_record(run: Run, path: Path) -> None:
    """Write the run, all or nothing; FileError if that is impossible."""
    write_json(path, as_json(run))


def _suite(result: SuiteResult) -> dict[str, Any]:
    cases = {case.name: case for case in result.cases}
    return {
        "name": result.name,
        "title": result.title,
        "baseline": result.baseline,
        "cases": [vars(case) for case in result.cases],
        "results": [
            {"contender": contender, "case": name, **_cell(result, contender, cases.get(name), cell)}
            for (contender, name), cell in result.cells.items()
        ],
    }


def _cell(result: SuiteResult, contender: str, case: Case | None, cell: Measurement) -> dict[str, Any]:
    return {
        "value": case and result.value(contender, case),
        "ratio": case and result.ratio(contender, case),
        "fraction_of_limit": case and result.fraction(contender, case),
        "seconds": cell.seconds,
        "times": list(cell.times),
        "error": cell.error,
    }
