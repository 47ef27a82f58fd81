# SPDX-License-Identifier: Apache-2.0
"""Nobody pays for a framework that was not asked for, and a missing one is named with its remedy."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys

import pytest

import distilbert
from distilbert import backend
from distilbert.errors import BackendError

from .conftest import REPOSITORY

FRAMEWORKS = {"pt": {"torch"}, "tf": {"tensorflow", "keras"}, "flax": {"jax", "flax"}}
EVERY = set().union(*FRAMEWORKS.values())


def modules_after(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(' '.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import distilbert; dir(distilbert)",
        "import distilbert; distilbert.DistilBertConfig()",
        "import distilbert; distilbert.DistilBertTokenizer",
        "import distilbert; distilbert.convert_checkpoint, distilbert.open_checkpoint, distilbert.load",
        "import distilbert.reference, distilbert.pretrained, distilbert.hub",
    ],
)
def test_no_framework_is_imported(code):
    assert not modules_after(code) & EVERY


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_each_backend_imports_only_its_own(name):
    if backend.BACKENDS[name].missing:
        pytest.skip(f"{backend.BACKENDS[name].title} is not installed")
    imported = modules_after(f"import distilbert.{name}") & EVERY
    assert FRAMEWORKS[name] <= imported
    # Keras and JAX look for TensorFlow and PyTorch on their own account; what counts is that we do not.
    assert not imported & (EVERY - FRAMEWORKS[name] - {"tensorflow", "torch", "jax"})


def test_import_is_light():
    before = modules_after("pass")
    assert not (modules_after("import distilbert") - before) & {"numpy", "huggingface_hub", "tokenizers", "typer"}


def test_every_public_name_resolves():
    assert set(dir(distilbert)) == set(distilbert.__all__)
    for name in distilbert.__all__:
        module, _ = distilbert._NAMES.get(name, ("", ""))
        if module in FRAMEWORKS and backend.BACKENDS[module].missing:
            continue
        assert getattr(distilbert, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'TFDistilBort'"):
        _ = distilbert.TFDistilBort


def test_type_checkers_see_the_same_names():
    stub = ast.parse((REPOSITORY / "distilbert" / "__init__.pyi").read_text())
    (names,) = (node.value for node in stub.body if isinstance(node, ast.Assign))
    assert sorted(ast.literal_eval(names)) == sorted(distilbert.__all__)


def test_a_missing_framework_names_its_extra(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "jax" else real(name, *rest))
    with pytest.raises(BackendError) as caught:
        backend.load("flax", "FlaxDistilBertModel")
    assert "FlaxDistilBertModel needs JAX/Flax, but jax cannot be imported" in str(caught.value)
    assert 'pip install "distilbert[flax]"' in str(caught.value)


def test_choice_of_backend(monkeypatch):
    monkeypatch.delenv("DISTILBERT_BACKEND", raising=False)
    monkeypatch.setattr(backend, "installed", lambda: ["tf", "flax"])
    assert backend.choose() == "tf"
    monkeypatch.setenv("DISTILBERT_BACKEND", "flax")
    assert backend.choose() == "flax"
    assert backend.choose("pt") == "pt"
    monkeypatch.setenv("DISTILBERT_BACKEND", "mxnet")
    with pytest.raises(BackendError, match=r"expected one of pt, tf, flax; found 'mxnet' \(DISTILBERT_BACKEND\)"):
        backend.choose()
    monkeypatch.delenv("DISTILBERT_BACKEND")
    monkeypatch.setattr(backend, "installed", lambda: [])
    with pytest.raises(BackendError, match="no framework is installed"):
        backend.choose()
