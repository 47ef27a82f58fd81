# SPDX-License-Identifier: Apache-2.0
"""`distilbert verify`: exit codes, output and files. What it measures is tested in test_parity_report.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from distilbert import spec
from distilbert.cli.failures import reported
from distilbert.cli.verify import verify
from distilbert.config import DistilBertConfig
from distilbert.convert import StoredTensor, write_checkpoint
from distilbert.initialization import initial_tensors

TASK = "token-classification"
app = typer.Typer(pretty_exceptions_enable=False)
app.command()(reported(verify))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("checkpoints") / "plain")


def write(folder: Path, added: float = 0.0) -> Path:
    config = DistilBertConfig(
        vocab_size=40, dim=16, n_layers=1, n_heads=2, hidden_dim=24, max_position_embeddings=20, num_labels=3
    )
    config = config.replace(architectures=(spec.TASKS[TASK].class_name,))
    tensors = initial_tensors(config, spec.tensors(config, TASK).values(), 0)
    tensors["classifier.bias"] += np.float32(added)
    folder.mkdir()
    stored = {name: StoredTensor.of(name, values) for name, values in tensors.items()}
    write_checkpoint(folder, config, TASK, stored, format="safetensors")
    return folder


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_right_checkpoint_ends_with_0(folder, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    done = run(
        folder, "--backends", "pt", "--gradients", "--plot", tmp_path / "a.png", "--certificate", tmp_path / "a.json"
    )
    assert done.exit_code == 0, done.output
    assert "OK    every difference is within its bound" in done.stdout
    assert "gradient embeddings" in done.stdout
    assert done.stderr == ""
    assert json.loads((tmp_path / "a.json").read_text())["verdict"] == "equal"
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_json_is_all_that_standard_output_gets(folder):
    pytest.importorskip("torch")
    done = run(folder, "--backends", "pt", "--dtype", "float64", "--json")
    assert done.exit_code == 0
    values = json.loads(done.stdout)
    assert values["ok"]
    assert values["dtype"] == "float64"
    assert {one["backend"] for one in values["measurements"]} == {"pt"}


def test_another_checkpoint_that_differs_ends_with_1(folder, tmp_path):
    pytest.importorskip("torch")
    other = write(tmp_path / "other", added=0.5)
    done = run(folder, "--backends", "pt", "--against", other, "--json")
    assert done.exit_code == 1
    values = json.loads(done.stdout)
    assert values["first_divergence"] == {"pt": None, "other": "logits"}
    assert values["weights"][1]["different"] == [
        {"name": "classifier.bias", "problem": "values", "largest_difference": 0.5}
    ]
    assert "diverges first at logits" in run(folder, "--backends", "pt", "--against", other).stdout


def test_not_finite_weights_are_a_warning(tmp_path):
    pytest.importorskip("torch")
    done = run(write(tmp_path / "nan", added=np.nan), "--backends", "pt", "--plot", tmp_path / "a.png")
    assert done.exit_code == 0
    assert "NaN or infinity in classifier.bias" in done.stdout
    assert "a.png: not written, for no outputs were compared" in done.stderr
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--plot", "errors.bmp"], "errors.bmp: expected a picture file ending in .png, .svg, .pdf, found '.bmp'"),
        (["--certificate", "nowhere/a.json"], "nowhere/a.json: cannot be written, there is no folder nowhere"),
        (["--against", "./nowhere"], "./nowhere: no such file or folder"),
        (["--dtype", "float16", "--gradients"], "to compare gradients; found 'float16'"),
    ],
)
def test_what_cannot_be_done_is_one_message_and_exit_code_1(folder, options, message):
    pytest.importorskip("torch")
    done = run(folder, "--backends", "pt", *options)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("options", [["--backends", "pt,mx"], ["--backends", ""], ["--dtype", "int8"], ["--task", "x"]])
def test_wrong_usage_ends_with_2(folder, options):
    assert run(folder, *options).exit_code == 2
