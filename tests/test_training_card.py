# SPDX-License-Identifier: Apache-2.0
"""What is left to read of a training: the model card, its front matter, and whether the frameworks agree."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from distilbert import backend
from distilbert.model_cards.markdown import code, grid
from distilbert.model_cards.parity import Parity
from distilbert.training.distillation.recipe import DistillRecipe
from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.reports import DataFile, RunFacts
from distilbert.training.reports.card import card
from distilbert.training.reports.documents import write_documents
from distilbert.training.reports.gathering import data_files, hardware, run_facts, versions
from distilbert.training.reports.parity import certify

from .test_training_reports import HISTORY, PLAN

yaml = pytest.importorskip("yaml")
RECIPE = FinetuneRecipe(
    task="text-classification",
    model_name_or_path="/secret/place/minilm",
    train_file=("/secret/place/train.csv",),
    output_dir="/secret/place/out",
    learning_rate=3e-5,
    bf16=True,
)
FACTS = RunFacts(
    name="reviews",
    model_task="sequence-classification",
    base_model="/secret/place/minilm",
    recipe=RECIPE,
    plan=PLAN,
    steps=300,
    files=(DataFile("train.csv", "train", "a" * 64), DataFile("dev.tsv", "validation", "b" * 64)),
    metrics={"eval_loss": 0.41, "eval_accuracy": 0.8756, "eval_f1_macro": 0.7, "eval_recall": math.nan},
    main_metric="accuracy",
    environment={"distilbert": "0.1.0", "torch": "2.9"},
    hardware="a CPU, 2 CPUs, 24 GiB",
    examples={"train": 1000, "validation": 200},
)


def changed(**values: object) -> RunFacts:
    return dataclasses.replace(FACTS, **values)


def front_matter(text: str) -> dict:
    assert text.startswith("---\n")
    return yaml.safe_load(text.split("---\n")[1])


# The card.


def test_front_matter_is_what_the_hub_reads():
    found = front_matter(card(FACTS))
    assert found == {
        "library_name": "distilbert",
        "pipeline_tag": "text-classification",
        "metrics": ["accuracy", "f1"],
        "tags": ["distilbert"],
        "model-index": [
            {
                "name": "reviews",
                "results": [
                    {
                        "task": {"type": "text-classification", "name": "Text Classification"},
                        "dataset": {"name": "dev.tsv", "type": "tsv", "split": "validation"},
                        "metrics": [
                            {"type": "accuracy", "value": 0.8756, "name": "accuracy"},
                            {"type": "f1", "value": 0.7, "name": "f1_macro"},
                        ],
                    }
                ],
            }
        ],
    }


def test_the_hub_library_reads_the_card(tmp_path):
    from huggingface_hub import ModelCard

    path = tmp_path / "README.md"
    path.write_text(card(changed(base_model="org/name@main")), encoding="utf-8")
    found = ModelCard.load(path).data
    assert (found.base_model, found.library_name, found.pipeline_tag) == (
        "org/name",
        "distilbert",
        "text-classification",
    )
    assert [(one.metric_type, one.metric_value) for one in found.eval_results] == [
        ("accuracy", 0.8756),
        ("f1", 0.7),
    ]


@pytest.mark.parametrize(
    ("base_model", "expected"),
    [("org/name", "org/name"), ("name@v1", "name"), ("/a/b", None), ("./name", None), ("a/b/c", None), (".", None)],
)
def test_only_a_name_on_the_hub_is_a_base_model(base_model, expected):
    assert front_matter(card(changed(base_model=base_model))).get("base_model") == expected


def test_a_folder_is_no_base_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    text = card(changed(base_model="org/name"))
    assert "base_model" not in front_matter(text)
    assert "trained from `name` with" in text


def test_the_card_says_what_was_done():
    text = card(FACTS, "curves.png")
    for part in (
        "# reviews\n",
        "reaches accuracy 0.8756. It was trained from `minilm` with `distilbert finetune` in PyTorch",
        "| accuracy | 0.8756 |",
        "| f1 macro | 0.7000 |",
        "| recall | nan |",
        "(curves.png)",
        f"| `train.csv` | train | `{'a' * 64}` |",
        f"| `dev.tsv` | validation | `{'b' * 64}` |",
        "Examples: 1,000 for train, 200 for validation.",
        "300 steps; 22,000,000 parameters were trained.",
        "| `learning_rate` | `3e-05` |",
        "| `bf16` | `true` |",
        "| `seed` | `42` |",
        "| torch | 2.9 |",
        "Hardware: a CPU, 2 CPUs, 24 GiB.",
    ):
        assert part in text
    assert "dropout" not in text  # is as by default
    assert "secret" not in text
    for name in backend.BACKENDS:
        assert f'run = pipeline("text-classification", "reviews", backend="{name}")' in text
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == [f"## {name}" for name in ("Use", "Results", "Data", "Training", "Parity", "Versions")]


def test_the_card_of_a_training_that_was_stopped_and_not_evaluated():
    text = card(changed(steps=100, metrics={}, plan=dataclasses.replace(PLAN, processes=4)))
    assert "100 steps of 300 (stopped early) on 4 processes; " in text
    assert "no data to evaluate on" in text
    assert "model-index" not in front_matter(text)
    assert "metrics" not in front_matter(text)
    assert "![" not in text


@pytest.mark.parametrize(
    "model_task",
    ["masked-lm", "sequence-classification", "token-classification", "question-answering", "multiple-choice"],
)
def test_the_lines_of_use_are_python_that_the_pipeline_takes(model_task):
    import ast

    from distilbert.pipelines.registry import find

    text = card(changed(model_task=model_task))
    blocks = [part.split("```")[0] for part in text.split("```python\n")[1:]]
    assert len(blocks) == 3
    for block in blocks:
        tree = ast.parse(block)
        assert len(tree.body) == 3
        made = tree.body[1].value
        assert find(made.args[0].value).model_task == model_task


def test_names_that_markdown_could_misread():
    assert grid(("a|b", ""), [("x\ny", "1")], "lr") == "| a\\|b |  |\n| :--- | ---: |\n| x y | 1 |"
    assert code("a`b") == "``a`b``"
    assert code("`") == "`` ` ``"


# Parity.

CERTIFICATE = {
    "verdict": "equal",
    "problems": [],
    "dtype": "float32",
    "reference": "NumPy float64",
    "not_finite": [],
    "environment": {"torch": "2.9", "jax": "0.10", "flax": "0.12"},
    "weights": [{"subject": "pt", "ok": True}, {"subject": "flax", "ok": False}],
    "measurements": [
        {"backend": "pt", "layer": "embeddings", "error": 1e-7, "bound": 2e-6, "ok": True},
        {"backend": "pt", "layer": "logits", "error": 5e-7, "bound": 2e-6, "ok": True},
        {"backend": "flax", "layer": "embeddings", "error": None, "bound": 2e-6, "ok": False},
    ],
    "source": {"files": {"model.safetensors": "c" * 64}},
}


def test_the_certificate_in_the_card():
    text = card(changed(parity=Parity(CERTIFICATE, ("TensorFlow",))))
    assert "**Equal.**" in text
    assert "| PyTorch | torch 2.9 | bit-equal | 5.0e-07 | 2e-06 | logits |" in text
    assert "| JAX/Flax | jax 0.10, flax 0.12 | different | not finite | 2e-06 | embeddings |" in text
    assert f"| `model.safetensors` | `{'c' * 64}` |" in text
    assert "so not compared: TensorFlow." in text


def test_a_certificate_that_fails_is_not_hidden():
    certificate = {**CERTIFICATE, "verdict": "different", "problems": ["JAX/Flax: diverges first at embeddings"]}
    text = card(changed(parity=Parity(certificate)))
    assert "**Different.**" in text
    assert "- JAX/Flax: diverges first at embeddings" in text
    assert "Equal" not in text


def test_no_certificate_and_why():
    assert "were not compared: out of memory. `distilbert verify` does it." in card(
        changed(parity=Parity(problem="out of memory"))
    )


@pytest.fixture
def verify(monkeypatch):
    """Stands for the process of `distilbert verify`; what it does can be set."""
    calls = []

    def run(command, **options):
        calls.append((command, options))
        return run.behaviour(Path(command[command.index("--certificate") + 1]))

    run.calls = calls
    monkeypatch.setattr(subprocess, "run", run)
    return run


def test_the_certificate_is_made_without_this_process(verify, tmp_path):
    def behaviour(path):
        path.write_text(json.dumps(CERTIFICATE))
        return subprocess.CompletedProcess([], 1, "", "")

    verify.behaviour = behaviour
    folder = tmp_path / "reviews"
    folder.mkdir()
    found = certify(folder)
    assert found.certificate == CERTIFICATE
    assert found.problem is None
    assert found.missing == tuple(row.title for row in backend.BACKENDS.values() if row.missing)
    command, options = verify.calls[0]
    assert command[:5] == [sys.executable, "-m", "distilbert", "verify", "reviews"]
    assert options["cwd"] == tmp_path


def test_what_goes_wrong_with_the_certificate_is_told(verify, tmp_path):
    def no_memory(path):
        return subprocess.CompletedProcess([], 1, "", "warning: x\nerror: not enough memory\n")

    def killed(path):
        return subprocess.CompletedProcess([], -9, "", "")

    def slow(path):
        raise subprocess.TimeoutExpired([], 5)

    def no_python(path):
        raise OSError("no such program")

    (tmp_path / "parity.json").write_text("{}")  # of an earlier training: says nothing of this one
    for behaviour, problem in (
        (no_memory, "not enough memory"),
        (killed, "distilbert verify ended with -9"),
        (slow, "distilbert verify took more than 5 s"),
        (no_python, "no such program"),
    ):
        verify.behaviour = behaviour
        found = certify(tmp_path, limit=5)
        assert (found.certificate, found.problem) == (None, problem)
    assert not (tmp_path / "parity.json").exists()


@pytest.mark.slow
def test_a_real_certificate(tmp_path):
    import shutil

    from distilbert.demo import MODEL

    if not backend.installed():
        pytest.skip("no framework is installed")
    folder = tmp_path / "numpy"  # a name that would be imported in place of the package
    shutil.copytree(MODEL, folder)
    found = certify(folder)
    assert found.problem is None
    assert found.certificate["verdict"] == "equal"
    assert found.certificate["source"]["name"] == "numpy"
    text = (folder / "parity.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert "**Equal.**" in card(changed(parity=found))


# All of it.


def test_documents(tmp_path):
    pytest.importorskip("matplotlib")
    written = write_documents(tmp_path, FACTS, HISTORY, with_parity=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "curves.png"]
    assert sorted(written) == sorted(tmp_path.iterdir())
    assert "(curves.png)" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_documents_without_a_picture(tmp_path, monkeypatch, verify):
    verify.behaviour = lambda path: subprocess.CompletedProcess([], 1, "", "error: broken\n")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert write_documents(tmp_path, FACTS, HISTORY) == [tmp_path / "README.md"]
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "![" not in text
    assert "were not compared: broken." in text


def test_a_card_names_the_command_that_made_the_model():
    student = DistillRecipe(teacher_name_or_path="teacher", corpus=("text.txt",), output_dir="out")
    assert "with `distilbert finetune` in PyTorch" in card(FACTS)
    assert "with `distilbert distill` in PyTorch" in card(changed(recipe=student))


def test_facts_of_a_run(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"x")
    found = run_facts(
        RECIPE,
        PLAN,
        model_task="sequence-classification",
        main_metric="accuracy",
        base_model=RECIPE.model_name_or_path,
        files={"train": [tmp_path / "a.csv"], "validation": []},
        examples={"train": 7},
        steps=300,
        metrics={"eval_accuracy": 1.0},
        accelerator="one GPU",
    )
    assert found.hardware.endswith(", one GPU")
    assert (found.name, found.base_model, found.steps) == ("out", "/secret/place/minilm", 300)
    assert [(file.name, file.split) for file in found.files] == [("a.csv", "train")]
    assert "secret" not in card(found)


def test_facts_that_are_looked_up(tmp_path):
    (tmp_path / "dev.csv").write_bytes(b"text\n")
    digest = hashlib.sha256(b"text\n").hexdigest()
    assert data_files("validation", [tmp_path / "dev.csv"]) == (DataFile("dev.csv", "validation", digest),)
    assert {"distilbert", "numpy", "python"} <= set(versions("pt"))
    assert hardware("one GPU").endswith(", one GPU")
    assert not hardware("").endswith(", ")
