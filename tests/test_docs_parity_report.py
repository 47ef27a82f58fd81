# SPDX-License-Identifier: Apache-2.0
"""docs/parity-report.md is of the checkpoint that is inside the package, and its script says what was measured."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from distilbert import DistilBertConfig
from distilbert.demo import MODEL
from distilbert.files import file_digest
from distilbert.parity import tolerances
from distilbert.parity.measuring import Measurement
from distilbert.parity.report import Report, Subject
from distilbert.parity.weights import WeightsComparison

from .conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "parity-report.md").read_text(encoding="utf-8")
BOUND = tolerances.FLOAT32.bound


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/parity_report.py as a module; no framework is imported."""
    found = importlib.util.spec_from_file_location("parity_report", REPOSITORY / "scripts" / "parity_report.py")
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


def error(layer: str, size: float, backend: str = "pt", rounding: float = 0.0) -> Measurement:
    return Measurement(backend, layer, "a single token", size, BOUND, rounding)


def report(*measurements: Measurement) -> Report:
    files = {"config.json": "0" * 64}
    subject = Subject("m", "encoder", "safetensors", DistilBertConfig(n_layers=1), 1234, files)
    weights = (WeightsComparison("pt", 20, ()),)
    return Report(subject, None, ("pt",), "float32", 0, (), weights, measurements)


def test_the_page_is_of_the_checkpoint_in_the_package() -> None:
    section = PAGE.split("\n## ")[1]
    digests = dict(re.findall(r"^\| `([\w.]+)` \| `([0-9a-f]{64})` \|$", section, re.M))
    assert digests == {name: file_digest(Path(MODEL, name)) for name in ("config.json", "model.safetensors")}


def test_what_is_beyond_its_bound_is_marked() -> None:
    rows = re.findall(r"^\| ([a-z]\w* .*?|embeddings|logits|loss) \| (.*) \| (\de-\d\d) \|$", PAGE, re.M)
    assert len(rows) > 40
    for _, errors, bound in rows:
        for cell in errors.split(" | "):
            size = float(cell.strip("~ *"))
            marked = cell.startswith(("~ ", "**"))
            assert size >= float(bound) if marked else size <= float(bound), (cell, bound)  # both as rounded


def test_our_own_errors_are_all_accepted() -> None:
    ours = re.sub(r"### Beside.*?(?=^##? )", "", PAGE, flags=re.M | re.S)
    assert ours.count("**Equal.**") == 4
    assert "**" not in ours.replace("**Equal.**", "")


def test_a_table_marks_what_rounding_explains_and_what_fails(script: ModuleType) -> None:
    fine, rounded, wrong = error("embeddings", 1e-7), error("layer 0", 5e-6, rounding=1e-5), error("loss", 1e-3)
    columns = [("one", script.by_layer([fine, rounded, wrong])), ("two", script.by_layer([fine, rounded, fine]))]
    columns[1][1]["loss"] = error("loss", 0.0)
    assert script.errors_table(columns).splitlines()[2:] == [
        "| embeddings | 1.0e-07 | 1.0e-07 | 2e-06 |",
        "| layer 0 | ~ 5.0e-06 | ~ 5.0e-06 | 2e-06 |",
        "| loss | **1.0e-03** | 0 | 2e-06 |",
    ]


def test_a_verdict_is_that_of_the_report(script: ModuleType) -> None:
    fine = " ".join(script.verdict(report(error("embeddings", 1e-6))))
    assert fine.startswith("**Equal.** The weights are bit-equal in PyTorch.")
    assert fine.endswith("Closest to what is accepted: embeddings in PyTorch, at 50 % of it.")
    rounded = " ".join(script.verdict(report(error("embeddings", 1e-7), error("layer 0", 4e-6, rounding=1.6e-5))))
    assert "1 of 2 errors (`~`)" in rounded
    assert "moves layer 0 by 1.0e-06, and up to 16 times that" in rounded
    wrong = " ".join(script.verdict(report(error("loss", 1e-3))))
    assert wrong.startswith("**Different.**")
    assert "PyTorch: diverges first at loss (error 1.0e-03, bound 2e-06, call: a single token)." in wrong


def test_the_page_names_the_command_that_wrote_it(script: ModuleType) -> None:
    arguments = re.search(r"^python (\S+) (\S+)(.*)$", PAGE, re.M)
    assert (REPOSITORY / arguments[1]).is_file()
    assert arguments[2] == "docs/parity-report.md"
    opening = script.opening("TABLE", arguments[3].split())
    assert all(part in PAGE for part in opening if part != "TABLE")
