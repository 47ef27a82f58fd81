# SPDX-License-Identifier: Apache-2.0
"""A run as bars: a row of panels for each suite, a panel for each case, a bar for each contender."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distilbert.bench import text
from distilbert.bench.measured import Case, SuiteResult
from distilbert.bench.run import Run
from distilbert.files import atomic_write
from distilbert.parity.picture import check_plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

# Ours in green, blue and violet, by framework; others in greys and browns. Lighter means lower precision.
_FAMILIES = {
    "ours-pt": "#0b6e4f",
    "ours-tf": "#1f6fb2",
    "ours-flax": "#6a3d9a",
    "plain-pt": "#5fae90",
    "plain-tf": "#77aeda",
    "plain-flax": "#a98bcb",
    "distilbert": "#0b6e4f",
    "hf-pt": "#5f5f5f",
    "hf-pt-sorted": "#7a7368",
    "hf-tf": "#8c8c8c",
    "hf-flax": "#b0b0b0",
    "hf5-pt": "#3d3d3d",
    "onnxruntime": "#c4612b",
    "keras-hub-tf": "#b58900",
    "keras-hub-jax": "#d6b656",
    "machine": "#444444",
}
_PALER = {"float32": 0.0, "bfloat16": 0.3, "int8": 0.55}
_INK, _GREY, _RED = "#1d2b2a", "#5f6f6d", "#b3261e"
_BAR, _HEADING, _PANEL = 0.165, 0.75, 1.75  # inches: height of a bar and of what is above the bars, width of a panel


def write_picture(run: Run, path: Path) -> None:
    """Draw the run into a file, all or nothing.

    Raises:
        BackendError, InputError: see `parity.picture.check_plot`.
        FileError: the file cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    heights = [_HEADING + _BAR * (len(result.contenders) + 1) for result in run.results]
    width = max(7.5, 1.6 + _PANEL * max(len(result.cases) for result in run.results))
    figure = Figure(figsize=(width, sum(heights) + 0.35), dpi=150, layout="constrained")
    parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, result in zip(parts, run.results, strict=True):
        _draw(part, result)
    figure.supxlabel(text.machine_line(run), fontsize=6.5, color=_GREY)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."))


def _draw(part: SubFigure, result: SuiteResult) -> None:
    """A row of panels that share the names; each case has an axis of its own, for they differ by powers of ten."""
    part.suptitle(result.title, x=0.01, ha="left", fontsize=10, color=_INK, weight="bold")
    part.supxlabel(text.legend(result), x=0.01, ha="left", fontsize=6.5, color=_GREY)
    panels = part.subplots(1, len(result.cases), sharey=True, squeeze=False)[0]
    for axes, case in zip(panels, result.cases, strict=True):
        for y, contender in enumerate(result.contenders):
            _draw_bar(axes, y, result, contender, case)
        largest = max((result.value(contender, case) or 0.0 for contender in result.contenders), default=0.0)
        axes.set_xlim(0, (largest or 1.0) * (1 + 0.45 * len(panels) ** 0.5))  # the longest bar has a label too
        axes.set_title(text.heading(case), loc="left", fontsize=8, color=_INK)
        axes.tick_params(length=0, labelbottom=False)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.spines["left"].set_color(_GREY)
    names = [_with_mark(result, contender) for contender in result.contenders]
    panels[0].set_yticks(range(len(names)), names, fontsize=7, color=_INK)
    panels[0].set_ylim(len(names) - 0.4, -0.6)


def _draw_bar(axes: Axes, y: int, result: SuiteResult, contender: str, case: Case) -> None:
    value = result.value(contender, case)
    if value is not None:
        axes.barh(y, value, height=0.84, color=colour(contender))
    beside = [text.ratio(result, contender, case), text.fraction(result, contender, case)]
    label = "  ".join([text.value(result, contender, case), *filter(None, beside)])
    axes.text(value or 0.0, y, f" {label}", va="center", fontsize=6.5, color=_RED if value is None else _INK)


def _with_mark(result: SuiteResult, contender: str) -> str:
    return f"{contender} (1x)" if contender == result.baseline else contender


def colour(contender: str) -> tuple[float, float, float]:
    """The family's colour, paler for lower precision."""
    from matplotlib.colors import to_rgb

    family, _, precision = contender.partition(":")
    pale = _PALER.get(precision, 0.0)
    red, green, blue = to_rgb(_FAMILIES.get(family, _GREY))
    return red + (1 - red) * pale, green + (1 - green) * pale, blue + (1 - blue) * pale
