# SPDX-License-Identifier: Apache-2.0
"""The bench command: who takes turns when, what is made of the times, and what happens to those who fail.

No test says how fast anything must be: that is for a quiet machine.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import DistilBertConfig, backend
from distilbert.bench import catalogue, costs, machine, markdown, reader, record, sources, suites, text
from distilbert.bench import run as bench_run
from distilbert.bench.contenders.base import Base
from distilbert.bench.controller import Entry, Outcome, measure
from distilbert.bench.measured import Case, Measurement, Run, SuiteResult, lower_quartile
from distilbert.bench.process import PACKAGE_PARENT, WorkerFailure, WorkerProcess
from distilbert.convert import open_checkpoint
from distilbert.errors import FileError, InputError

from .samples import TINY

typer_testing = pytest.importorskip("typer.testing")
PACKAGE = {"family": "package", "options": {"model": ".", "workplace": "."}, "packages": ["numpy"], "cpus": None}
SHORT, LONG = Case("short", "latency", flops=100), Case("long", "latency", flops=1000)
TEXTS = Case("texts", "ragged", unit="texts/s", amount=10.0)
SETTINGS = {
    "distilbert": "1.2",
    "model": "m",
    "parameters_in_layers": 7,
    "rounds": 2,
    "seconds": 1.0,
    "threads": None,
    "statistic": "lower quartile",
    "baseline": "a",
    "system": "Linux",
    "python": "3.12",
    "variables": {},
}
HARDWARE = {"cpu": "Z80", "flags": ["avx2"], "cpus": 2, "memory_bytes": 2**30}


class FakeWorker:
    """Answers at once, notes what it was asked, and fails where it is told to."""

    def __init__(self, name: str, log: list[tuple[str, ...]], fails: tuple[str, str] | None = None) -> None:
        self.name, self.log, self.fails = name, log, fails
        self.closed = False

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        what, case = request["do"], request.get("case", "")
        self.log.append((self.name, what, case))
        if self.fails in ((what, case), (what, "")):
            raise WorkerFailure(f"{what} went wrong")
        return {"versions": {"package": "1.0"}, "seconds": [0.25, 0.5]}

    def close(self) -> None:
        self.closed = True


def fakes(log: list[tuple[str, ...]], **fails: tuple[str, str] | None) -> tuple[list[FakeWorker], list[Entry]]:
    workers = [FakeWorker(name, log, found) for name, found in fails.items()]
    return workers, [Entry(worker.name, lambda worker=worker: worker, {}, (SHORT, LONG)) for worker in workers]


def run_fakes(entries: list[Entry], rounds: int = 2) -> Outcome:
    return measure(entries, rounds, 1.0, lambda step: None, pause=0.0)


def result(name: str = "latency", **changes: Any) -> SuiteResult:
    cells = {
        ("a", "short"): Measurement((0.2, 0.1, 0.3, 0.4)),
        ("b", "short"): Measurement((0.05,)),
        ("a", "long"): Measurement((2.0,)),
        ("b", "long"): Measurement((1.0,), "killed"),
    }
    fields = {
        "baseline": "a",
        "limits": {("b", "short"): 0.04},
        "speeds": {"float32": 2e9, "memory": 1e9},
        "versions": {"a": {"torch": "2.0"}},
        "settings": SETTINGS,
    }
    return SuiteResult(name, "One call", ("a", "b"), (SHORT, LONG), **{"cells": cells} | fields | changes)


def curves(**changes: Any) -> SuiteResult:
    cases = tuple(suites.scaling_cases(DistilBertConfig()))
    names = ("ours-pt:int8", "hf-pt")
    cells = {(name, case.name): Measurement((case.amount / 1000,)) for name in names for case in cases}
    fields = {"cells": cells, "baseline": "hf-pt", "settings": SETTINGS}
    return SuiteResult("scaling", suites.TITLES["scaling"], names, cases, **fields | changes)


def sample_run(*results: SuiteResult) -> Run:
    return Run(results or (result(),), HARDWARE)


# Turns.


def test_contenders_take_turns_in_every_round():
    log: list[tuple[str, ...]] = []
    workers, entries = fakes(log, a=None, b=None)
    outcome = run_fakes(entries)
    turn = [(name, "run", case) for name in "ab" for case in ("short", "long")]
    assert log[-8:] == turn + turn
    assert [entry for entry in log if entry[1] == "run"] == log[-8:], "all are warm before the first turn"
    assert outcome.cells["a", "short"].times == (0.25, 0.5, 0.25, 0.5)
    assert outcome.versions == {"a": {"package": "1.0"}, "b": {"package": "1.0"}}
    assert all(worker.closed for worker in workers)


@pytest.mark.parametrize("what", ["open", "prepare", "run"])
def test_a_failure_ends_that_contender_and_no_other(what):
    log: list[tuple[str, ...]] = []
    workers, entries = fakes(log, a=(what, "" if what == "open" else "long"), b=None)
    cells = run_fakes(entries).cells
    assert cells["a", "long"].error == f"{what} went wrong"
    assert cells["a", "long"].seconds is None
    assert (cells["a", "short"].error is None) == (what != "open")
    assert log.count(("a", "run", "long")) == (what == "run"), "it is not asked again"
    assert cells["b", "short"].seconds == cells["b", "long"].seconds == 0.25
    assert all(worker.closed for worker in workers)


def test_an_interruption_ends_all_workers():
    workers, entries = fakes([], a=None, b=None)

    def interrupt(step: str) -> None:
        if step.startswith("round 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(entries, 2, 1.0, interrupt, pause=0.0)
    assert all(worker.closed for worker in workers)


# Numbers.


@pytest.mark.parametrize(
    ("times", "expected"),
    [([3.0], 3.0), ([2, 1], 1), ([4, 3, 2, 1], 1), ([5, 4, 3, 2, 1], 2), (range(100, 0, -1), 25)],
)
def test_lower_quartile(times, expected):
    assert lower_quartile(times) == expected


def test_values_ratios_and_fractions():
    found = result()
    assert found.value("a", SHORT) == pytest.approx(100)
    assert found.ratio("b", SHORT) == pytest.approx(2), "half the time is twice as fast"
    assert found.ratio("a", SHORT) == 1
    assert found.fraction("b", SHORT) == pytest.approx(0.8)
    assert found.fraction("a", SHORT) is None
    assert found.value("b", LONG) is found.ratio("b", LONG) is None, "what failed has no number"
    assert found.failures == [("b", "long", "killed")]
    assert result(baseline=None).ratio("b", SHORT) is None


def test_a_rate_is_better_when_it_is_higher():
    cells = {("a", "texts"): Measurement((2.0,)), ("b", "texts"): Measurement((0.5,))}
    found = SuiteResult("ragged", "Texts", ("a", "b"), (TEXTS,), cells, "a")
    assert found.value("b", TEXTS) == 20
    assert found.ratio("b", TEXTS) == 4


def test_costs():
    config = DistilBertConfig()
    per_token = 2 * (4 * 768 * 768 + 2 * 768 * 3072) + 4 * 128 * 768
    assert costs.encoder_flops(config, 8, 128) == 6 * 8 * 128 * per_token
    assert costs.weight_bytes(config, "float32") == 4 * costs.weight_bytes(config, "int8")
    speeds = {"float32": 100.0, "memory": 10.0}
    assert costs.least_seconds(1000, 10, "float32", speeds) == 10
    assert costs.least_seconds(1000, 200, "float32", speeds) == 20
    assert costs.least_seconds(1000, 10, "bfloat16", speeds) is None
    assert costs.least_seconds(1000, 10, "float32", {}) is None


# Names and shapes.


def test_choice_of_contenders(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "jax" else real("sys"))
    monkeypatch.delenv(catalogue.TRANSFORMERS5_VARIABLE, raising=False)
    names = [row.name for row in catalogue.choose("all", ["latency"])]
    assert "ours-pt:float32" in names
    assert "plain-tf" in names
    assert not {"plain-flax", "hf5-pt", "keras-hub-jax", "distilbert"} & set(names)
    chosen = catalogue.choose("onnxruntime, hf-pt:float32,ours-pt,hf-pt", ["latency"])
    assert [row.name for row in chosen] == ["onnxruntime:float32", "hf-pt", "ours-pt:float32"]
    with pytest.raises(InputError) as caught:
        catalogue.choose("hf-tp,plain-flax,hf5-pt,distilbert", ["latency"])
    message = str(caught.value)
    assert "'hf-tp' is unknown" in message
    assert "plain-flax is not installed here: needs jax" in message
    assert f"hf5-pt is not installed here: {catalogue.TRANSFORMERS5_VARIABLE} does not name a Python" in message
    assert "distilbert takes no part in latency, only in convert, import" in message
    assert f"can be chosen for latency: {', '.join(names)}" in message


@pytest.mark.parametrize("row", catalogue.CATALOGUE.values(), ids=catalogue.CATALOGUE.keys())
def test_every_contender_can_be_made_and_has_its_suites(row):
    module = importlib.import_module(f"distilbert.bench.contenders.{row.family}")
    contender = module.Contender(model=".", workplace=".", precision=row.precision, **row.options)
    assert row.suites
    assert set(row.suites) <= suites.TITLES.keys()
    for suite in row.suites:
        assert callable(getattr(contender, "import_" if suite == "import" else suite))
    assert contender.statement != Base.statement


def test_shapes():
    assert suites.parse_shapes("1x16, 8x128,1x16") == [(1, 16), (8, 128)]
    for wrong in ("", "1", "0x4", "1x16;2x3", "1x16,", "-1x3"):
        with pytest.raises(InputError, match=r"expected batch x tokens, as in 1x16,8x128; found"):
            suites.parse_shapes(wrong)
    with pytest.raises(InputError, match=f"49 tokens, but the model has {TINY.max_position_embeddings} positions"):
        suites.check_shapes([(1, 49)], TINY)


def test_importing_the_bench_imports_no_framework():
    modules = [f"contenders.{row.family}" for row in catalogue.CATALOGUE.values()]
    modules += ["run", "table", "markdown", "picture", "curves", "record", "reader"]
    modules += ["contenders.limits", "contenders.onnx_export"]
    program = "import sys, importlib\n[importlib.import_module('distilbert.bench.' + name) for name in sys.argv[1:]]\n"
    program += "print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, *modules], capture_output=True, text=True, check=True)
    frameworks = {"torch", "tensorflow", "keras", "jax", "flax", "transformers", "onnxruntime", "matplotlib"}
    assert not frameworks & set(done.stdout.split())


def test_a_worker_needs_only_the_standard_library():
    program = "import sys; before = set(sys.modules); import distilbert.bench.worker; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    packages = {name.partition(".")[0] for name in done.stdout.split()}
    assert packages - {"distilbert"} <= set(sys.stdlib_module_names)


# Processes.


@pytest.fixture
def worker():
    process = WorkerProcess(sys.executable, limit=60)
    yield process
    process.close()


def test_a_worker_process(worker):
    assert worker.ask({"do": "open", **PACKAGE}) == {"versions": {"numpy": np.__version__}}
    with pytest.raises(WorkerFailure, match="AttributeError: 'Contender' object has no attribute 'limit'"):
        worker.ask({"do": "prepare", "case": "x", "method": "limit", "arguments": {}})
    worker.ask({"do": "prepare", "case": "x", "method": "import_", "arguments": {}})
    assert len(worker.ask({"do": "run", "case": "x", "seconds": 0.0})["seconds"]) == 1
    worker._process.kill()
    with pytest.raises(WorkerFailure, match="the worker ended with signal 9"):
        worker.ask({"do": "run", "case": "x", "seconds": 0.0})


def test_a_worker_that_ends_says_its_last_line():
    process = WorkerProcess(sys.executable, {"PYTHONPATH": ""}, limit=60)
    try:
        process._process.stdin.write("no JSON\n")
        with pytest.raises(WorkerFailure, match=r"ended with exit code 1: json\.decoder\.JSONDecodeError"):
            process.ask({"do": "open"})
    finally:
        process.close()


def test_a_worker_that_takes_too_long_is_ended(worker):
    worker.ask({"do": "open", **PACKAGE})
    worker.limit = 0.2
    with pytest.raises(WorkerFailure, match=r"no answer within 0\.2 s"):
        worker.ask({"do": "prepare", "case": "x", "method": "import_", "arguments": {}})


def test_what_frameworks_print_does_not_reach_the_answers():
    program = """
import os, sys
sys.path.append(sys.argv[1])
from distilbert.bench import worker
def noisy(self):
    print("a greeting", flush=True)
    os.write(1, b"from native code")
    return {"fine": True}
worker.Worker.open = noisy
worker.main()
"""
    command = [sys.executable, "-c", program, PACKAGE_PARENT]
    done = subprocess.run(command, input='{"do": "open"}\n', capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"fine": True}
    assert "a greeting" in done.stderr
    assert "from native code" in done.stderr


# Reports.


def test_record(tmp_path):
    record.write_record(sample_run(), tmp_path / "run.json")
    found = json.loads((tmp_path / "run.json").read_text())
    assert (found["kind"], found["version"]) == ("distilbert benchmark", 2)
    assert found["machine"] == HARDWARE
    (suite,) = found["suites"]
    assert suite["versions"] == {"a": {"torch": "2.0"}}
    assert suite["settings"] == SETTINGS
    assert [case["name"] for case in suite["cases"]] == ["short", "long"]
    rows = {(row["contender"], row["case"]): row for row in suite["results"]}
    assert rows["a", "short"]["times"] == [0.2, 0.1, 0.3, 0.4]
    assert rows["b", "short"]["value"] == pytest.approx(50)
    assert rows["b", "short"]["ratio"] == pytest.approx(2)
    assert rows["b", "short"]["limit"] == 0.04
    assert rows["b", "short"]["fraction_of_limit"] == pytest.approx(0.8)
    assert rows["a", "short"]["limit"] is None
    assert rows["b", "long"]["error"] == "killed"
    assert rows["b", "long"]["value"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_machine_and_surroundings_are_complete():
    assert Run(()).machine["cpus"] >= 1
    assert Run(()).machine.keys() == HARDWARE.keys()
    assert machine.surroundings().keys() == {"system", "python", "variables"} <= SETTINGS.keys()


def test_a_record_is_read_as_it_was_written(tmp_path):
    limit_failed = {("machine", "bfloat16"): Measurement((), "no such product")}  # which is no case of the table
    failed = result(cells={**result().cells, **limit_failed})
    limits = SuiteResult("limits", "Limits", ("machine",), tuple(suites.limit_cases(True)), {}, settings=SETTINGS)
    run = sample_run(result(), failed, curves(), limits)
    assert reader.parse(record.as_json(run), "run") == run
    record.write_record(run, tmp_path / "run.json")
    assert reader.read(tmp_path / "run.json") == run


def broken(change: Callable[[dict[str, Any]], object]) -> str:
    """What is said of a record with a change."""
    value = json.loads(json.dumps(record.as_json(sample_run())))
    change(value)
    with pytest.raises(FileError) as caught:
        reader.parse(value, "run.json")
    return str(caught.value)


def test_what_is_no_record_is_refused(tmp_path):
    assert broken(lambda value: value.update(kind="certificate")).startswith("run.json: expected a record written by")
    assert "expected version 2 of the record, found 1" in broken(lambda value: value.update(version=1))
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(FileError) as caught:
        reader.join([tmp_path / "a.json", tmp_path / "b.json", tmp_path / "c.json"])
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(tmp_path / name) for name in ("a.json", "b.json", "c.json")]
    assert "not valid JSON" in lines[0]
    assert "another kind of file" in lines[1]


def test_all_wrong_fields_of_a_record_are_listed_at_once():
    def change(value: dict[str, Any]) -> None:
        del value["machine"]["cpu"]
        suite = value["suites"][0]
        suite["settings"].update(rounds=2.5, threads="all", variables={"OMP_NUM_THREADS": 1})
        suite["speeds"]["memory"] = float("nan")
        suite["cases"][1] = "long"
        suite["results"][0]["times"][2] = True
        suite["results"][1]["limit"] = []
        suite["contenders"] = {}

    assert broken(change).splitlines() == [
        "run.json: 9 problems",
        "  - machine.cpu is missing",
        "  - suites[0].settings.rounds: expected an integer, found 2.5",
        '  - suites[0].settings.threads: expected an integer or null, found "all"',
        "  - suites[0].settings.variables.OMP_NUM_THREADS: expected a text, found 1",
        "  - suites[0].speeds.memory: expected a number, found NaN",
        "  - suites[0].contenders: expected a list, found an object",
        '  - suites[0].cases[1]: expected an object, found "long"',
        "  - suites[0].results[0].times[2]: expected a number, found true",
        "  - suites[0].results[1].limit: expected a number or null, found a list",
    ]


def test_contradictions_of_a_record_are_listed_at_once():
    def change(value: dict[str, Any]) -> None:
        suite = value["suites"][0]
        suite["baseline"] = "c"
        suite["cases"].append(suite["cases"][0])
        suite["results"].append(suite["results"][0] | {"times": [0]})
        suite["results"][1]["contender"] = "d"
        value["suites"].append(suite | {"contenders": []})

    said = broken(change).splitlines()
    assert "  - suites[0].baseline: 'c' is none of the contenders" in said
    assert "  - suites[0].cases: short stands there 2 times" in said
    assert "  - suites[0].results: ('a', 'short') stands there 2 times" in said
    assert "  - suites[0].results[1]: d, short is not in the table" in said
    assert "  - suites[0].results[4].times: expected the seconds of calls, found 0" in said
    assert "  - suites[1].contenders: expected at least one" in said
    assert broken(lambda value: value["suites"].clear()) == "run.json: suites: expected at least one"


def test_a_long_list_of_problems_is_cut():
    said = broken(lambda value: value["suites"][0]["results"][0].update(times=["x"] * 1000)).splitlines()
    assert said[0] == "run.json: 21 problems"
    assert said[-1] == "  - and 980 more"


def written(folder: Path, **runs: Run) -> list[Path]:
    paths = [folder / f"{name}.json" for name in runs]
    for path, run in zip(paths, runs.values(), strict=True):
        record.write_record(run, path)
    return paths


def test_records_are_joined_in_their_order(tmp_path):
    other = result(versions={"a": {"torch": "2.1"}}, settings=SETTINGS | {"rounds": 9, "distilbert": "1.3"})
    paths = written(tmp_path, half=sample_run(curves(), other), full=sample_run())
    found = reader.join(paths)
    assert [item.name for item in found.results] == ["scaling", "latency (half)", "latency (full)"]
    assert [item.title for item in found.results][1:] == ["One call (half)", "One call (full)"]
    assert found.results[1].settings["rounds"] == 9
    assert found.machine == HARDWARE
    assert text.versions_line(found) == "distilbert 1.2 and 1.3, torch 2.0 and 2.1"
    lines = [line for name, line in text.facts(found) if name == "settings"]
    assert [line.partition(":")[0] for line in lines] == ["scaling, latency (full)", "latency (half)"]
    assert "9 rounds" in lines[1]
    assert markdown.page(found).count("## One call (") == 2


def test_facts_that_all_tables_share_are_one_plain_line():
    run = sample_run(curves(), result(name="training"))
    facts = text.facts(run)
    assert [name for name, _ in facts] == ["machine", "system", "limits", "versions", "settings"]
    assert dict(facts)["settings"].startswith("m; lower quartile of all calls in 2 rounds, 1 s for")
    assert dict(facts)["limits"] == "training: float32 2 GFLOP/s, memory 1 GB/s"
    with_variables = result(settings=SETTINGS | {"variables": {"OMP_NUM_THREADS": "1"}})
    assert ("environment", "latency: OMP_NUM_THREADS=1") in text.facts(sample_run(curves(), with_variables))


@pytest.mark.parametrize("change", [{"cpu": "Z81"}, {"cpus": 4}, {"flags": []}, {"memory_bytes": 2**34}])
def test_records_of_different_machines_are_refused(tmp_path, change):
    paths = written(tmp_path, a=sample_run(), b=dataclasses.replace(sample_run(), machine=HARDWARE | change))
    with pytest.raises(InputError, match="expected records of one machine") as caught:
        reader.join(paths)
    assert all(f"{path}: Z8" in str(caught.value) for path in paths)


def test_page():
    page = markdown.page(sample_run(), "run.png")
    assert "| a | 100 (1.00x) | 2000 (1.00x) |" in page
    assert "| b | 50.0 (2.00x, 80 %) | failed |" in page
    assert "- latency: b: long: killed" in page
    assert "![Results of `distilbert bench`](run.png)" in page
    assert "float32 2 GFLOP/s, memory 1 GB/s" in page
    assert "torch 2.0" in page


def test_page_has_a_table_for_each_curve():
    page = markdown.page(sample_run(curves()))
    assert page.count("### Lengths around ") == 3
    assert "|  | 1 x 256, tokens/s | 4 x 256, tokens/s | 16 x 256, tokens/s |" in page
    assert page.count("| hf-pt | 1000 (1.00x) |") == 3


def test_curves_are_drawn_over_real_tokens():
    figures = pytest.importorskip("matplotlib.figure")
    from distilbert.bench.curves import draw

    failed = {("hf-pt", "4 x 16"): Measurement((), "killed")}
    figure = figures.Figure()
    draw(figure.subfigures(), curves(cells={**curves().cells, **failed}))
    panels = figure.subfigs[0].axes
    assert [panel.get_title(loc="left") for panel in panels] == [f"lengths around {mean}" for mean in (16, 64, 256)]
    lines = {line.get_label(): line.get_xydata() for line in panels[0].lines}
    np.testing.assert_allclose(lines["ours-pt:int8"], [(n, n) for n in (64, 256, 1024, 4096)])
    np.testing.assert_allclose(lines["hf-pt"], [(n, n) for n in (256, 1024, 4096)])
    guides = [values for label, values in lines.items() if label.startswith("_")]
    assert len(guides) == 3, "500, 1000 and 2000 tokens per second"
    assert all(y[1] / y[0] == pytest.approx(x[1] / x[0]) for x, y in (values.T for values in guides))
    assert {panel.get_xscale() + panel.get_yscale() for panel in panels} == {"loglog"}


def test_numbers_have_three_digits():
    assert [text.number(value) for value in (0.1234, 8.034, 71.21, 1230.4)] == ["0.12", "8.03", "71.2", "1230"]


def test_table():
    rich = pytest.importorskip("rich.console")
    from distilbert.bench.table import render

    console = rich.Console(width=200, record=True, file=io.StringIO())
    console.print(render(sample_run()))
    printed = console.export_text()
    assert "100  1.00x" in printed
    assert "50.0  2.00x  80 %" in printed
    assert "failed       latency: b, long: killed" in printed
    console.print(render(sample_run(curves())))
    assert "Cost over real tokens: lengths around 64" in console.export_text()


def test_picture(tmp_path):
    pytest.importorskip("matplotlib")
    from distilbert.bench.colours import colour
    from distilbert.bench.picture import write_picture
    from distilbert.parity.picture import check_plot

    rates = {("a", "texts"): Measurement((2.0,)), ("hf-pt", "texts"): Measurement((0.01,))}
    failed = {key: Measurement((), "killed") for key in curves().cells}
    bars = SuiteResult("ragged", "Texts", ("a", "hf-pt"), (TEXTS,), rates)
    write_picture(sample_run(result(), bars, curves(), curves(cells=failed)), tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    names = [name for name in catalogue.CATALOGUE if "sorted" not in name and name != "distilbert"]
    assert len({colour(name) for name in names}) == len(names)
    with pytest.raises(InputError, match="expected a picture file ending in"):
        check_plot(tmp_path / "run.txt")


# Models and texts.


def test_random_model_has_no_zero(tmp_path):
    sources.write_random_model(tmp_path, TINY)
    tensors = open_checkpoint(tmp_path).tensors
    assert any(name.endswith("bias") for name in tensors)
    assert all(np.all(tensor.load() != 0) for tensor in tensors.values())


def test_texts(tmp_path, monkeypatch):
    monkeypatch.delenv(sources.DATA_VARIABLE, raising=False)
    (tmp_path / "texts.txt").write_text("a word\n\nword word word\n")
    with pytest.raises(InputError, match="has no tokenizer; name a model that has"):
        sources.tokenised(tmp_path / "texts.txt", tmp_path, TINY, tmp_path)
    with pytest.raises(InputError, match="name a file with one text in each line"):
        sources.tokenised(None, tmp_path, TINY, tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "word"]) + "\n")
    short = TINY.replace(max_position_embeddings=4)
    (found,) = sources.tokenised(tmp_path / "texts.txt", tmp_path, short, tmp_path)
    assert (found.name, found.count) == ("texts.txt", 2)
    assert json.loads(found.file.read_text()) == [[2, 5, 6, 3], [2, 6, 6, 3]]
    with pytest.raises(InputError, match="gives the id 6, but the model knows 6 words"):
        sources.tokenised(tmp_path / "texts.txt", tmp_path, TINY.replace(vocab_size=6), tmp_path)


def test_real_texts(tmp_path, monkeypatch, data_folder):
    monkeypatch.setenv(sources.DATA_VARIABLE, str(data_folder))
    sentences, paragraphs = sources.tokenised(None, tmp_path, DistilBertConfig(), tmp_path)
    assert (sentences.name, sentences.count) == ("SST-2 dev", 872)
    assert (paragraphs.name, paragraphs.count) == ("SQuAD paragraphs", 104)
    ids = json.loads(paragraphs.file.read_text())
    assert len({tuple(row) for row in ids}) == 104
    assert 100 < np.mean([len(row) for row in ids]) < 250
    assert len(json.loads(sentences.file.read_text())) == 872
    assert [case.unit for case in suites.ragged_cases([sentences, paragraphs])] == ["texts/s", "texts/s"]


def test_cases_of_scaling():
    cases = suites.scaling_cases(DistilBertConfig())
    names = ["4 x 16", "16 x 16", "64 x 16", "256 x 16", "1 x 64", "4 x 64", "16 x 64", "64 x 64"]
    assert [case.name for case in cases] == [*names, "1 x 256", "4 x 256", "16 x 256"]
    assert [case.amount for case in cases] == [64, 256, 1024, 4096] * 2 + [256, 1024, 4096]
    for case in cases:
        lengths = case.arguments["lengths"]
        count, mean = map(int, case.name.split(" x "))
        assert (len(lengths), sum(lengths)) == (count, case.amount)
        assert mean / 2 <= min(lengths) <= max(lengths) <= 1.5 * mean
        if count >= 16:
            assert min(lengths) <= 0.6 * mean
            assert max(lengths) >= 1.4 * mean
            assert lengths != sorted(lengths)
    assert suites.scaling_cases(DistilBertConfig()) == cases
    short = suites.scaling_cases(TINY.replace(max_position_embeddings=64))
    assert {case.curve for case in short} == {"lengths around 16", "lengths around 64"}
    assert max(max(case.arguments["lengths"]) for case in short) == 64
    with pytest.raises(InputError, match="expected a model with 16 positions or more, found 8"):
        suites.scaling_cases(TINY.replace(max_position_embeddings=8))


def test_sequences_of_scaling_have_the_lengths_asked_for(tmp_path):
    loaded = []

    class Lengths(Base):
        def predictor(self, class_name: str) -> Any:
            loaded.append(class_name)
            return lambda ids, mask: (mask.sum(1) * (ids.max(1) < TINY.vocab_size)).tolist()

    sources.write_random_model(tmp_path, TINY)
    contender = Lengths(str(tmp_path), ".")
    assert contender.scaling([5, 1, 7])() == [5, 1, 7]
    assert contender.scaling([2])() == [2]
    assert loaded == ["DistilBertForSequenceClassification"], "once for all cases"


def test_batches_of_texts_come_back_in_order():
    class Lengths(Base):
        def predictor(self, class_name: str) -> Any:
            return lambda ids, mask: [
                (int(row[0]), int(count), ids.shape[1]) for row, count in zip(ids, mask.sum(1), strict=True)
            ]

    texts = [[n] * (n % 7 + 1) for n in range(70)]
    for by_length in (False, True):
        answers = Lengths(".", ".", by_length=by_length)._in_batches(Lengths(".", ".").predictor(""), texts)
        assert [answer[:2] for answer in answers] == [(n, n % 7 + 1) for n in range(70)]
        padded = sum(answer[2] for answer in answers)
        assert padded == (32 * 4 + 38 * 7 if by_length else 70 * 7)


# The command.


def invoke(*arguments: object) -> Any:
    from distilbert.cli import app

    return typer_testing.CliRunner().invoke(app, ["bench", *map(str, arguments)])


def test_plain_pt_end_to_end(tmp_path):
    if backend.BACKENDS["pt"].missing:
        pytest.skip("PyTorch is not installed")
    sources.write_random_model(tmp_path / "model", TINY)
    files = {name: tmp_path / f"run.{ending}" for name, ending in (("json", "json"), ("markdown", "md"))}
    options = [part for name, path in files.items() for part in (f"--{name}", path)]
    done = invoke(
        *("--model", tmp_path / "model", "--contenders", "plain-pt", "--shapes", "1x4,2x8", "--baseline", "plain-pt"),
        *("--rounds", 2, "--seconds", 0, "--threads", 1, "--suite", "latency", *options),
    )
    assert done.exit_code == 0, done.output
    found = json.loads(files["json"].read_text())
    rows = {(row["contender"], row["case"]): row for row in found["suites"][0]["results"]}
    assert rows.keys() == {("plain-pt", "1 x 4"), ("plain-pt", "2 x 8")}
    assert all(len(row["times"]) == 2 and row["ratio"] == 1 and row["error"] is None for row in rows.values())
    assert all(row["fraction_of_limit"] > 0 for row in rows.values())
    suite = found["suites"][0]
    assert suite["speeds"].keys() == {"float32", "bfloat16", "int8", "memory"}
    assert suite["versions"]["plain-pt"].keys() == {"torch"}
    assert suite["settings"]["threads"] == 1
    assert suite["settings"].keys() == SETTINGS.keys()
    assert "plain-pt" in files["markdown"].read_text()
    assert "1 x 4" in done.stdout
    again = invoke("--from", files["json"], "--json", tmp_path / "again.json")
    assert again.exit_code == 0, again.output
    assert again.stdout == done.stdout
    assert (tmp_path / "again.json").read_bytes() == files["json"].read_bytes()


@pytest.mark.slow
def test_scaling_end_to_end(tmp_path):
    if backend.BACKENDS["pt"].missing:
        pytest.skip("PyTorch is not installed")
    sources.write_random_model(tmp_path / "model", TINY)
    options = ("--model", tmp_path / "model", "--contenders", "ours-pt", "--rounds", 1, "--seconds", 0)
    done = invoke("--suite", "scaling", *options, "--json", tmp_path / "run.json")
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "run.json").read_text())["suites"][0]["results"]
    assert [row["case"] for row in rows] == ["4 x 16", "16 x 16", "64 x 16", "256 x 16"]
    assert all(row["value"] > 0 for row in rows)


def test_a_failed_contender_makes_the_exit_code_1(tmp_path, monkeypatch):
    sources.write_random_model(tmp_path / "model", TINY)

    def fail(entries: list[Entry], *rest: Any) -> Outcome:
        return Outcome(
            {(entry.name, case.name): Measurement((), "out of memory") for entry in entries for case in entry.cases}
        )

    monkeypatch.setattr(bench_run, "measure", fail)
    done = invoke("--model", tmp_path / "model", "--suite", "convert", "--json", tmp_path / "run.json")
    assert done.exit_code == 1
    assert "failed       convert: distilbert, flax: out of memory" in done.stdout
    assert json.loads((tmp_path / "run.json").read_text())["suites"][0]["results"][0]["error"] == "out of memory"


def test_wrong_usage_is_said_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_run, "measure", lambda *rest: pytest.fail("nothing may run"))
    assert "'hf-tp' is unknown" in invoke("--contenders", "hf-tp").stderr
    assert "there is no folder" in invoke("--json", tmp_path / "absent" / "run.json").stderr
    assert "expected batch x tokens" in invoke("--shapes", "12").stderr
    sources.write_random_model(tmp_path / "model", TINY)
    assert "threads: expected 1 to" in invoke("--model", tmp_path / "model", "--threads", 99999).stderr
    assert "but the model has 48 positions" in invoke("--model", tmp_path / "model", "--shapes", "1x49").stderr


def test_from_joins_records_and_measures_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_run, "measure", lambda *rest: pytest.fail("nothing may run"))
    first, second = written(tmp_path, a=sample_run(curves()), b=sample_run())
    done = invoke("--from", second, "--from", first, "--json", tmp_path / "both.json", "--markdown", tmp_path / "p.md")
    assert done.exit_code == 1, "a contender had failed"
    assert done.stdout.index("One call") < done.stdout.index("Cost over real tokens")
    assert reader.read(tmp_path / "both.json") == sample_run(result(), curves())
    assert "## One call" in (tmp_path / "p.md").read_text()
    assert invoke("--from", first).exit_code == 0


def test_from_goes_with_no_option_that_says_how_to_measure(tmp_path):
    (path,) = written(tmp_path, a=sample_run())
    values = {"suite": "load", "contenders": "all", "model": "m", "shapes": "1x2", "texts": "t", "baseline": "hf-pt"}
    values |= {"rounds": 8, "seconds": 4.0, "threads": 1}  # the defaults too: whoever writes them means something
    for name, value in values.items():
        done = invoke("--from", path, f"--{name}", value)
        assert done.exit_code == 1
        assert f"--from measures nothing, so it cannot be used together with --{name}\n" in done.stderr
    both = invoke("--from", path, "--seconds", 1, "--suite", "load").stderr
    assert "together with --suite, --seconds" in both


def test_suite_names_are_those_of_the_library():
    from distilbert.cli.bench import Suite

    assert [str(suite) for suite in Suite] == list(suites.TITLES)


def test_targets_are_checked(tmp_path):
    from distilbert.cli.bench import _check_targets

    with pytest.raises(FileError, match="there is no folder"):
        _check_targets(None, None, tmp_path / "absent" / "page.md")
    _check_targets(Path(tmp_path / "run.json"), None, None)
