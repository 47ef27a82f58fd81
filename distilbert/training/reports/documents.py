# SPDX-License-Identifier: Apache-2.0
"""What is left to read of a training that has ended: `curves.png`, `parity.json` and the card, `README.md`."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from distilbert.files import write_text
from distilbert.training.reports.card import card
from distilbert.training.reports.curves import CURVES_NAME, drawable, write_curves
from distilbert.training.reports.parity import CERTIFICATE_NAME, certify
from distilbert.training.reports.run_facts import RunFacts

CARD_NAME = "README.md"


def write_documents(
    folder: Path, facts: RunFacts, history: Sequence[Mapping[str, float]], with_parity: bool = True
) -> list[Path]:
    """Write the documents of a trained model into its folder. Without matplotlib there is no picture.

    Args:
        folder: of the model, which is already in it.
        facts: of the training.
        history: lines of the log and evaluations, each with its step.
        with_parity: compare the model in all installed frameworks first.

    Returns:
        The files that were written.

    Raises:
        FileError: one cannot be written.
        BackendError: PyYAML is not installed.
    """
    written = []
    if with_parity:
        facts = dataclasses.replace(facts, parity=certify(folder))
        written += [folder / CERTIFICATE_NAME] if facts.parity.certificate else []
    picture: Path | None = None
    if drawable(history) and importlib.util.find_spec("matplotlib"):
        picture = folder / CURVES_NAME
        write_curves(history, picture, title=facts.name, main_metric=facts.main_metric, backend=facts.plan.backend)
        written.append(picture)
    write_text(folder / CARD_NAME, card(facts, None if picture is None else picture.name))
    return [*written, folder / CARD_NAME]
