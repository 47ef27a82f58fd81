# SPDX-License-Identifier: Apache-2.0
"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("DISTILBERT_COMPILE_CACHE", "0")  # tests leave nothing behind

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data, which is never part of the repository."""
    folder = Path(os.environ.get("DISTILBERT_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder} (set DISTILBERT_TEST_DATA)")
    return folder
