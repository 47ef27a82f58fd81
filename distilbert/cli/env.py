# SPDX-License-Identifier: Apache-2.0
"""`distilbert env`: what a bug report needs to say about the machine. Versions are looked up, nothing is imported."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from typing import Any

from distilbert import __version__, backend
from distilbert.cli.console import fact_table, show, show_json
from distilbert.cli.options import Json
from distilbert.errors import BackendError

CORE_PACKAGES = ("numpy", "safetensors", "tokenizers", "huggingface-hub", "h5py", "msgpack", "ml-dtypes")
_FRAMEWORKS = tuple(package for row in backend.BACKENDS.values() for package in row.packages)
_EXTRA_VARIABLES = ("JAX_PLATFORMS", "KERAS_BACKEND", "TF_USE_LEGACY_KERAS", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")


def env(as_json: Json = False) -> None:
    """Show versions and settings, for bug reports."""
    found = environment()
    if as_json:
        show_json(found)
        return
    packages = [(name, version or "not installed") for name, version in found["packages"].items()]
    variables = list(found["variables"].items())
    show(
        fact_table(
            [
                ("distilbert", found["distilbert"]),
                ("Python", found["python"]),
                ("platform", found["platform"]),
                ("CPUs", str(found["cpus"])),
                ("backend", found["backend"] or found["backend_problem"]),
                *packages,
                *variables,
            ]
        )
    )


def environment() -> dict[str, Any]:
    """The facts, ready for JSON; the values of tokens are hidden."""
    chosen, problem = None, None
    try:
        chosen = backend.choose()
    except BackendError as error:
        problem = str(error)
    return {
        "distilbert": __version__,
        "python": sys.version.partition(" ")[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "backend": chosen,
        "backend_problem": problem,
        "packages": {name: _version(name) for name in (*_FRAMEWORKS, *CORE_PACKAGES)},
        "variables": {name: _without_secrets(name, os.environ[name]) for name in sorted(os.environ) if _is_ours(name)},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_ours(name: str) -> bool:
    return name.startswith(("DISTILBERT_", "HF_", "HUGGING_FACE_")) or name in _EXTRA_VARIABLES


def _without_secrets(name: str, value: str) -> str:
    if re.search("TOKEN|SECRET|PASSWORD|KEY", name):
        return "(set, hidden)"
    return re.sub(r"//[^/@]*@", "//(hidden)@", value)  # a user and password in an address
