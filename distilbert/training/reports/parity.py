# SPDX-License-Identifier: Apache-2.0
"""The parity certificate of a trained model: the same numbers in every framework that is installed?

It is made in a process of its own, as `distilbert verify` would: the frameworks that training did not need stay out of
this one, with their threads and the memory that they take of a GPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import distilbert
from distilbert.backend import BACKENDS, installed
from distilbert.errors import DistilBertError
from distilbert.files import read_json
from distilbert.model_cards.parity import Parity

CERTIFICATE_NAME = "parity.json"
_LIMIT = 1800.0  # seconds


def certify(folder: Path, limit: float = _LIMIT) -> Parity:
    """Compare a model in all installed frameworks and write `parity.json` beside it.

    No error of it ends a training: what went wrong is in the result.

    Args:
        folder: of the model.
        limit: seconds to wait.
    """
    missing = tuple(BACKENDS[name].title for name in BACKENDS if name not in installed())
    path = folder.resolve() / CERTIFICATE_NAME
    path.unlink(missing_ok=True)
    root = str(Path(distilbert.__file__).parent.parent)
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "distilbert", "verify", folder.resolve().name, "--certificate", str(path)],
            cwd=folder.resolve().parent,  # so that the certificate names the folder and not where it is
            env={**os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
        )
        if path.is_file():
            return Parity(read_json(path), missing)
        return Parity(None, missing, _last_line(ended.stderr) or f"distilbert verify ended with {ended.returncode}")
    except subprocess.TimeoutExpired:
        return Parity(None, missing, f"distilbert verify took more than {limit:g} s")
    except (OSError, DistilBertError) as error:
        return Parity(None, missing, str(error))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.startswith("error:")]
    return lines[-1].removeprefix("error: ") if lines else ""
