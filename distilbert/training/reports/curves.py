# SPDX-License-Identifier: Apache-2.0
"""A training as a picture: loss, main metric and learning rate over steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from distilbert.bench.colours import GREY, INK, colour
from distilbert.files import atomic_write
from distilbert.parity.picture import check_plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES_NAME = "curves.png"
_EVAL = "#c4612b"
Points = tuple[list[float], list[float]]


def drawable(history: Sequence[Mapping[str, float]]) -> bool:
    """Whether there is a loss to draw, of training or of evaluations."""
    return any(points(history, name)[0] for name in ("loss", "eval_loss"))


def points(history: Sequence[Mapping[str, float]], name: str) -> Points:
    """Steps and finite values of what the history has by this name."""
    found = [(entry["step"], entry[name]) for entry in history if name in entry and math.isfinite(entry[name])]
    return [step for step, _ in found], [value for _, value in found]


def write_curves(
    history: Sequence[Mapping[str, float]], path: Path, *, title: str, main_metric: str, backend: str
) -> None:
    """Draw the history of a training into a file, all or nothing.

    Args:
        history: lines of the log and evaluations (`eval_...`), each with its `step`.
        path: of the picture, .png, .svg or .pdf.
        title: above it.
        main_metric: which of the metrics to draw, without `eval_`.
        backend: short name of the framework, which gives the colour.

    Raises:
        BackendError: matplotlib is not installed.
        InputError: the ending is not that of a picture.
        FileError: the file cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    metric = f"eval_{main_metric.removeprefix('eval_')}"
    panels = [("loss", ["loss", "eval_loss"])]
    panels += [(metric.removeprefix("eval_"), [metric])] if metric != "eval_loss" and points(history, metric)[0] else []
    panels += [("learning rate", ["learning_rate"])] if points(history, "learning_rate")[0] else []
    figure = Figure(figsize=(0.3 + 3.1 * len(panels), 2.7), dpi=150, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, color=INK, weight="bold")
    all_axes = figure.subplots(1, len(panels), sharex=True, squeeze=False)[0]
    for axes, (name, series) in zip(all_axes, panels, strict=True):
        for key in series:
            _draw(axes, points(history, key), key, backend)
        axes.set_title(name, loc="left", fontsize=8, color=INK)
        axes.set_xlabel("steps", fontsize=7, color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.tick_params(labelsize=7, length=2, colors=GREY, labelcolor=INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(GREY)
        if len(axes.lines) > 1:
            axes.legend(fontsize=7, labelcolor=INK, frameon=False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."))


def _draw(axes: Axes, series: Points, key: str, backend: str) -> None:
    if not series[0]:
        return
    if key.startswith("eval_"):
        axes.plot(*series, color=_EVAL, linewidth=1.3, marker="o", markersize=3.5, label="evaluation")
    else:
        axes.plot(*series, color=colour(f"ours-{backend}"), linewidth=1.3, label="training")
