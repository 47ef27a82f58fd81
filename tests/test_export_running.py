# SPDX-License-Identifier: Apache-2.0
"""Exported files where checkpoints can stand: in pipelines, predict, the server and verify."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from distilbert import pipeline, predict_files, push_to_hub
from distilbert.checkpoint_files import EXPORT_FILE
from distilbert.errors import BackendError, FileError, HubError, InputError
from distilbert.export.exporting import export_checkpoint
from distilbert.export.running import open_export
from distilbert.parity.certify import verify

from .hub_server import running_hub
from .pipeline_samples import assert_same, sentences, write_checkpoint
from .samples import need_packages

pytest.importorskip("torch")

RUNTIMES = ("onnx", "openvino", "litert")
INPUTS = {
    "sequence-classification": (
        "text-classification",
        [["a good film", "a very bad film that does not end at all", ""]],
    ),
    "token-classification": ("token-classification", [["Ada Lovelace of London wrote it", "no"]]),
    "question-answering": ("question-answering", [{"question": "Who wrote?", "context": "Ada wrote in London. " * 12}]),
    "masked-lm": ("fill-mask", [["a [MASK] film", "the [MASK] was very [MASK]"]]),
    "multiple-choice": ("multiple-choice", [{"prompt": "It rained.", "choices": ["wet", "dry all the day", "?"]}]),
    "encoder": ("sentence-embedding", [["a good film", "a bad one, and long"]]),
}
PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "litert": "ai_edge_litert"}


def exported(folder: Path, data_folder: Path, task: str, format: str) -> tuple[Path, Path]:
    """A checkpoint and an export of it."""
    need_packages(PACKAGES[format], "tensorflow" if format == "litert" else "onnxscript")
    source = write_checkpoint(folder / "source", data_folder, task)
    export_checkpoint(source, folder / "export", format)
    return source, folder / "export"


@pytest.mark.parametrize("task", INPUTS)
def test_pipelines_answer_as_with_the_checkpoint(task, tmp_path, data_folder):
    source, target = exported(tmp_path, data_folder, task, "onnx")
    check_pipeline(source, target, task, "onnx")


@pytest.mark.parametrize("format", ["openvino", "litert"])
def test_other_runtimes_too(format, tmp_path, data_folder):
    source, target = exported(tmp_path, data_folder, "question-answering", format)
    check_pipeline(source, target, "question-answering", format)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["openvino", "litert"])
@pytest.mark.parametrize("task", INPUTS)
def test_all_tasks_in_other_runtimes(task, format, tmp_path, data_folder):
    source, target = exported(tmp_path, data_folder, task, format)
    check_pipeline(source, target, task, format)


def test_an_export_on_the_hub(tmp_path, data_folder, monkeypatch):
    _, target = exported(tmp_path, data_folder, "sequence-classification", "onnx")
    with running_hub(tmp_path, monkeypatch) as server:
        push_to_hub(target, "org/exported", token=server.writer)
        run = pipeline("text-classification", "org/exported")
        assert run.fast.backend == "onnx"
        assert_same(run("a good film"), pipeline("text-classification", target)("a good film"), 0)
        with pytest.raises(HubError, match=r"has model.safetensors, which readers take before"):
            server.repositories["org/exported"].files["model.safetensors"] = b"other"
            push_to_hub(target, "org/exported", token=server.writer)


def test_openvino_tells_nobody_that_it_is_used():
    need_packages("openvino")
    code = (
        "import os, sys; os.register_at_fork(before=lambda: print('fork'))\n"
        "from distilbert.export import openvino_format\n"
        "openvino_format.load(), openvino_format.load(); print('openvino_telemetry' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def check_pipeline(source: Path, target: Path, task: str, format: str) -> None:
    name, inputs = INPUTS[task]
    own, run = pipeline(name, source, backend="pt"), pipeline(name, target, backend=format)
    assert run.fast.backend == format
    for given in inputs:
        found, expected = run(given), own(given)
        if task == "encoder":
            found, expected = np.array(found).tolist(), np.array(expected).tolist()
        assert_same(found, expected, 1e-5)


def test_a_batch_as_the_model_is_called(tmp_path, data_folder):
    source, target = exported(tmp_path, data_folder, "multiple-choice", "onnx")
    fast = open_export(target)
    ids = np.random.default_rng(0).integers(5, 999, (2, 3, 9))
    mask = np.ones_like(ids)
    mask[0, 1, 4:] = 0
    expected = pipeline("multiple-choice", source, backend="pt").fast(ids, mask).logits.numpy()
    np.testing.assert_allclose(fast(ids, mask).logits, expected, atol=1e-5)
    with pytest.raises(InputError, match="position_ids: an exported file counts them itself"):
        fast(ids, position_ids=np.arange(9))
    with pytest.raises(InputError, match="rows of one length"):
        fast([[1, 2], [3]])
    with pytest.raises(InputError, match="labels: not on the fast path"):
        fast(ids, labels=[0, 1])


def test_files_are_predicted(tmp_path, data_folder):
    source, target = exported(tmp_path, data_folder, "sequence-classification", "onnx")
    texts = sentences(data_folder, 30)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    rows = {}
    for name, model, backend in (("own", source, "pt"), ("run", target, None)):
        output = tmp_path / f"{name}.jsonl"
        predict_files("text-classification", model, [tmp_path / "in.jsonl"], output, backend=backend)
        rows[name] = [json.loads(line) for line in output.read_text().splitlines()]
    assert_same(rows["run"], rows["own"], 1e-5)


def test_the_server_answers(tmp_path, data_folder):
    pytest.importorskip("fastapi")
    from distilbert.serve.app import create_app
    from distilbert.serve.models import load, runners
    from distilbert.serve.settings import Settings

    from .serve_samples import assert_error, get, post

    source, target = exported(tmp_path, data_folder, "sequence-classification", "onnx")
    names = [f"file={target}", f"checkpoint={source}"]
    assert runners([names[0]]) == ["onnx"]
    models = load(names)
    app = create_app(models, Settings())
    try:
        answers = [
            post(app, "/text-classification", {"inputs": "a good film", "model": name})
            for name in ("file", "checkpoint")
        ]
        assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
        assert_same(answers[0].json(), answers[1].json(), 1e-5)
        assert get(app, "/info").json()["backend"] == "onnx"
        for path, body in (("compare", {"inputs": "a good film"}), ("attentions", {"text": "a good film"})):
            answer = post(app, f"/page/{path}", {"model": "file", **body})
            assert_error(answer, 422, "validation", "file: is a file for ONNX Runtime")
    finally:
        app.state.batcher.stop()


def test_verify_compares_an_export(tmp_path, data_folder):
    source, target = exported(tmp_path, data_folder, "sequence-classification", "onnx")
    report = verify(source, target, [])
    assert report.ok
    assert report.columns == ["onnx"]
    assert [found.layer for found in report.measurements] == ["logits"]
    other = write_checkpoint(tmp_path / "other", data_folder, "sequence-classification", hidden_dim=41)
    report = verify(other, target, [])
    assert not report.ok
    assert "ONNX Runtime: diverges first at logits" in report.problems()[0]
    with pytest.raises(InputError, match="onnx: expected DistilBertModel like .*, found DistilBertForSequence"):
        verify(write_checkpoint(tmp_path / "encoder", data_folder, "encoder"), target, [])


def test_what_does_not_go_together(tmp_path, data_folder, monkeypatch):
    source, target = exported(tmp_path, data_folder, "sequence-classification", "onnx")
    with pytest.raises(InputError, match="is an export to onnx, found backend 'pt'"):
        pipeline("text-classification", target, backend="pt")
    with pytest.raises(BackendError, match="onnx runs exported files, .* distilbert export MODEL FOLDER --format onnx"):
        pipeline("text-classification", source, backend="onnx")
    with pytest.raises(InputError, match="expected a DistilBertForQuestionAnswering"):
        pipeline("question-answering", target)
    with pytest.raises(InputError, match="dtype: the file is in float32, found 'int8'"):
        pipeline("text-classification", target, dtype="int8")
    monkeypatch.setenv("DISTILBERT_BACKEND", "pt")  # a default, and no demand
    assert pipeline("text-classification", target).fast.backend == "onnx"
    record = json.loads((target / EXPORT_FILE).read_text())
    for task in ("masked-lm", "question-answering"):  # other shapes, other names
        (target / EXPORT_FILE).write_text(json.dumps({**record, "task": task}))
        with pytest.raises(FileError, match=r"model.onnx: is not the DistilBertFor.*: expected outputs \(1, 16"):
            open_export(target)
    (target / EXPORT_FILE).write_text(json.dumps({**record, "format": "coreml", "dtype": None}))
    with pytest.raises(FileError, match=r"2 problems(?s:.*)format: expected one of onnx(?s:.*)dtype: .* found None"):
        open_export(target)
    (target / EXPORT_FILE).write_text(json.dumps(record))
    (target / "model.onnx").unlink()
    with pytest.raises(FileError, match=r"model.onnx: is missing; export the model again"):
        open_export(target)
