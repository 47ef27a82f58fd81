# SPDX-License-Identifier: Apache-2.0
"""Which frameworks are installed, which one is wanted, and what to say when one is missing. Imports none of them."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from distilbert.errors import BackendError
from distilbert.threads import limit_spinning, set_threads_from_environment

ENVIRONMENT_VARIABLE = "DISTILBERT_BACKEND"
logger = logging.getLogger("distilbert")


@dataclass(frozen=True)
class Backend:
    """A framework or runtime: its short name (its extra too), what a reader calls it, and the packages it needs."""

    name: str
    title: str
    packages: tuple[str, ...]
    prefix: str

    @property
    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return _missing(self.packages)

    @property
    def versions(self) -> dict[str, str]:
        """Version of each installed package."""
        installed = [package for package in self.packages if package not in self.missing]
        return {package: _version(package) for package in installed}


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("pt", "PyTorch", ("torch",), ""),
        Backend("tf", "TensorFlow", ("tensorflow", "keras"), "TF"),
        Backend("flax", "JAX/Flax", ("jax", "flax"), "Flax"),
    )
}

# What runs exported files and is no framework; its models are made by `distilbert export`.
RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Backend("onnx", "ONNX Runtime", ("onnxruntime",), ""),
        Backend("openvino", "OpenVINO", ("openvino",), ""),
        Backend("litert", "LiteRT", ("ai_edge_litert",), ""),
    )
}


def installed() -> list[str]:
    """Short names of the frameworks that can be used, in the order of preference."""
    return [name for name, backend in BACKENDS.items() if not backend.missing]


def require(name: str, wanted_by: str) -> None:
    """Raise BackendError with the install command unless the framework or runtime `name` is installed."""
    wanted = (BACKENDS | RUNTIMES)[name]
    if not wanted.missing:
        set_threads_from_environment()
        limit_spinning()
        return
    others = [BACKENDS[other].title for other in installed()] if name in BACKENDS else []
    instead = f"; installed here: {', '.join(others)}" if others else ""
    raise BackendError(
        f"{wanted_by} needs {wanted.title}, but {' and '.join(wanted.missing)} cannot be imported.\n"
        f'  install:  pip install "distilbert[{name}]"{instead}'
    )


def require_packages(packages: Sequence[str], extra: str, wanted_by: str) -> None:
    """Raise BackendError with the install command unless packages, which an extra brings, are installed."""
    if missing := _missing(packages):
        raise BackendError(
            f"{wanted_by} needs {' and '.join(missing)}, which cannot be imported.\n"
            f'  install:  pip install "distilbert[{extra}]"'
        )


def load(name: str, wanted_by: str) -> ModuleType:
    """The module `distilbert.<name>`, or BackendError."""
    require(name, wanted_by)
    return importlib.import_module(f"distilbert.{name}")


def _version(package: str) -> str:
    """The version of what provides a package: that of another name too, as onnxruntime-gpu for onnxruntime."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        names = importlib.metadata.packages_distributions().get(package, ())
        return importlib.metadata.version(names[0]) if names else "unknown"


def _missing(packages: Sequence[str]) -> list[str]:
    return [package for package in packages if importlib.util.find_spec(package) is None]


def choose(argument: str | None = None) -> str:
    """The framework to use: the argument, else DISTILBERT_BACKEND, else the first one installed; says which it took.

    Raises:
        BackendError: for an unknown name, or when no framework is installed.
    """
    wanted, source = argument, "argument"
    if wanted is None:
        wanted, source = os.environ.get(ENVIRONMENT_VARIABLE) or None, ENVIRONMENT_VARIABLE
    if wanted is None:
        wanted, source = next(iter(installed()), None), "first one installed"
    if wanted is None:
        raise BackendError('no framework is installed; pip install "distilbert[pt]" (or [tf], or [flax])')
    if wanted in RUNTIMES:
        raise BackendError(
            f"backend: {wanted} runs exported files, and this is a checkpoint ({source}); "
            f"make one with distilbert export MODEL FOLDER --format {wanted}"
        )
    if wanted not in BACKENDS:
        raise BackendError(f"backend: expected one of {', '.join(BACKENDS)}; found {wanted!r} ({source})")
    logger.info("using %s (%s)", BACKENDS[wanted].title, source)
    return wanted
