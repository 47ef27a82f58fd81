# SPDX-License-Identifier: Apache-2.0
"""A report as people read it on a terminal: a table of layers and frameworks, then the verdict."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from distilbert.loading import runtime
from distilbert.parity import tolerances
from distilbert.parity.measuring import Measurement
from distilbert.parity.report import OTHER, Report
from distilbert.parity.report import title as title_of
from distilbert.parity.weights import WeightsComparison

_SHOWN = 8  # tensors listed of each comparison of weights


def render(report: Report) -> Group:
    """Everything there is to say, for a rich console."""
    parts: list[RenderableType] = [_heading(report)]
    if report.measurements:
        parts += [Text(), _table(report)]
    parts += [Text(), *_weights(report), *_rounded(report), *_not_finite(report), Text(), _verdict(report)]
    return Group(*parts)


def _heading(report: Report) -> Text:
    source = report.source
    reference = f"NumPy reference in {tolerances.REFERENCE_DTYPES[report.dtype]}"
    what = f"{source.class_name}, {source.config.n_layers} layers, {source.parameters:,} parameters"
    return Text.assemble(
        (source.name, "bold"),
        f"  {what}\n",
        (f"{report.dtype} in each framework, compared with the {reference}", "dim"),
    )


def _table(report: Report) -> Table:
    title = "largest difference, relative to the largest value"
    table = Table(title=title, title_style="dim italic", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for backend in report.columns:
        table.add_column(_column(backend), justify="right", no_wrap=True)
    table.add_column("bound", justify="right", style="dim", no_wrap=True)
    columns = [report.of(backend) for backend in report.columns]
    first = {id(report.first_divergence(backend)) for backend in report.columns}
    for layer in report.layers:
        row = [column.get(layer) for column in columns]
        bounds = dict.fromkeys(f"{found.bound:.0e}" for found in row if found)  # an export has that of its own dtype
        fails = any(found and id(found) in first for found in row)
        cells = [_cell(found, found is not None and id(found) in first) for found in row]
        table.add_row(layer, *cells, ", ".join(bounds), style="bold" if fails else None)
    return table


def _column(backend: str) -> str:
    if backend == OTHER:
        return title_of(backend)
    return "\n".join([title_of(backend), *(f"{name} {version}" for name, version in runtime(backend).versions.items())])


def _cell(found: Measurement | None, first: bool) -> Text:
    if found is None:
        return Text("–", style="dim")
    if found.ok:
        return Text(
            found.text if found.within_bound else f"~ {found.text}", "green" if found.within_bound else "yellow"
        )
    return Text(f"{'first ▸ ' if first else ''}FAIL {found.text}", style="bold red" if first else "red")


def _weights(report: Report) -> list[Text]:
    same = [title_of(one.subject) for one in report.weights if one.ok]
    lines = [Text(f"weights     bit-equal in {', '.join(same)}", style="green")] if same else []
    return lines + [line for one in report.weights if not one.ok for line in _differences(one)]


def _differences(one: WeightsComparison) -> list[Text]:
    count = f"{len(one.differences)} of {one.tensors} tensors differ"
    lines = [Text(f"weights     {title_of(one.subject)}: {count}", style="bold red")]
    for found in one.differences[:_SHOWN]:
        largest = "" if found.largest is None else f", largest difference {found.largest:.1e}"
        lines.append(Text(f"            {found.name}: {found.problem}{largest}", style="red"))
    rest = len(one.differences) - _SHOWN
    return [*lines, Text(f"            and {rest} more", style="red")] if rest > 0 else lines


def _rounded(report: Report) -> list[Text]:
    if not report.rounded:
        return []
    count, worst = len(report.rounded), max(report.rounded, key=lambda found: found.error / found.bound)
    row = tolerances.ROUNDINGS[report.dtype]
    lines = [
        f"note        ~ marks {count} beyond the bound that rounding explains: this model itself is sensitive to it.",
        f"            Moving each weight by one rounding of {report.dtype} moves {worst.layer} by "
        f"{worst.rounding / row.bound:.1e}; up to {row.bound:g} times that is accepted.",
    ]
    if report.dtype == "float32":
        lines.append("            --dtype float64 compares it more sharply.")
    return [Text(line, style="yellow") for line in lines]


def _not_finite(report: Report) -> list[Text]:
    if not report.not_finite:
        return []
    names = ", ".join(report.not_finite[:_SHOWN]) + (" ..." if len(report.not_finite) > _SHOWN else "")
    text = f"warning     NaN or infinity in {names}: outputs cannot be compared, only the bits of the weights were"
    return [Text(text, style="yellow")]


def _verdict(report: Report) -> Text:
    if not report.ok:
        return Text("\n".join(["FAIL", *(f"  {problem}" for problem in report.problems())]), style="bold red")
    if report.worst is None:
        return Text("OK    the weights are the same, bit by bit", style="bold green")
    worst = report.worst
    closest = f"closest: {worst.layer} in {title_of(worst.backend)}, {worst.excess:.0%} of what is accepted"
    within = "within its bound, or explained by rounding" if report.rounded else "within its bound"
    return Text.assemble((f"OK    every difference is {within}", "bold green"), (f"  ({closest})", "dim"))
