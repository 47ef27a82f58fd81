# SPDX-License-Identifier: Apache-2.0
"""A report as a heat map: layers down, frameworks across, colour from far below the bound to far above it."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distilbert.errors import BackendError, InputError
from distilbert.files import atomic_write
from distilbert.parity.measuring import Measurement
from distilbert.parity.report import Report, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("png", "svg", "pdf")
_DECADES = 4  # shown on either side of the bound
_BELOW = ("#e8f3ee", "#b7dcc9", "#7fbfa5")  # pale to full green: within the bound
_ABOVE = ("#fdb98a", "#e8603c", "#8f1414")  # orange to dark red: beyond it


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
        BackendError, InputError: see `check_plot`; also where nothing was measured.
        FileError: the file cannot be written.
    """
    check_plot(path)
    if not report.measurements:
        raise InputError(f"{path}: nothing to draw, for no outputs were compared")
    from matplotlib.figure import Figure

    rows, columns = len(report.layers), len(report.columns)
    figure = Figure(figsize=(3.4 + 1.5 * columns, 1.9 + 0.3 * rows), dpi=150, layout="constrained")
    axes = figure.subplots()
    image = _draw(axes, report)
    bar = figure.colorbar(image, ax=axes, shrink=min(1.0, 10 / rows), aspect=18, pad=0.03)
    _label_bar(bar, report)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."))


def _draw(axes: Axes, report: Report) -> Any:
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    colours = LinearSegmentedColormap.from_list("bound", _stops())
    scale = Normalize(-_DECADES, _DECADES, clip=True)
    cells = [[report.of(backend).get(layer) for backend in report.columns] for layer in report.layers]
    levels = np.array([[_level(found) for found in row] for row in cells])
    image = axes.imshow(np.ma.masked_invalid(levels), cmap=colours, norm=scale, aspect="auto")
    firsts = [report.first_divergence(backend) for backend in report.columns]
    for y, row in enumerate(cells):
        for x, found in enumerate(row):
            _write_cell(axes, x, y, found, found is not None and found is firsts[x])
    _label_axes(axes, report)
    return image
