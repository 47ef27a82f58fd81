# SPDX-License-Identifier: Apache-2.0
"""Write docs/parity-report.md: what `distilbert verify` finds for real checkpoints, and transformers beside it.

    python scripts/parity_report.py docs/parity-report.md [NAME=MODEL]...

The checkpoint inside the package comes first. It needs the three frameworks, matplotlib, transformers 4 and tf-keras;
the pictures go into _static beside the page. MODEL is a folder; only NAME gets into the page.
"""

from __future__ import annotations

import importlib.metadata
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from distilbert.backend import BACKENDS
from distilbert.convert import StoredTensor, write_checkpoint
from distilbert.demo import MODEL
from distilbert.files import read_json, write_text
from distilbert.model_cards.markdown import code, grid
from distilbert.parity import tolerances, verify
from distilbert.parity.certificate import environment
from distilbert.parity.comparing import Comparison
from distilbert.parity.inputs import sample_calls
from distilbert.parity.measuring import Measurement, layers_of_output, worst
from distilbert.parity.picture import write_plot
from distilbert.parity.reading import Checkpoint, read_checkpoint
from distilbert.parity.report import Report, title
from distilbert.parity.running import running
from tests import oracle

DEMO = "distilbert.demo.MODEL"
PICTURES = {DEMO: "demo"}  # name of a checkpoint -> of its picture, where another
BERT = "bert"
DTYPES = ("float32", "float64")
THEIRS = "transformers"
INPUTS = ("input_ids", "attention_mask")

Column = tuple[str, Mapping[str, Measurement]]  # its heading, errors by layer


@dataclass(frozen=True)
class Theirs:
    """A model of transformers, as what a comparison runs."""

    framework: str
    model: Any

    def outputs(self, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        """One run."""
        found = oracle.run_hf(
            self.framework, self.model, arguments, output_hidden_states=True, output_attentions=True, return_dict=True
        )
        return [layers_of_output(found)]

    def gradients(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """None are compared."""
        return {}


def beside_transformers(model: Path) -> list[Column]:
    """The errors of our models and of transformers' in the same calls: ids and a mask, which both take."""
    checkpoint = read_checkpoint(model)
    subject, tensors = checkpoint.subject, checkpoint.tensors
    calls = [
        replace(call, arguments={name: call.arguments[name] for name in INPUTS if name in call.arguments})
        for call in sample_calls(subject.config, subject.task)
    ]
    comparison = Comparison(subject.task, subject.config, tensors, "float32", calls)
    columns: list[Column] = []
    for name in BACKENDS:
        with running(name, subject.task, subject.config, tensors, "float32") as runner:
            columns.append((title(name), by_layer(comparison.errors(name, runner))))
    for name in BACKENDS:
        theirs = Theirs(name, of_transformers(name, model, checkpoint))
        columns.append((f"{THEIRS}, {title(name)}", by_layer(comparison.errors(name, theirs))))
    return columns


def of_transformers(framework: str, model: Path, checkpoint: Checkpoint) -> Any:
    """In PyTorch from the checkpoint as it is, as what it calls itself; in the others from what is written for them.

    That is in float32, for its Flax models compute in part in the type that is stored.
    """
    if framework == "pt":
        (name,) = read_json(model / "config.json")["architectures"]
        with oracle.quiet():
            return oracle.hf_class("pt", name).from_pretrained(model, attn_implementation="eager").eval()
    task, config = checkpoint.subject.task, checkpoint.subject.config.replace(dtype="float32")
    stored = {name: StoredTensor.of(name, values.astype("float32")) for name, values in checkpoint.tensors.items()}
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder), config, task, stored, format=oracle.OWN_FORMATS[framework][0])
        found, info = oracle.load_hf(framework, task, Path(folder))
    if info != oracle.NO_KEYS:
        raise SystemExit(f"{THEIRS}, {framework}: {info}")
    return found


def by_layer(errors: Sequence[Measurement]) -> dict[str, Measurement]:
    """The worst error of each layer, in the order of computation."""
    return {found.layer: found for found in worst(errors)}


# The page.


def errors_table(columns: Sequence[Column]) -> str:
    """A row for each layer, a column for each program, and the bound."""
    rows = []
    for layer, first in columns[0][1].items():
        rows.append((layer, *(cell(errors[layer]) for _, errors in columns), f"{first.bound:.0e}"))
    return grid(("", *(heading for heading, _ in columns), "bound"), rows, "l" + "r" * (len(columns) + 1))


def cell(found: Measurement) -> str:
    """An error; `~` marks what rounding explains, bold what is beyond that."""
    return ("{}", "~ {}", "**{}**")[found.severity].format(found.text)


def run_section(report: Report) -> Iterator[str]:
    """One run of verify: its command, its table, its verdict."""
    gradients = any("gradient" in layer for layer in report.layers)
    options = (f" --dtype {report.dtype}" if report.dtype != "float32" else "") + (" --gradients" if gradients else "")
    yield f"### In {report.dtype}"
    yield f"`distilbert verify MODEL{options}`:"
    yield errors_table([(title(name), report.of(name)) for name in report.columns])
    yield " ".join(verdict(report))


def verdict(report: Report) -> Iterator[str]:
    """Sentences."""
    equal = [title(one.subject) for one in report.weights if one.ok]
    yield f"**{'Equal' if report.ok else 'Different'}.**"
    yield f"The weights are bit-equal in {', '.join(equal)}." if equal else "The weights differ."
    yield from (f"{problem}." for problem in report.problems())
    if report.rounded:
        largest = max(report.rounded, key=lambda found: found.error / found.bound)
        row = tolerances.ROUNDINGS[report.dtype]
        yield (
            f"{len(report.rounded)} of {len(report.measurements)} errors (`~`) are beyond the bound and explained by "
            f"rounding: to move each weight by one rounding moves {largest.layer} by "
            f"{largest.rounding / row.bound:.1e}, and up to {row.bound:g} times that is accepted."
        )
    closest = report.worst
    if closest is not None:
        share = f"{closest.excess * 100:.2g} %"
        yield f"Closest to what is accepted: {closest.layer} in {title(closest.backend)}, at {share} of it."


def checkpoint_section(
    name: str, model: Path, reports: Sequence[Report], columns: Sequence[Column], picture: str
) -> str:
    """Everything about one checkpoint."""
    subject = reports[0].source
    folded = ", a BERT that is folded as it is read" if read_json(model / "config.json")["model_type"] == BERT else ""
    files = [(code(file), code(digest)) for file, digest in sorted(subject.files.items())]
    parts = [
        f"## {name}",
        f"{subject.class_name}, {subject.config.n_layers} layers of {subject.config.dim}, "
        f"{subject.parameters:,} parameters, in {subject.format}{folded}.",
        grid(("file", "SHA-256"), files, "ll"),
    ]
    for report in reports:
        parts += run_section(report)
        if report is reports[0]:
            parts.append(f"![The same errors, coloured by their distance from the bound]({picture})")
    version = importlib.metadata.version(THEIRS)
    parts += [f"### Beside {THEIRS} {version}", errors_table(columns)]
    return "\n\n".join(parts)


def summary(reports: Mapping[str, Sequence[Report]]) -> str:
    """A row for each run."""
    rows = []
    for name, runs in reports.items():
        for report in runs:
            closest = [max(report.of(backend).values(), key=worse) for backend in report.backends]
            rows.append((code(name), report.dtype, *map(cell, closest), "equal" if report.ok else "different"))
    head = ("checkpoint", "computed in", *(f"{title(name)}, closest to its bound" for name in BACKENDS), "verdict")
    return grid(head, rows, "llrrrl")


def worse(found: Measurement) -> tuple[int, float]:
    """What to sort errors by."""
    return found.severity, found.error


def page(sections: Mapping[str, str], reports: Mapping[str, Sequence[Report]], arguments: Sequence[str]) -> str:
    """The whole text."""
    rows = [(package, version) for package, version in environment(tuple(BACKENDS)).items() if package != "platform"]
    rows += [(package, importlib.metadata.version(package)) for package in (THEIRS, "tf-keras")]
    parts = [*opening(summary(reports), arguments), *sections.values(), "## Versions", grid(("", ""), rows, "ll")]
    return "\n\n".join(parts) + "\n"


def opening(table: str, arguments: Sequence[str]) -> list[str]:
    """What the page is, and how it is read."""
    command = " ".join(["python scripts/parity_report.py docs/parity-report.md", *arguments])
    return [
        "# Parity report",
        "<!-- Written by scripts/parity_report.py; changes here are lost. -->",
        '<span class="compact"></span>',
        "What `distilbert verify` finds for real checkpoints: the same inputs through PyTorch, TensorFlow, JAX and the "
        "NumPy reference in float64, and of every layer the largest error, relative to the layer's largest value, "
        "beside its bound. How it is measured, and why the bounds are what they are: {doc}`parity`.",
        table,
        f"{code(DEMO)} is the checkpoint inside the package, a trained classifier of sentiment. `~` marks an error "
        "that is beyond its bound as far as rounding explains; one in bold is beyond that too.",
        "This page was written by",
        f"```sh\n{command}\n```",
        "and holds for the versions at its end. On another processor the last digits may be others.",
        "The tables beside transformers are of calls with ids and a mask alone, in float32, for its DistilBERT takes "
        "no positions. In PyTorch the class is the one that config.json names, so that a BERT is not folded, and has "
        'read the checkpoint as it is, with `attn_implementation="eager"`. Those of TensorFlow and Flax have read what '
        "is written here for them, in float32. All are compared with the same reference.",
    ]


def main(arguments: Sequence[str]) -> None:
    """Measure everything, and write the page and its pictures."""
    target = Path(arguments[0])
    given = [one.partition("=") for one in arguments[1:]]
    models = {DEMO: Path(MODEL)} | {name: Path(folder) for name, _, folder in given}
    reports: dict[str, list[Report]] = {}
    sections = {}
    for name, model in models.items():
        gradients = read_checkpoint(model).subject.task != "encoder"
        for dtype in DTYPES:
            print(f"{name}, {dtype}", file=sys.stderr)
            reports.setdefault(name, []).append(verify(model, dtype=dtype, gradients=gradients))
        picture = f"_static/parity-{PICTURES.get(name, name)}.png"
        write_plot(reports[name][0], target.parent / picture)
        print(f"{name}, {THEIRS}", file=sys.stderr)
        sections[name] = checkpoint_section(name, model, reports[name], beside_transformers(model), picture)
    write_text(target, page(sections, reports, [f"{name}=MODEL" for name in models if name != DEMO]))


if __name__ == "__main__":
    main(sys.argv[1:])
