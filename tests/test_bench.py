# SPDX-License-Identifier: Apache-2.0
"""The bench command: who takes turns when, what is made of the times, and what happens to those who fail.

No test says how fast anything must be: that is for a quiet machine.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import DistilBertConfig, backend
from distilbert.bench import catalogue, costs, markdown, record, sources, suites, text
from distilbert.bench import run as bench_run
from distilbert.bench.contenders.base import Base
from distilbert.bench.controller import Entry, Outcome, measure
from distilbert.bench.measured import Case, Measurement, SuiteResult, lower_quartile
from distilbert.bench.process import PACKAGE_PARENT, WorkerFailure, WorkerProcess
from distilbert.convert import open_checkpoint
from distilbert.errors import FileError, InputError

from .samples import TINY

typer_testing = pytest.importorskip("typer.testing")
PACKAGE = {"family": "package", "options": {"model": ".", "workplace": "."}, "packages": ["numpy"], "cpus": None}
SHORT, LONG = Case("short", "latency", flops=100), Case("long", "latency", flops=1000)
TEXTS = Case("texts", "ragged", unit="sentences/s", amount=10.0)


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


def result(**changes: Any) -> SuiteResult:
    cells = {
        ("a", "short"): Measurement((0.2, 0.1, 0.3, 0.4)),
        ("b", "short"): Measurement((0.05,)),
        ("a", "long"): Measurement((2.0,)),
        ("b", "long"): Measurement((1.0,), "killed"),
    }
    fields = {"baseline": "a", "limits": {("b", "short"): 0.04}} | changes
    return SuiteResult("latency", "One call", ("a", "b"), (SHORT, LONG), cells, **fields)


def sample_run(*results: SuiteResult) -> bench_run.Run:
    settings = {"model": "m", "statistic": "lower quartile", "rounds": 2, "seconds": 1.0, "threads": None}
    return bench_run.Run(
        results or (result(),), {"float32": 2e9, "memory": 1e9}, {"a": {"torch": "2.0"}}, settings | {"variables": {}}
    )


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
    modules += ["run", "table", "markdown", "picture", "record", "contenders.limits", "contenders.onnx_export"]
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
    assert (found["kind"], found["version"]) == ("distilbert benchmark", 1)
    assert found["machine"]["cpus"] >= 1
    assert {"cpu", "flags", "memory_bytes", "system", "python"} <= found["machine"].keys()
    assert found["versions"] == {"a": {"torch": "2.0"}}
    (suite,) = found["suites"]
    assert [case["name"] for case in suite["cases"]] == ["short", "long"]
    rows = {(row["contender"], row["case"]): row for row in suite["results"]}
    assert rows["a", "short"]["times"] == [0.2, 0.1, 0.3, 0.4]
    assert rows["b", "short"]["value"] == pytest.approx(50)
    assert rows["b", "short"]["ratio"] == pytest.approx(2)
    assert rows["b", "short"]["fraction_of_limit"] == pytest.approx(0.8)
    assert rows["b", "long"]["error"] == "killed"
    assert rows["b", "long"]["value"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_page():
    page = markdown.page(sample_run(), "run.png")
    assert "| a | 100 (1.00x) | 2000 (1.00x) |" in page
    assert "| b | 50.0 (2.00x, 80 %) | failed |" in page
    assert "- latency: b: long: killed" in page
    assert "![Results of `distilbert bench`](run.png)" in page
    assert "float32 2 GFLOP/s, memory 1 GB/s" in page
    assert "torch 2.0" in page


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


def test_picture(tmp_path):
    pytest.importorskip("matplotlib")
    from distilbert.bench.picture import colour, write_picture
    from distilbert.parity.picture import check_plot

    rates = {("a", "texts"): Measurement((2.0,)), ("hf-pt", "texts"): Measurement((0.01,))}
    both = sample_run(result(), SuiteResult("ragged", "Texts", ("a", "hf-pt"), (TEXTS,), rates))
    write_picture(both, tmp_path / "run.png")
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
        sources.tokenised(tmp_path / "texts.txt", tmp_path, TINY, tmp_path / "ids.json")
    with pytest.raises(InputError, match="name a file with one text in each line"):
        sources.tokenised(None, tmp_path, TINY, tmp_path / "ids.json")
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "word"]) + "\n")
    short = TINY.replace(max_position_embeddings=4)
    found = sources.tokenised(tmp_path / "texts.txt", tmp_path, short, tmp_path / "ids.json")
    assert (found.name, found.count) == ("texts.txt", 2)
    assert json.loads(found.file.read_text()) == [[2, 5, 6, 3], [2, 6, 6, 3]]
    with pytest.raises(InputError, match="gives the id 6, but the model knows 6 words"):
        sources.tokenised(tmp_path / "texts.txt", tmp_path, TINY.replace(vocab_size=6), tmp_path / "ids.json")


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
    assert found["speeds"].keys() == {"float32", "bfloat16", "int8", "memory"}
    assert found["settings"]["threads"] == 1
    assert "plain-pt" in files["markdown"].read_text()
    assert "1 x 4" in done.stdout


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


def test_suite_names_are_those_of_the_library():
    from distilbert.cli.bench import Suite

    assert [str(suite) for suite in Suite] == list(suites.TITLES)


def test_targets_are_checked(tmp_path):
    from distilbert.cli.bench import _check_targets

    with pytest.raises(FileError, match="there is no folder"):
        _check_targets(None, None, tmp_path / "absent" / "page.md")
    _check_targets(Path(tmp_path / "run.json"), None, None)
