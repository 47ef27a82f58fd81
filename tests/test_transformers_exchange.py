# SPDX-License-Identifier: Apache-2.0
"""Files exchanged with transformers 4.57 in both directions, in its three frameworks, for all six classes.

What it writes is read bit by bit and computes the same outputs and losses; what is written here it loads without a
missing or unexpected tensor, and computes the same.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import DistilBertConfig, backend, spec
from distilbert.convert import open_checkpoint

from . import oracle
from .samples import TINY, random_tensors, sample_call, task_config, write_model
from .test_parity import run

pytest.importorskip("transformers")

frameworks = pytest.mark.parametrize(
    "framework",
    [
        pytest.param(name, marks=pytest.mark.skipif(bool(row.missing), reason=f"{row.title} is not installed"))
        for name, row in backend.BACKENDS.items()
    ],
)
tasks = pytest.mark.parametrize("task", spec.TASKS)
USUAL = ("encoder", "masked-lm", "sequence-classification")
usual_tasks = pytest.mark.parametrize(  # of the others only what transformers writes is in every run
    "task", [task if task in USUAL else pytest.param(task, marks=pytest.mark.slow) for task in spec.TASKS]
)


def ours(name: str, task: str, folder: Path) -> Any:
    return getattr(backend.load(name, "the tests"), spec.TASKS[task].class_name).from_pretrained(folder)


def call_of(config: DistilBertConfig, task: str) -> dict[str, Any]:
    """A batch with padding on either side; DistilBERT has no position_ids in transformers 4."""
    call = sample_call(config, task, seed=3)
    del call["position_ids"]
    return call


def assert_same_outputs(found: dict[str, Any], expected: dict[str, Any]) -> None:
    differences = oracle.worst(found, expected)
    assert differences.keys() == expected.keys()
    assert {name: value for name, value in differences.items() if not value <= oracle.BOUND} == {}


@frameworks
@tasks
def test_what_transformers_writes_is_read(tmp_path: Path, framework: str, task: str) -> None:
    config = task_config(TINY, task)
    model = oracle.hf_model(framework, task, config)
    parameters = oracle.pytorch_state(framework, model)
    for form, (options, format) in oracle.FORMS[framework].items():
        checkpoint = open_checkpoint(oracle.save_hf(model, tmp_path / form, options))
        assert (checkpoint.format.name, checkpoint.task) == (format, task)
        assert (len(checkpoint.files) > 1) == form.endswith("shards")
        assert checkpoint.dialect == framework
        found = checkpoint.with_settled_projector().fit(checkpoint.config, task)
        assert found.is_exact
        assert found.tensors.keys() == parameters.keys()
        assert all(np.array_equal(found.tensors[name].load(), values) for name, values in parameters.items())
    call = call_of(config, task)
    expected = oracle.run_hf(framework, model, call, output_hidden_states=True, output_attentions=True)
    assert ("loss" in expected) == (framework != "flax" and task != "encoder")
    for name in {framework, "pt"} & set(backend.installed()):
        mine = ours(name, task, tmp_path / form)
        found_here = run(name, mine, call, output_hidden_states=True, output_attentions=True)
        assert_same_outputs({key: value for key, value in found_here.items() if key in expected}, expected)


@frameworks
@usual_tasks
def test_what_is_written_here_transformers_loads(tmp_path: Path, framework: str, task: str) -> None:
    config = task_config(TINY, task)
    tensors = random_tensors(config, task)
    call = call_of(config, task)
    for format in oracle.OWN_FORMATS[framework]:
        for size in ("5GB", oracle.SHARDED):
            folder = tmp_path / f"{format}-{size}"
            write_model(folder, config, task, tensors, format, max_shard_size=size)
            model, info = oracle.load_hf(framework, task, folder)
            assert info == oracle.NO_KEYS
            parameters = oracle.pytorch_state(framework, model)
            assert parameters.keys() == tensors.keys()
            assert all(np.array_equal(parameters[name], values) for name, values in tensors.items())
    expected = oracle.run_hf(framework, model, call)
    found = run(framework, ours(framework, task, folder), call)
    assert_same_outputs({key: value for key, value in found.items() if key in expected}, expected)


@frameworks
def test_models_of_the_edge(tmp_path: Path, framework: str) -> None:
    """Untied projector, sinusoidal positions, half precision: what each framework of transformers can represent."""
    untied = TINY.replace(tie_word_embeddings=False)
    if framework != "tf":  # whose class always ties
        check_both_ways(tmp_path / "untied", framework, "masked-lm", untied)
    check_both_ways(tmp_path / "sinusoidal", framework, "encoder", TINY.replace(sinusoidal_pos_embds=True), noise=False)


def check_both_ways(folder: Path, framework: str, task: str, config: DistilBertConfig, noise: bool = True) -> None:
    model = oracle.hf_model(framework, task, config, std=0.2 if noise else 0.0)
    call = call_of(config, task)
    expected = oracle.run_hf(framework, model, call)
    oracle.save_hf(model, folder / "theirs", {})
    mine = ours(framework, task, folder / "theirs")
    found = run(framework, mine, call)
    assert_same_outputs({name: value for name, value in found.items() if name in expected}, expected)
    mine.save_pretrained(folder / "mine", safe_serialization=framework == "pt")
    again, info = oracle.load_hf(framework, task, folder / "mine")
    assert info == oracle.NO_KEYS
    assert_same_outputs(oracle.run_hf(framework, again, call), expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_float_types_of_pytorch_files(tmp_path: Path, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    model = oracle.hf_model("pt", "masked-lm", TINY).to(getattr(torch, dtype))
    for form, (options, _) in oracle.FORMS["pt"].items():
        checkpoint = open_checkpoint(oracle.save_hf(model, tmp_path / form, options)).with_settled_projector()
        assert checkpoint.dtype == checkpoint.config.dtype == dtype
        for name, values in model.state_dict().items():
            if name != spec.PROJECTOR:
                assert checkpoint.tensors[name].load().tobytes() == values.view(torch.uint8).numpy().tobytes(), name


SCRIPT = """
import sys, numpy, torch, transformers
from pathlib import Path
for folder in map(Path, sys.argv[1:]):
    cls = getattr(transformers, transformers.AutoConfig.from_pretrained(folder).architectures[0])
    model, info = cls.from_pretrained(folder, output_loading_info=True)
    wrong = {name: keys for name, keys in info.items() if name != "error_msgs" and keys}
    assert not wrong, (folder, wrong)
    call = {name: torch.tensor(values) for name, values in numpy.load(folder / "call.npz").items()}
    with torch.no_grad():
        output = model.eval()(**call)
    numpy.savez(folder / "output.npz", **{name: values.numpy() for name, values in output.items()})
print(transformers.__version__)
"""


@pytest.mark.slow
def test_transformers_5_loads_what_is_written_here(tmp_path: Path) -> None:
    """In an environment of its own, whose Python is named by DISTILBERT_TRANSFORMERS5_PYTHON."""
    python = os.environ.get("DISTILBERT_TRANSFORMERS5_PYTHON")
    if not python:
        pytest.skip("DISTILBERT_TRANSFORMERS5_PYTHON does not name a Python with transformers 5 and torch")
    calls = {task: sample_call(task_config(TINY, task), task) for task in spec.TASKS}
    del calls["multiple-choice"]["position_ids"]  # which transformers 5 does not flatten with the choices
    folders = {}
    for task, call in calls.items():
        for size in ("5GB", oracle.SHARDED):
            folder = tmp_path / f"{task}-{size}"
            write_model(folder, task_config(TINY, task), task, max_shard_size=size)
            np.savez(folder / "call.npz", **call)
            folders[folder] = task
    done = subprocess.run([python, "-c", SCRIPT, *map(str, folders)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1].startswith("5.")
    for folder, task in folders.items():
        with np.load(folder / "output.npz") as output:
            assert_same_outputs(run("pt", ours("pt", task, folder), calls[task]), dict(output))
