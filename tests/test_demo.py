# SPDX-License-Identifier: Apache-2.0
"""The embedded checkpoint is what its card says, and `distilbert demo` shows what it claims to show."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from distilbert import DistilBertTokenizer, backend
from distilbert.checkpoint_files import CONFIG_FILE
from distilbert.convert import StoredTensor, open_checkpoint, write_checkpoint
from distilbert.demo import MODEL, SENTENCES
from distilbert.demo.predicting import Prediction, predict_with_reference
from distilbert.demo.tour import ROUTE, is_same, tour

from .test_cli import invoke

FILES = {
    CONFIG_FILE,
    "model.safetensors",
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "README.md",
}


def making() -> ModuleType:
    """scripts/demo/make.py as a module."""
    path = Path(__file__).parent.parent / "scripts" / "demo" / "make.py"
    found = importlib.util.spec_from_file_location("make_demo", path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_model_is_complete_and_small():
    assert {path.name for path in MODEL.iterdir()} == FILES
    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= 5_000_000


def test_model_is_sound():
    checkpoint = open_checkpoint(MODEL)
    assert checkpoint.task == "sequence-classification"
    assert checkpoint.fit(checkpoint.config, checkpoint.task).is_exact
    assert dict(checkpoint.config.id2label) == {0: "negative", 1: "positive"}
    assert len(DistilBertTokenizer.from_pretrained(MODEL)) == checkpoint.config.vocab_size
    assert all(np.isfinite(tensor.load()).all() for tensor in checkpoint.tensors.values())


def test_no_file_names_the_machine_it_was_made_on():
    for path in MODEL.iterdir():
        if path.suffix in (".json", ".md"):
            assert not re.search(r"/(tmp|home|root|work)/", path.read_text(encoding="utf-8"))


def test_card_names_data_licence_and_authors():
    card = (MODEL / "README.md").read_text(encoding="utf-8")
    for word in ("CC BY 4.0", "Bo Pang", "Lillian Lee", "sentence polarity", "NLTK", "MiniLM", "scripts/demo/make.py"):
        assert word in card


def test_card_tells_the_accuracy(data_folder):
    pytest.importorskip("torch")
    script = making()
    found = script.accuracy(MODEL, script.read_sst2(data_folder / script.SST2))
    stated = re.search(r"\| ([0-9.]+)% on the 872 sentences", (MODEL / "README.md").read_text(encoding="utf-8"))
    assert f"{found:.1%}" == f"{stated[1]}%"
    assert found >= 0.85


def test_the_demo_has_learned_nothing_of_what_it_is_measured_with(data_folder, tmp_path):
    script = making()
    script.write_data(data_folder, tmp_path)
    found = {path.stem: {script.fingerprint(text) for text, _ in script.read_csv(path)} for path in tmp_path.iterdir()}
    measured = {script.fingerprint(text) for text, _ in script.read_sst2(data_folder / script.SST2)}
    assert found.keys() == {"sst2", "sst2_dev", "validation", "texts"}
    assert len(found["texts"]) > 250_000
    assert found["sst2_dev"] == measured
    for name in ("validation", "texts"):
        assert not found[name] & measured, name
    assert not found["texts"] & found["validation"]


def test_making_it_without_data_says_what_is_missing(monkeypatch, tmp_path):
    script = making()
    monkeypatch.delenv("DISTILBERT_TEST_DATA", raising=False)
    with pytest.raises(SystemExit, match="DISTILBERT_TEST_DATA is not set"):
        script.find_data()
    monkeypatch.setenv("DISTILBERT_TEST_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match=r"sentence_polarity\.zip, .*movie_reviews\.zip, .*\.tsv: no such file"):
        script.find_data()


def test_reference_tells_good_from_bad():
    labels = [prediction.label for prediction in predict_with_reference(MODEL, SENTENCES)]
    assert labels == ["positive", "negative"] * (len(SENTENCES) // 2)


def test_tour_comes_back_with_the_same_bits(tmp_path):
    steps = tour(MODEL, tmp_path)
    assert tuple(step.format for step in steps) == ROUTE
    assert [step.source for step in steps] == ["safetensors", *ROUTE[:-1]]
    assert all(step.weights.stat().st_size == step.nbytes for step in steps)
    assert is_same(MODEL, steps[-1].weights)


def test_one_bit_makes_a_difference(tmp_path):
    checkpoint = open_checkpoint(MODEL)
    tensors = {name: tensor.load().copy() for name, tensor in checkpoint.tensors.items()}
    tensors["classifier.bias"].view(np.uint8)[0] ^= 1
    stored = {name: StoredTensor.of(name, values) for name, values in tensors.items()}
    write_checkpoint(tmp_path, checkpoint.config, checkpoint.task, stored, format="safetensors")
    assert not is_same(MODEL, tmp_path)


def test_demo_in_every_installed_framework():
    if not backend.installed():
        pytest.skip("no framework is installed")
    result = invoke("demo")
    assert result.stdout.splitlines()[-1].startswith("equal: NumPy = ")
    for name in backend.installed():
        assert backend.BACKENDS[name].title in result.stdout.splitlines()[-1]
    for text in SENTENCES:
        assert text in result.stdout


def test_demo_of_given_texts_as_json():
    texts = ["Wonderful!", "", "bad " * 300]
    found = json.loads(invoke("demo", "--json", *texts).stdout)
    assert found["equal"] is True
    assert [one["text"] for one in found["predictions"]] == texts
    for one in found["predictions"]:
        for name in backend.installed():
            assert one[name]["label"] == one["reference"]["label"]
            assert abs(one[name]["probability"] - one["reference"]["probability"]) < 1e-6
    assert [one["to"] for one in found["conversions"]] == list(ROUTE)
    assert found["missing"] == [name for name in backend.BACKENDS if name not in backend.installed()]


def test_demo_without_a_framework(monkeypatch):
    monkeypatch.setattr("distilbert.cli.demo.installed", list)
    result = invoke("demo", "a charming film")
    for name in backend.BACKENDS:
        assert f'pip install "distilbert[{name}]"' in result.stdout
    assert "positive" in result.stdout
    assert result.stdout.splitlines()[-1] == "equal: all 4 formats hold the same weights, bit for bit"


def test_demo_fails_where_labels_differ(monkeypatch):
    if not backend.installed():
        pytest.skip("no framework is installed")
    name = backend.installed()[0]
    monkeypatch.setattr("distilbert.cli.demo.installed", lambda: [name])
    monkeypatch.setattr("distilbert.demo.predicting.predict", lambda *arguments: [Prediction("negative", 0.9)])
    last = invoke("demo", "a charming film", code=1).stdout.splitlines()[-1]
    assert last.startswith(f"not equal: {backend.BACKENDS[name].title} predicts other labels")


def test_demo_fails_where_bits_differ(monkeypatch):
    monkeypatch.setattr("distilbert.cli.demo.installed", list)
    monkeypatch.setattr("distilbert.demo.tour.is_same", lambda *arguments: False)
    last = invoke("demo", "a charming film", code=1).stdout.splitlines()[-1]
    assert last.startswith("not equal: the weights are not the same")
