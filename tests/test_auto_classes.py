# SPDX-License-Identifier: Apache-2.0
"""transformers' Auto classes give our models while they are registered, and their own before and after."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distilbert
from distilbert import auto_classes, backend, spec
from distilbert.errors import BackendError, ConfigError, InputError

from . import oracle
from .conftest import REPOSITORY
from .samples import TINY, task_config, write_model

pytest.importorskip("transformers")
TASK = "sequence-classification"
MAIN = {task: names[0] for task, names in auto_classes._AUTO_CLASSES.items()}


@pytest.fixture
def folder(tmp_path) -> Path:
    write_model(tmp_path, TINY, TASK)
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "dog"]) + "\n")
    return tmp_path


@pytest.fixture
def registered():
    oracle.transformers()
    with oracle.quiet():
        registration = distilbert.register_auto_classes()
    yield registration
    registration.undo()


def auto(name: str, folder: Path, framework: str = "pt", **options: Any) -> Any:
    cls = oracle.hf_class(framework, name)
    with oracle.quiet():
        return cls.from_pretrained(folder, **options)


@pytest.mark.parametrize("framework", backend.BACKENDS)
@pytest.mark.parametrize("task", spec.TASKS)
def test_every_task_gives_our_model(registered, tmp_path, framework, task):
    pytest.importorskip({"pt": "torch", "tf": "tensorflow", "flax": "flax"}[framework])
    config = task_config(TINY, task)
    tensors = write_model(tmp_path, config, task)
    assert oracle.PREFIXES[framework] + MAIN[task] in registered.names
    model = auto(MAIN[task], tmp_path, framework)
    assert type(model) is getattr(importlib.import_module(f"distilbert.{framework}"), spec.TASKS[task].class_name)
    assert model.config.dim == 32
    assert model.config.id2label == config.id2label
    found = model.dump_tensors()
    assert all(np.array_equal(found[name], values) for name, values in tensors.items())


def test_the_numbers_are_those_of_transformers(folder):
    torch = pytest.importorskip("torch")
    theirs = auto("AutoModelForSequenceClassification", folder).eval()
    with distilbert.register_auto_classes():
        tokens = auto("AutoTokenizer", folder)("the dog", return_tensors="pt")
        own_tokens = distilbert.DistilBertTokenizer.from_pretrained(folder)("the dog", return_tensors="pt")
        ours = auto("AutoModelForSequenceClassification", folder)
    assert type(theirs).__module__.startswith("transformers.")
    assert type(ours).__module__ == "distilbert.pt.heads"
    with torch.no_grad():
        expected = theirs(**tokens).logits
        assert torch.allclose(ours(**tokens).logits, expected, rtol=0, atol=oracle.BOUND)
        assert torch.equal(ours(**own_tokens).logits, ours(**tokens).logits)


def test_it_can_be_undone(folder):
    pytest.importorskip("torch")

    def module() -> str:
        return type(auto("AutoModel", folder)).__module__.partition(".")[0]

    first = distilbert.register_auto_classes()
    with distilbert.register_auto_classes():
        assert module() == "distilbert"
    assert module() == "distilbert"  # the first registration is there again
    first.undo()
    assert module() == "transformers"
    first.undo()
    assert module() == "transformers"


def test_it_can_be_undone_in_the_other_order(folder):
    pytest.importorskip("torch")
    with oracle.quiet():
        first, second = distilbert.register_auto_classes(), distilbert.register_auto_classes()
    first.undo()
    assert type(auto("AutoModel", folder)).__module__.startswith("distilbert.")
    second.undo()
    assert type(auto("AutoModel", folder)).__module__.startswith("transformers.")


def test_what_others_register_later_stays(folder):
    pytest.importorskip("torch")
    transformers = oracle.transformers()
    with oracle.quiet():
        registration = distilbert.register_auto_classes()
        table = transformers.AutoModel._model_mapping._extra_content
        transformers.AutoModel.register(transformers.DistilBertConfig, transformers.DistilBertModel, exist_ok=True)
        registration.undo()
    assert table.pop(transformers.DistilBertConfig) is transformers.DistilBertModel


def test_options_arrive(registered, folder):
    torch = pytest.importorskip("torch")
    name = "AutoModelForSequenceClassification"
    assert auto(name, folder, attn_implementation="eager").attn_implementation == "eager"
    assert auto(name, folder, dtype=torch.bfloat16).dtype == torch.bfloat16
    assert auto(name, folder, output_attentions=True, low_cpu_mem_usage=True).config.output_attentions
    changed = auto(name, folder, num_labels=5, ignore_mismatched_sizes=True)
    assert changed.classifier.weight.shape == (5, 32)
    _, info = auto(name, folder, output_loading_info=True)
    assert info["missing_keys"] == []
    with pytest.raises(ConfigError, match="quantise: unknown field"):
        auto(name, folder, quantise=True)


def test_a_configuration_of_transformers_decides(registered, folder):
    pytest.importorskip("torch")
    config = oracle.transformers().DistilBertConfig(**TINY.replace(n_layers=1).to_dict())
    model = oracle.hf_class("pt", "AutoModel").from_config(config)
    assert type(model).__module__ == "distilbert.pt.modeling"
    assert (len(model.transformer.layer), model.config.dim) == (1, 32)
    with pytest.raises(InputError, match="expected a configuration alone, found seed too"):
        oracle.hf_class("pt", "AutoModel").from_config(config, seed=3)
    config = oracle.transformers().DistilBertConfig(**TINY.replace(output_hidden_states=True).to_dict())
    assert auto("AutoModel", folder, config=config).config.output_hidden_states


def test_other_models_are_left_alone(registered):
    pytest.importorskip("torch")
    transformers = oracle.transformers()
    config = transformers.BertConfig(
        vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4
    )
    with oracle.quiet():
        assert type(transformers.AutoModel.from_config(config)).__module__.startswith("transformers.")


def test_an_adapter_is_refused(registered, folder):
    adapter = oracle.hf_class("pt", "AutoModel")._model_mapping[oracle.transformers().DistilBertConfig]
    config = oracle.transformers().DistilBertConfig(**TINY.to_dict())
    with pytest.raises(InputError, match="adapters of PEFT are not read"):
        adapter.from_pretrained(folder, config=config, adapter_kwargs={"_adapter_model_path": "somewhere"})


def test_without_transformers_the_error_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else find(name))
    with pytest.raises(BackendError, match="pip install transformers"):
        distilbert.register_auto_classes()


def test_without_a_framework_the_error_says_so(monkeypatch):
    oracle.transformers()
    monkeypatch.setattr(backend, "installed", list)
    with pytest.raises(BackendError, match=r'are installed \(none\); install PyTorch:  pip install "distilbert\[pt\]"'):
        distilbert.register_auto_classes()


SCRIPT = """
import sys, torch, transformers, distilbert
from transformers import AutoModelForSequenceClassification as Auto, AutoTokenizer
tokens = AutoTokenizer.from_pretrained(sys.argv[1])("the dog", return_tensors="pt")
theirs = Auto.from_pretrained(sys.argv[1]).eval()
with distilbert.register_auto_classes() as registration, torch.no_grad():
    ours = Auto.from_pretrained(sys.argv[1], attn_implementation="eager")
    assert type(ours) is distilbert.DistilBertForSequenceClassification and ours.attn_implementation == "eager"
    assert ours.dtype == torch.float32
    assert (ours(**tokens).logits - theirs(**tokens).logits).abs().max() < 1e-5
    assert type(Auto.from_config(transformers.DistilBertConfig(n_layers=1, dim=12))) is type(ours)
assert type(Auto.from_pretrained(sys.argv[1])) is type(theirs)
print(transformers.__version__, len(registration.names))
"""


@pytest.mark.slow
def test_transformers_5(folder):
    """In an environment of its own, whose Python is named by DISTILBERT_TRANSFORMERS5_PYTHON."""
    python = os.environ.get("DISTILBERT_TRANSFORMERS5_PYTHON")
    if not python:
        pytest.skip("DISTILBERT_TRANSFORMERS5_PYTHON does not name a Python with transformers 5 and torch")
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    needed = [python, "-c", "import ml_dtypes, safetensors, filelock"]
    if subprocess.run(needed, env=environment, capture_output=True, check=False).returncode:
        pytest.skip(f"{python} lacks what distilbert needs (ml_dtypes, safetensors, filelock)")
    command = [python, "-c", SCRIPT, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    version, count = done.stdout.split()
    assert version.startswith("5.")
    assert int(count) == 8


def test_importing_the_package_does_not_register():
    code = "import sys, distilbert; distilbert.register_auto_classes; print('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
