# SPDX-License-Identifier: Apache-2.0
"""Memory that a step frees is taken again by the next one, without the system clearing its pages anew."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from distilbert.training.memory import _VARIABLES

from .conftest import REPOSITORY

# Asked in another way than the code does: where that does not find glibc out, these fail and are not skipped.
IS_GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
pytestmark = pytest.mark.skipif(not IS_GLIBC, reason="another C library than glibc, where nothing is changed")

FAULTS = """
import resource, sys, threading
from distilbert.training.memory import keep_freed_memory
if sys.argv[1] != "leave":
    keep_freed_memory(of_all_threads=sys.argv[1] == "keep all")

def measure():
    text = "x" * (96 << 20)  # more than a heap of a thread of its own holds
    for _ in range(3):
        del text
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        text = "x" * (96 << 20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

measure()
thread = threading.Thread(target=measure)
thread.start()
thread.join()
"""
MANY, FEW = 10_000, 100


def faults(what: str, **variables: str) -> tuple[int, int]:
    """How many pages the system clears for 96 MiB that were freed just before, in the first thread and in another."""
    environment = {name: value for name, value in os.environ.items() if name not in (*_VARIABLES, "GLIBC_TUNABLES")}
    environment |= {"PYTHONPATH": str(REPOSITORY), **variables}
    command = [sys.executable, "-c", FAULTS, what]
    first, other = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    return int(first), int(other)


def test_freed_memory_goes_back_to_the_system_by_itself():
    first, other = faults("leave")
    assert first > MANY
    assert other > MANY


def test_freed_memory_of_the_first_thread_is_kept():
    first, other = faults("keep")
    assert first < FEW < MANY < other


def test_freed_memory_of_all_threads_is_kept():
    first, other = faults("keep all")
    assert first < FEW
    assert other < FEW


@pytest.mark.parametrize(
    "setting", [{"MALLOC_MMAP_THRESHOLD_": "1000000"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1000000"}]
)
def test_what_the_user_has_set_stays(setting):
    first, other = faults("keep all", **setting)
    assert first > MANY
    assert other > MANY
