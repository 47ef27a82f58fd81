# SPDX-License-Identifier: Apache-2.0
"""Quantization with a gate: what is measured is true, the best that passes is kept, and what is made bad is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import distilbert
from distilbert import DistilBertTokenizer
from distilbert.demo import MODEL
from distilbert.errors import BackendError, FileError, InputError, QualityError
from distilbert.export.running import open_export
from distilbert.pruning.data import read_data
from distilbert.pruning.pruning import metrics
from distilbert.pruning.recipe import ScoreRecipe
from distilbert.quantization import quantizing
from distilbert.quantization.recipe import QuantizeRecipe
from distilbert.quantization.schemes import Scheme, parse
from distilbert.trained.data import main_metric, points
from distilbert.trained.source import read_source

from .pipeline_samples import write_checkpoint
from .serve_samples import write
from .test_cli import invoke

for package in ("torch", "onnxscript", "onnxruntime"):
    pytest.importorskip(package)


@pytest.fixture(scope="module")
def dev(data_folder) -> Path:
    return data_folder / "sst2_glue" / "dev_official_872.tsv"


OPTIONS = {"column": ["text=sentence"], "max_eval_samples": 200}


def run(target: Path, dev: Path, source: Path = MODEL, **options):
    return distilbert.quantize(source, target, str(dev), **{**OPTIONS, **options})


def test_every_scheme_is_measured_and_the_best_kept(tmp_path, dev):
    found = run(tmp_path / "out", dev, calibration_file=[str(dev)], prefer="size")
    rows = {str(row.scheme): row for row in found.rows}
    assert list(rows) == ["onnx:float32", "onnx:float16", "onnx:int8", "onnx:int8-static"]
    assert (found.metric, found.texts) == ("accuracy", 200)
    assert found.chosen == min((row for row in found.rows[1:] if row.drop <= 1), key=lambda row: row.nbytes).scheme
    for row in rows.values():
        assert row.seconds > 0
        assert row.drop == pytest.approx(rows["onnx:float32"].quality - row.quality)
    assert rows["onnx:int8"].nbytes < rows["onnx:float16"].nbytes < rows["onnx:float32"].nbytes
    # The metric is that of the pipeline's own answers, and the folder is the export that was measured.
    lines = [line.rpartition("\t") for line in dev.read_text().splitlines()[1:201]]
    answers = distilbert.pipeline("text-classification", tmp_path / "out", truncation=True)([row[0] for row in lines])
    labels = ["positive" if row[2] == "1" else "negative" for row in lines]
    right = [answer["label"] == label for answer, label in zip(answers, labels, strict=True)]
    assert 100 * sum(right) / 200 == pytest.approx(rows[str(found.chosen)].quality)
    assert open_export(tmp_path / "out").dtype == found.chosen.dtype
    assert json.loads((tmp_path / "out" / "quantization.json").read_text())["chosen"] == str(found.chosen)


@pytest.fixture
def spoiled_int8(monkeypatch) -> None:
    """An export to int8 whose weights have wrong scales."""
    onnx = pytest.importorskip("onnx")
    export = quantizing.export_checkpoint

    def spoiled(source, target, format, *, dtype, **options):
        done = export(source, target, format, dtype=dtype, **options)
        if dtype == "int8":
            model = onnx.load(target / "model.onnx")
            random = np.random.default_rng(0)
            for tensor in model.graph.initializer:
                if tensor.name.endswith("_scale") and tensor.dims:
                    scales = onnx.numpy_helper.to_array(tensor)
                    wrong = (scales * random.uniform(0, 3, scales.shape)).astype(np.float32)
                    tensor.CopyFrom(onnx.numpy_helper.from_array(wrong, tensor.name))
            onnx.save(model, target / "model.onnx")
        return done

    monkeypatch.setattr(quantizing, "export_checkpoint", spoiled)


def test_what_is_made_bad_is_refused(tmp_path, dev, spoiled_int8):
    with pytest.raises(QualityError, match=r"not written: expected to lose at most 1 points of accuracy.*onnx:int8: "):
        run(tmp_path / "out", dev, schemes=["onnx:int8"])
    assert not (tmp_path / "out").exists()


def test_a_scheme_beyond_the_limit_is_passed_over(tmp_path, dev, spoiled_int8):
    found = run(tmp_path / "out", dev, schemes=["onnx:int8", "onnx:float16"], prefer="size")
    rows = {str(row.scheme): row for row in found.rows}
    assert rows["onnx:int8"].drop > 1
    assert found.chosen == Scheme("onnx", "float16")


def test_sentence_vectors(tmp_path, data_folder):
    source = write_checkpoint(tmp_path / "source", data_folder, "encoder", dim=64, hidden_dim=128)
    columns = ["text=sentence1", "text_pair=sentence2", "label=score"]
    found = distilbert.quantize(
        source,
        tmp_path / "out",
        str(data_folder / "glue_stsb" / "dev.tsv"),
        schemes=["onnx:int8"],
        column=columns,
        max_eval_samples=100,
        max_drop=20,
    )
    assert (found.metric, found.texts) == ("spearmanr", 200)
    lines = [line.split("\t") for line in (data_folder / "glue_stsb" / "dev.tsv").read_text().splitlines()]
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:101]]
    pipe = distilbert.pipeline("sentence-embedding", source, backend="pt")
    cosines = [pipe.similarity([row["sentence1"]], [row["sentence2"]])[0][0] for row in rows]
    expected = pytest.importorskip("scipy.stats").spearmanr(cosines, [float(row["score"]) for row in rows]).statistic
    assert found.rows[0].quality == pytest.approx(100 * expected, abs=0.1)


@pytest.mark.parametrize("task", ["masked-lm", "question-answering", "multiple-choice", "token-classification"])
def test_every_task(task, tmp_path, data_folder):
    source = write(tmp_path / "source", task, **({"num_labels": 2} if task == "token-classification" else {}))
    files = {
        "masked-lm": ("in.jsonl", [{"text": "a film that is neither long nor short"}] * 4),
        "multiple-choice": (
            "in.jsonl",
            [{"prompt": "a", "choices": ["film", f"mess of {n}"], "label": n % 2} for n in range(9)],
        ),
        "question-answering": (
            "in.json",
            {"data": [{"paragraphs": [{"context": "a good film", "qas": [{"id": "1", "question": "what ?",
             "answers": [{"text": "good", "answer_start": 2}]}]}]}]},
        ),
        "token-classification": ("in.jsonl", [{"tokens": ["a", "film"], "tags": ["LABEL_0", "LABEL_1"]}] * 4),
    }  # fmt: skip
    name, rows = files[task]
    lines = json.dumps(rows) if isinstance(rows, dict) else "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / name).write_text(lines)
    found = distilbert.quantize(source, tmp_path / "out", tmp_path / name, schemes=["onnx:float16"], max_drop=100)
    assert found.chosen == Scheme("onnx", "float16")
    assert found.rows[0].quality == pytest.approx(as_finetune_measures(source, tmp_path / name))


def as_finetune_measures(source: Path, file: Path) -> float:
    """The main metric in percent, by the evaluation of training."""
    trained = read_source(source, None)
    data = read_data(ScoreRecipe.from_dict({"model": str(source), "train": [str(file)]}), trained)
    data = replace(data, validation=data.train)
    return points(data.task, main_metric(data.task), metrics(trained, data, "pt"))


def test_schemes_and_their_names():
    assert parse(["onnx"], False) == [Scheme("onnx", "float16"), Scheme("onnx", "int8")]
    assert parse(["onnx:int8", "onnx"], True)[-1] == Scheme("onnx", "int8-static")
    with pytest.raises(InputError) as caught:
        parse(["onyx:int8", "onnx:int4", "onnx:int8-static", "litert:bfloat16"], False)
    for words in ("4 problems", "'onyx:int8': expected one of onnx,", "'onnx:int4'", "(--calibrate)", "'litert:bf"):
        assert words in str(caught.value)
    with pytest.raises(InputError, match="saved-model: has no format in fewer bits"):
        parse(["saved-model"], False)


def test_wrong_recipes_and_data(tmp_path, dev):
    with pytest.raises(InputError, match=r"(?s)2 problems.*prefer: .*validation_file: expected labelled data"):
        QuantizeRecipe.from_dict({"model": "m", "output": "o", "prefer": "colour"})
    (tmp_path / "bad.tsv").write_text("sentence\tlabel\nfine\tgood\nfine too\tbad\n")
    with pytest.raises(InputError, match="expected the labels of the model, negative, positive; found bad, good"):
        run(tmp_path / "out", tmp_path / "bad.tsv")
    with pytest.raises(FileError, match="out"):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").touch()
        run(tmp_path / "out", dev)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["mine"]


def test_what_is_not_installed(tmp_path, dev, monkeypatch):
    monkeypatch.setattr("distilbert.export.formats.Backend.missing", ["openvino"])
    with pytest.raises(BackendError, match="pip install"):
        run(tmp_path / "out", dev, schemes=["openvino:float16"])


def test_the_command(tmp_path, dev):
    options = ["--eval", dev, "--column", "text=sentence", "--max-eval-samples", 50]
    result = invoke("quantize", MODEL, tmp_path / "out", *options, "--scheme", "onnx:int8", "--max-drop", 20)
    assert "Measured on 50 texts" in result.stdout
    assert "chosen" in result.stdout
    result = invoke("quantize", MODEL, tmp_path / "out", *options, code=1)
    assert "out" in result.stderr
    result = invoke("quantize", MODEL, tmp_path / "new", "--eval", dev, "--scheme", "onnx:int3", code=1)
    assert "'onnx:int3': expected one of float16, int8, int8-static after the colon" in result.stderr
    result = invoke("quantize", MODEL, tmp_path / "json", *options, "--scheme", "onnx:float16", "--json")
    assert json.loads(result.stdout)["chosen"] == "onnx:float16"
    assert DistilBertTokenizer.from_pretrained(tmp_path / "json").vocab_size
