# SPDX-License-Identifier: Apache-2.0
"""`distilbert prune` as a command: what it prints, and what it refuses without leaving anything behind."""

from __future__ import annotations

import json

import pytest

from distilbert.convert import open_checkpoint

from .test_cli import invoke
from .training_samples import write_reviews, write_start


@pytest.fixture
def start(tmp_path):
    pytest.importorskip("torch")
    write_reviews(tmp_path / "train.csv", 9)
    return write_start(tmp_path / "start", "sequence-classification", id2label={0: "negative", 1: "positive"})


def test_what_it_prints(start, tmp_path):
    train, out = tmp_path / "train.csv", tmp_path / "out"
    options = ("--train", train, "--eval", train, "--heads", 2, "--backend", "pt")
    result = invoke("prune", start, out, *options)
    assert "9 examples" in result.stdout
    assert result.stdout.count(" x") == 2
    lines = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if "->" in line}
    assert lines["heads"] == ["8", "->", "6"]
    assert {"parameters", "weights", "accuracy", "loss"} <= lines.keys()
    assert result.stderr == f"{out}: pruned 2 heads\n"
    found = json.loads(invoke("prune", start, tmp_path / "again", *options, "--no-normalize", "--json").stdout)
    assert len(found["scores"]) == 2
    assert sum(map(len, found["pruned"].values())) == 2
    assert found["metric"] == "accuracy"
    assert found["after"]["heads"] == 6
    assert sum(map(len, open_checkpoint(out).config.pruned_heads.values())) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "found neither"),
        (["--heads", "1", "--fraction", "0.5"], "found both"),
        (["--heads", "0"], "heads: expected at least 1, found 0"),
        (["--fraction", "1"], "fraction: expected less than 1"),
        (["--heads", "7"], "expected 1 to 6 heads to prune, found 7"),
        (["--heads", "1", "--max_drop", "1"], "max_drop: needs data to evaluate on (--eval)"),
        (["--heads", "1", "--max-drop", "-1", "--eval", "x.csv"], "max_drop: expected at least 0"),
        (["--heads", "1", "--column", "label=stars"], "stars"),
        (["--heads", "1", "--task", "cooking"], "cooking"),
        (["--heads", "1", "--eval", "absent.csv"], "absent.csv"),
        (["--heads", "1", "--backend", "mxnet"], "backend: expected one of pt, tf, flax; found 'mxnet'"),
        (["--heads", "1", "--rounds", "0"], "rounds: expected at least 1, found 0"),
    ],
)
def test_what_it_refuses(start, tmp_path, options, message):
    backend = [] if "--backend" in options else ["--backend", "pt"]
    result = invoke("prune", start, tmp_path / "out", "--train", tmp_path / "train.csv", *options, *backend, code=1)
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["start", "train.csv"]


def test_missing_data_and_a_target_that_is_taken(start, tmp_path):
    assert "train: is missing" in invoke("prune", start, tmp_path / "out", "--heads", 1, code=1).stderr
    result = invoke("prune", start, start, "--train", tmp_path / "train.csv", "--heads", 1, code=1)
    assert "is not empty" in result.stderr
    invoke("prune", start, code=2)
