# SPDX-License-Identifier: Apache-2.0
"""Memory that a step frees is taken again by the next one, without the system clearing its pages anew."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from distilbert.training.memory import _VARIABLES

from .conftest import REPOSITORY

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")

FAULTS = """
import resource, sys
from distilbert.training.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
text = "x" * (64 << 20)
for _ in range(4):
    del text
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    text = "x" * (64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(what: str, **variables: str) -> int:
    """How many pages the system clears for 64 MiB that were freed just before."""
    environment = {name: value for name, value in os.environ.items() if name not in (*_VARIABLES, "GLIBC_TUNABLES")}
    environment |= {"PYTHONPATH": str(REPOSITORY), **variables}
    command = [sys.executable, "-c", FAULTS, what]
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def test_freed_memory_is_kept():
    assert faults("keep") < 100 < 10_000 < faults("leave")


@pytest.mark.parametrize(
    "setting", [{"MALLOC_MMAP_THRESHOLD_": "1000000"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1000000"}]
)
def test_what_the_user_has_set_stays(setting):
    assert faults("keep", **setting) > 10_000
