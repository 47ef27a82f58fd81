# SPDX-License-Identifier: Apache-2.0
"""What is told of a training: the bar, curves for TensorBoard and as a picture."""

from __future__ import annotations

import dataclasses
import io
import math
import struct
import sys
from pathlib import Path

import pytest

from distilbert.cli import training_bar
from distilbert.cli.training_bar import TrainingBar, clock
from distilbert.errors import BackendError
from distilbert.training.reports import Plan, Report
from distilbert.training.reports.curves import drawable, points, write_curves
from distilbert.training.reports.tensorboard import TensorBoardReport

PLAN = Plan(total_steps=300, epochs=3.0, examples=1000, trainable_parameters=22_000_000, backend="pt")
HISTORY = [
    *({"step": step, "epoch": step / 100, "loss": 3 / step, "learning_rate": 5e-5} for step in range(10, 301, 10)),
    *({"step": step, "epoch": step / 100, "eval_loss": 0.5, "eval_accuracy": 0.8} for step in (100, 200, 300)),
]


# The bar.


def tell(report: Report, plan: Plan = PLAN) -> None:
    report.begin(plan)
    for step in (1, 2, 3):
        report.stepped(step)
    values = {"loss": 0.61234, "learning_rate": 4.5e-5, "grad_norm": 2.0, "tokens_per_second": 12345.6}
    report.log(3, 0.03, values)
    report.evaluated(3, 0.03, {"eval_loss": 0.5, "eval_accuracy": 0.875})
    report.saved(3, Path("out/checkpoint-3"))
    report.end({"eval_accuracy": 0.875})
    report.close()


def test_a_log_has_plain_lines(monkeypatch, capsys):
    times = iter([90.0, 100.0, 110.0])  # the bar is made, the first step, the line of the log
    monkeypatch.setattr(training_bar.time, "monotonic", lambda: next(times))
    tell(TrainingBar(), dataclasses.replace(PLAN, processes=2))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "300 steps, 3 epochs of 1,000 examples, 22,000,000 parameters, pt, 2 processes",
        "step 3 of 300 (epoch 0.03), loss 0.6123, learning rate 4.5e-05, 12,346 tokens/s, 0:24:45 left",
        "step 3 of 300 (epoch 0.03): loss 0.5, accuracy 0.875",
        "step 3: saved out/checkpoint-3",
    ]


def test_what_comes_before_the_first_step_is_told_now_and_then(monkeypatch, capsys):
    times = iter([0.0, 3.0, 10.5, 10.5, 12.0, 30.0, 30.0])
    monkeypatch.setattr(training_bar.time, "monotonic", lambda: next(times))
    bar = TrainingBar()
    for tokens in (1, 2, 3, 4):
        bar.preparing(f"tokenising: {tokens} tokens so far")
    assert capsys.readouterr().err.splitlines() == [f"tokenising: {tokens} tokens so far" for tokens in (2, 4)]


def test_a_training_that_goes_on_says_so(capsys):
    bar = TrainingBar()
    bar.begin(dataclasses.replace(PLAN, resumed_step=1234))
    bar.log(1235, 1.5, {"loss": 1.0})
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("pt; goes on after step 1,234")
    assert (
        second == "step 1,235 of 300 (epoch 1.50), loss 1.0000"
    )  # of one step it is not known how long the rest takes


def test_a_terminal_has_a_bar(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "stderr", terminal)
    with TrainingBar() as bar:
        tell(bar)
    shown = terminal.getvalue()
    assert "3/300" in shown
    assert "loss 0.6123" in shown
    assert "accuracy 0.875" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor goes and comes back


def test_a_terminal_is_left_alone_when_a_training_breaks_off(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(KeyboardInterrupt), TrainingBar() as bar:
        bar.begin(PLAN)
        raise KeyboardInterrupt
    assert terminal.getvalue().count("\x1b[?25h") == 1


@pytest.mark.parametrize(("seconds", "text"), [(None, ""), (0.4, "0:00:00"), (3723.2, "1:02:03"), (59.6, "0:01:00")])
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_a_report_need_not_do_anything():
    tell(Report())


# TensorBoard.


def events(folder: Path) -> list:
    """Every event of a folder, file by file in the order of their names, as TensorBoard reads them."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.iterdir()):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            found.append(Event.FromString(data[place + 12 : place + 12 + length]))
            place += 12 + length + 4
    return found


def shown(folder: Path) -> list[tuple[str, int, float]]:
    """The points that TensorBoard shows: a start hides what is at its step and past it."""
    kept: list[tuple[str, int, float]] = []
    for event in events(folder):
        if event.HasField("session_log") and event.session_log.status == event.session_log.START:
            kept = [point for point in kept if point[1] < event.step]
        kept += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    return kept


@pytest.fixture
def runs(tmp_path):
    pytest.importorskip("tensorboardX")
    return tmp_path / "runs"


def test_curves_can_be_read_back(runs):
    report = TensorBoardReport(runs)
    report.begin(PLAN)
    report.log(10, 0.5, {"loss": 0.75, "learning_rate": 0.5, "grad_norm": math.nan})
    report.evaluated(10, 0.5, {"eval_accuracy": 0.875})
    report.end({})
    report.close()
    assert shown(runs) == [
        ("train/epoch", 10, 0.5),
        ("train/loss", 10, 0.75),
        ("train/learning_rate", 10, 0.5),
        ("eval/accuracy", 10, 0.875),
    ]


def test_a_training_that_goes_on_has_no_point_twice(runs):
    for resumed, steps in ((0, (10, 20, 30)), (20, (30, 40)), (40, (50,))):  # saved after 20, killed after 30
        report = TensorBoardReport(runs)
        report.begin(dataclasses.replace(PLAN, resumed_step=resumed))
        for step in steps:
            report.log(step, 0.0, {"loss": step + resumed / 100})
        report.saved(steps[-1], runs)
        report.close()
    assert len(list(runs.iterdir())) == 3
    losses = [(step, round(value, 3)) for tag, step, value in shown(runs) if tag == "train/loss"]
    assert losses == [(10, 10.0), (20, 20.0), (30, 30.2), (40, 40.2), (50, 50.4)]


def test_a_training_that_begins_anew_hides_the_old_one(runs):
    for loss in (1.0, 2.0):
        report = TensorBoardReport(runs / "a")
        report.begin(PLAN)
        report.log(5, 0.0, {"loss": loss})
        report.close()
        for path in (runs / "a").iterdir():
            path.rename(runs / f"{loss}-{path.name}")  # as if a second had gone by
    (runs / "a").rmdir()
    assert [point for point in shown(runs) if point[0] == "train/loss"] == [("train/loss", 5, 2.0)]


def test_without_tensorboardx(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(BackendError, match=r'"distilbert\[train\]", or do without: --report_to none'):
        TensorBoardReport(runs)


# The picture.


def test_points_leave_out_what_is_not_finite():
    history = [{"step": 1, "loss": math.nan}, {"step": 2, "loss": 0.5}, {"step": 3, "eval_loss": 0.25}]
    assert points(history, "loss") == ([2], [0.5])
    assert points(history, "eval_loss") == ([3], [0.25])
    assert drawable(history)
    assert not drawable(history[:1])
    assert not drawable([{"step": 1, "eval_accuracy": 1.0}])


@pytest.mark.parametrize(
    ("history", "main_metric", "panels"),
    [
        (HISTORY, "accuracy", ["loss", "accuracy", "learning rate"]),
        (HISTORY, "eval_loss", ["loss", "learning rate"]),
        (HISTORY[-3:], "accuracy", ["loss", "accuracy"]),
        (HISTORY[:5], "accuracy", ["loss", "learning rate"]),
    ],
)
def test_the_picture_has_a_panel_for_what_there_is(tmp_path, monkeypatch, history, main_metric, panels):
    figure_module = pytest.importorskip("matplotlib.figure")
    figures = []
    draw = figure_module.Figure.savefig
    monkeypatch.setattr(
        figure_module.Figure, "savefig", lambda self, *a, **k: (figures.append(self), draw(self, *a, **k))
    )
    path = tmp_path / "curves.png"
    write_curves(history, path, title="reviews", main_metric=main_metric, backend="flax")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    axes = figures[0].axes
    assert [one.get_title(loc="left") for one in axes] == panels
    expected = [points(history, name) for name in ("loss", "eval_loss") if points(history, name)[0]]
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in axes[0].lines] == expected
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
