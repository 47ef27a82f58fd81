# SPDX-License-Identifier: Apache-2.0
"""Importing frameworks for a command without the lines that they write to the terminal meanwhile."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout

from distilbert.cli.failures import DEBUG_VARIABLE


def load_quietly(names: Iterable[str], wanted_by: str) -> None:
    """Import what runs models: frameworks by short name, and runtimes of exported files by their format.

    Raises:
        BackendError: one is unknown, or not installed.
    """
    from distilbert.loading import prepare

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in names:
        with _silence():
            prepare(name, wanted_by)


@contextmanager
def only_python_speaks() -> Iterator[None]:
    """Let standard error have what Python writes to `sys.stderr`, and nothing of native code and of `sys.stdout`.

    For Ray, which tells of nodes that come and go on whatever there is.
    """
    if os.environ.get(DEBUG_VARIABLE) == "1":
        yield
        return
    before = sys.stderr
    with (
        open(os.dup(2), "w", buffering=1, encoding=before.encoding, errors="backslashreplace") as ours,
        _silence(),
        open(os.devnull, "w") as nowhere,
        redirect_stdout(nowhere),
    ):
        sys.stderr = ours
        try:
            yield
        finally:
            sys.stderr = before


@contextmanager
def _silence() -> Iterator[None]:
    """Send standard error nowhere, also for native code: TensorFlow greets from there, whatever its settings say."""
    if os.environ.get(DEBUG_VARIABLE) == "1":
        yield
        return
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
