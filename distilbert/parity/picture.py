# SPDX-License-Identifier: Apache-2.0
"""A report as a heat map: layers down, frameworks across, colour from far below the bound to far above it."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distilbert.errors import BackendError, InputError
from distilbert.files import atomic_write
from distilbert.parity.measuring import Measurement
from distilbert.parity.report import Report, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

FORMATS = ("png", "svg", "pdf")
_DECADES = 4  # shown on either side of the bound
_BELOW = ("#e8f3ee", "#b7dcc9", "#7fbfa5")  # pale to full green: within the bound
_ABOVE = ("#fdb98a", "#e8603c", "#8f1414")  # orange to dark red: beyond it
_INK, _GREY, _GREEN, _RED = "#1d2b2a", "#5f6f6d", "#2c7a5b", "#b3261e"
_HEADING = 0.66  # inches


def check_plot(path: Path) -> None:
    """Raise an error now, rather than after the work, if no picture could be written to `path`.

    Raises:
        BackendError: matplotlib is not installed.
        InputError: the ending is not that of a known kind of picture.
    """
    if path.suffix.removeprefix(".") not in FORMATS:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise InputError(f"{path}: expected a picture file ending in {endings}, found {path.suffix or 'no ending'!r}")
    if importlib.util.find_spec("matplotlib") is None:
        raise BackendError(f'{path}: drawing needs matplotlib\n  install:  pip install "distilbert[viz]"')


def write_plot(report: Report, path: Path) -> None:
    """Draw the errors of a report into a file, all or nothing.

    Raises:
        BackendError, InputError: see `check_plot`; also where no outputs were compared.
        FileError: the file cannot be written.
    """
    check_plot(path)
    if not report.measurements:
        raise InputError(f"{path}: nothing to draw, for no outputs were compared")
    from matplotlib.figure import Figure

    rows, columns = len(report.layers), len(report.columns)
    width, height = max(5.4, 3.6 + 1.25 * columns), 1.6 + 0.27 * rows
    figure = Figure(figsize=(width, height), dpi=160)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.08, rect=(0, 0, 1, 1 - _HEADING / height))
    _write_heading(figure, report)
    axes = figure.subplots()
    image = _draw(axes, report)
    _label(axes, report)
    _add_scale(figure.colorbar(image, ax=axes, shrink=min(1.0, 12 / rows), aspect=20, pad=0.03))
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."))


def _draw(axes: Axes, report: Report) -> AxesImage:
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    colours = LinearSegmentedColormap.from_list("around the bound", _colour_stops())
    columns = [report.of(backend) for backend in report.columns]
    cells = [[column.get(layer) for column in columns] for layer in report.layers]
    levels = np.ma.masked_invalid([[_level(found) for found in row] for row in cells])
    image = axes.imshow(levels, cmap=colours, norm=Normalize(-_DECADES, _DECADES, clip=True), aspect="auto")
    firsts = [report.first_divergence(backend) for backend in report.columns]
    for y, row in enumerate(cells):
        for x, found in enumerate(row):
            if found is not None:
                _write_cell(axes, x, y, found, first=found is firsts[x])
    return image


def _write_cell(axes: Axes, x: int, y: int, found: Measurement, first: bool) -> None:
    from matplotlib.patches import Rectangle

    colour = "white" if _level(found) > _DECADES / 2 else _INK
    text = ("first: " if first else "~ " if found.severity == 1 else "") + found.text
    axes.text(x, y, text, ha="center", va="center", fontsize=7, color=colour, weight="bold" if first else "normal")
    if first:
        axes.add_patch(
            Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=_INK, linewidth=1.8, zorder=3, clip_on=False)
        )


def _label(axes: Axes, report: Report) -> None:
    axes.set_xticks(range(len(report.columns)), [title(backend) for backend in report.columns], fontsize=8)
    axes.set_yticks(range(len(report.layers)), report.layers, fontsize=7)
    axes.tick_params(length=0, labeltop=True, labelbottom=False, labelcolor=_INK)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(0.5, len(report.columns) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(report.layers) - 1), minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="minor", length=0)


def _write_heading(figure: Figure, report: Report) -> None:
    worst = max(found.severity for found in report.measurements)
    verdict = ("within bounds", "within bounds, but for what rounding explains (~)", "NOT within bounds")[worst]
    bounds = " or ".join(f"{bound:.0e}" for bound in dict.fromkeys(found.bound for found in report.measurements))
    measure = f"largest difference from the NumPy reference, relative to its largest value; bound {bounds}"
    width, height = figure.get_size_inches()
    for text, size, colour, weight, top in (
        (f"{report.source.class_name} in {report.dtype}", 10, _INK, "bold", 0.22),
        (verdict, 8, (_GREEN, _INK, _RED)[worst], "bold", 0.42),
        (measure, 6.5, _GREY, "normal", 0.58),
    ):
        figure.text(0.14 / width, 1 - top / height, text, fontsize=size, color=colour, weight=weight)


def _add_scale(bar: Colorbar) -> None:
    ticks = range(-_DECADES, _DECADES + 1, 2)
    bar.set_ticks(list(ticks), labels=[_multiple_of_bound(tick) for tick in ticks])
    bar.ax.tick_params(labelsize=7, length=0, colors=_GREY)
    bar.ax.axhline(0, color=_INK, linewidth=1.5)
    bar.outline.set_visible(False)


def _level(found: Measurement | None) -> float:
    """Powers of ten by which an error exceeds its bound (negative: stays below it); NaN where nothing was measured."""
    if found is None:
        return math.nan
    level = math.log10(max(found.error, 1e-300) / found.bound)
    return min(max(level, -_DECADES), _DECADES)


def _multiple_of_bound(power: int) -> str:
    if power == 0:
        return "bound"
    return f"bound {'×' if power > 0 else '÷'} $10^{abs(power)}$"


def _colour_stops() -> list[tuple[float, str]]:
    """Two ramps that meet at the bound with a step, so that no shade is on the wrong side."""
    below = zip(np.linspace(0, 0.5, len(_BELOW)), _BELOW, strict=True)
    above = zip(np.linspace(0.5, 1, len(_ABOVE)), _ABOVE, strict=True)
    return [(float(place), colour) for place, colour in (*below, *above)]
