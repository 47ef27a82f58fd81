# SPDX-License-Identifier: Apache-2.0
"""`distilbert demo`: the embedded checkpoint in every framework and every format. The work is in `distilbert/demo`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilbert.backend import BACKENDS, installed
from distilbert.cli.console import grid, show, show_json, size, working
from distilbert.cli.frameworks import load_quietly
from distilbert.cli.options import Json
from distilbert.demo import MODEL, SENTENCES

if TYPE_CHECKING:
    from distilbert.demo.predicting import Prediction
    from distilbert.demo.tour import Step
    from distilbert.parity import Report

_OWN_FORMAT = {"pt": "pytorch", "tf": "tensorflow", "flax": "flax"}


def demo(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="Sentences to classify.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Classify sentences with the built-in model in every installed framework, and show that all are equal.

    The model goes through every format and back, each framework reads its own,
    and their numbers are compared with NumPy's. Exit code 1 if any differ.
    """
    outcome = _run(texts or list(SENTENCES))
    if as_json:
        show_json(outcome.as_json())
    else:
        outcome.show()
    if outcome.differences:
        raise typer.Exit(1)


@dataclass(frozen=True)
class Outcome:
    """What the demo found.

    Attributes:
        texts: the sentences.
        reference: what the NumPy reference says of them.
        predictions: what each framework says, by its short name.
        steps: the conversions; `round_trip` whether the last file holds what the first did, bit for bit.
        report: the comparison of every layer; None where no framework is installed.
    """

    texts: Sequence[str]
    reference: Sequence[Prediction]
    predictions: Mapping[str, Sequence[Prediction]]
    steps: Sequence[Step]
    round_trip: bool
    report: Report | None

    @property
    def differences(self) -> list[str]:
        """One line for everything that should be equal and is not."""
        wanted = [prediction.label for prediction in self.reference]
        found = [] if self.round_trip else ["the weights are not the same after the tour through all formats"]
        for name, predictions in self.predictions.items():
            if [prediction.label for prediction in predictions] != wanted:
                found.append(f"{BACKENDS[name].title} predicts other labels than the reference")
        return found + (self.report.problems() if self.report else [])

    @property
    def missing(self) -> list[str]:
        """The frameworks that are not installed."""
        return [name for name in BACKENDS if name not in self.predictions]

    def show(self) -> None:
        """For a reader."""
        titles = [BACKENDS[name].title for name in self.predictions]
        show(
            grid("Sentiment, with its probability", ("sentence", "label"), ("NumPy", *titles), self._prediction_rows())
        )
        show(grid("Through every format and back", ("from", "to", "file"), ("size", "time"), self._step_rows()))
        if self.report:
            from distilbert.parity.table import render

            show(render(self.report))
        typer.echo()
        for name in self.missing:
            typer.echo(f'{BACKENDS[name].title} is not installed; pip install "distilbert[{name}]" adds it')
        typer.echo(self.verdict)

    @property
    def verdict(self) -> str:
        """The last line."""
        if self.differences:
            return f"not equal: {'; '.join(self.differences)}"
        formats = f"all {len(self.steps)} formats hold the same weights, bit for bit"
        if not self.report or not self.report.worst:
            return f"equal: {formats}"
        names = " = ".join(["NumPy", *(BACKENDS[name].title for name in self.predictions)])
        return f"equal: {names} (largest error {self.report.worst.error:.0e}); {formats}"

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "equal": not self.differences,
            "differences": self.differences,
            "predictions": [
                {
                    "text": text,
                    "reference": vars(self.reference[i]),
                    **{name: vars(predictions[i]) for name, predictions in self.predictions.items()},
                }
                for i, text in enumerate(self.texts)
            ],
            "conversions": [
                {"from": step.source, "to": step.format, "bytes": step.nbytes, "seconds": round(step.seconds, 3)}
                for step in self.steps
            ],
            "round_trip": self.round_trip,
            "missing": self.missing,
            "parity": self.report.to_dict() if self.report else None,
        }

    def _prediction_rows(self) -> list[list[str]]:
        rows = []
        for i, text in enumerate(self.texts):
            wanted = self.reference[i]
            found = [predictions[i] for predictions in self.predictions.values()]
            cells = [f"{one.probability:.6f}" if one.label == wanted.label else one.label for one in (wanted, *found)]
            rows.append([text, wanted.label, *cells])
        return rows

    def _step_rows(self) -> list[list[str]]:
        return [
            [step.source, step.format, step.weights.name, size(step.nbytes), f"{step.seconds * 1000:.0f} ms"]
            for step in self.steps
        ]


def _run(texts: Sequence[str]) -> Outcome:
    from distilbert.demo.predicting import predict, predict_with_reference
    from distilbert.demo.tour import is_same, tour
    from distilbert.parity import verify

    with tempfile.TemporaryDirectory(prefix="distilbert-demo-") as folder, working() as progress:
        progress("converting through every format")
        steps = tour(MODEL, Path(folder))
        round_trip = is_same(MODEL, steps[-1].weights)
        progress("computing the reference")
        reference = predict_with_reference(MODEL, texts)
        predictions = {}
        for name in installed():
            progress(f"running {BACKENDS[name].title}")
            load_quietly([name], "demo")
            own = next(step for step in steps if step.format == _OWN_FORMAT[name])
            predictions[name] = predict(own.weights.parent, texts, name)
        report = verify(MODEL, backends=list(predictions), progress=progress) if predictions else None
    return Outcome(texts, reference, predictions, steps, round_trip, report)
