# SPDX-License-Identifier: Apache-2.0
"""The controller's end of a worker: starts the process, asks, waits for the answer, ends it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])
# The package goes last on the path: in another Python, that Python's own packages must come first.
_PROGRAM = "import sys; sys.path.append(sys.argv[1]); from distilbert.bench.worker import main; main()"
_LIMIT = 900.0  # seconds for one answer; the slowest honest one is a compilation of minutes


class WorkerFailure(Exception):
    """A worker could not do what it was asked, or is no more; the message says why. Never leaves the controller."""


class WorkerProcess:
    """A running worker. `ask` sends a request and returns the answer."""

    def __init__(self, python: str, variables: Mapping[str, str] | None = None, limit: float = _LIMIT) -> None:
        self.limit = limit
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`, with the process
        self._process = subprocess.Popen(
            [python, "-P", "-c", _PROGRAM, PACKAGE_PARENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **(variables or {})},
        )

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            WorkerFailure: the worker reports an error, has died, or took too long and was ended.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise WorkerFailure("the worker has no pipes")
        timer = threading.Timer(self.limit, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timed_out = not timer.is_alive()
            timer.cancel()
        if not line:
            raise WorkerFailure(f"no answer within {self.limit:g} s" if timed_out else self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerFailure(answer["error"])
        return answer

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"the worker ended with {how}" + (f": {lines[-1]}" if lines else "")
