# SPDX-License-Identifier: Apache-2.0
"""The one switch for the frameworks' CPU threads."""

from __future__ import annotations

import os
import sys

import pytest

from distilbert import set_threads, threads
from distilbert.errors import BackendError, InputError


class Torch:
    """Stands in for PyTorch."""

    count = None

    def set_num_threads(self, count):
        self.count = count


class TensorFlow:
    """Stands in for TensorFlow that has started with two threads; it is its own `config.threading`."""

    @property
    def config(self):
        return self

    threading = config

    def get_intra_op_parallelism_threads(self):
        return 2

    def set_intra_op_parallelism_threads(self, count):
        raise RuntimeError("started")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in (*threads._VARIABLES, threads.VARIABLE):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)


def test_all_frameworks_hear_of_it(monkeypatch):
    torch = Torch()
    monkeypatch.setattr(sys, "modules", {"torch": torch})
    set_threads(3)
    assert torch.count == 3
    assert {os.environ[name] for name in threads._VARIABLES} == {"3"}
    monkeypatch.setenv(threads.VARIABLE, "5")
    threads.set_threads_from_environment()
    assert torch.count == 5


def test_a_framework_that_has_started_says_so(monkeypatch):
    monkeypatch.setattr(sys, "modules", {"tensorflow": TensorFlow()})
    set_threads(2)
    with pytest.raises(BackendError, match="TensorFlow has already started"):
        set_threads(3)


def test_a_framework_that_has_started_with_the_number_is_content(monkeypatch):
    monkeypatch.setattr(sys, "modules", {"tensorflow": TensorFlow()})
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")  # that is how it was started
    set_threads(3)
    with pytest.raises(BackendError, match="TensorFlow has already started"):
        set_threads(4)


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True])
def test_the_number_is_a_whole_one(count):
    with pytest.raises(InputError, match="whole number from 1"):
        set_threads(count)


def test_a_bad_environment(monkeypatch):
    monkeypatch.setenv(threads.VARIABLE, "many")
    with pytest.raises(InputError, match="DISTILBERT_THREADS: expected a whole number from 1, found 'many'"):
        threads.set_threads_from_environment()


def test_spinning_is_limited_unless_the_user_has_a_wish(monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    threads.limit_spinning()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    threads.limit_spinning()
    assert os.environ["GOMP_SPINCOUNT"] == "20000"
