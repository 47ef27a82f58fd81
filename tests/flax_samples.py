# SPDX-License-Identifier: Apache-2.0
"""What the Flax tests share: JAX at its strictest, and small models with the values of `samples.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distilbert import spec

from .samples import TINY, random_tensors, task_config

jax = pytest.importorskip("jax")
pytest.importorskip("flax")

TASKS = list(spec.TASKS)
SMALL = TINY.replace(n_layers=1, num_labels=2)  # one layer compiles fast


@pytest.fixture(autouse=True)
def strict_jax():
    """No silent broadcasting over axes, no silent change of a float type."""
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


def flax_model(task: str, config: Any = TINY, dtype: str = "float32", std: float = 0.2) -> Any:
    """A model of the task with random values."""
    import distilbert.flax

    config = task_config(config, task)
    model = getattr(distilbert.flax, spec.TASKS[task].class_name).empty(config, dtype)
    model.load_tensors(random_tensors(config, task, std, np.float64))
    return model


def relative(found: Any, expected: np.ndarray) -> float:
    """Largest difference relative to the largest value."""
    found = np.asarray(found).astype(np.float64)
    return float(np.abs(found - expected).max() / np.abs(expected).max())
