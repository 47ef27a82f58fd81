# SPDX-License-Identifier: Apache-2.0
"""Compiled programs kept on disk, so that a process need not compile what an earlier one has."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "DISTILBERT_COMPILE_CACHE"
SHORTEST = 0.1  # seconds of compiling that are worth a file; JAX's own 1 is more than most shapes take


def use_compile_cache() -> None:
    """Let JAX keep its programs in a folder, unless the user has chosen one of JAX's own (or none: "").

    The folder is `distilbert/xla` in the user's cache folder; the environment variable DISTILBERT_COMPILE_CACHE names
    another, or is 0 for none. Like the settings of JAX, it is one for the whole process.
    """
    import jax

    folder = cache_folder()
    if folder is None or jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    try:
        # Programs are run as they are: nobody else may write them.
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return  # no place to keep anything is no reason to fail
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_compilation_cache_dir", str(folder))  # type: ignore[no-untyped-call]
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST)  # type: ignore[no-untyped-call]
    compilation_cache.reset_cache()  # JAX looks for the folder once, at the first program


def cache_folder() -> Path | None:
    """Where programs are kept, or None for nowhere."""
    value = os.environ.get(VARIABLE, "").strip()
    if value == "0":
        return None
    if value:
        return Path(value)
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        return None
    return cache / "distilbert" / "xla"
