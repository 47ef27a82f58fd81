# SPDX-License-Identifier: Apache-2.0
"""Which number formats the fast path computes in, and which of them this machine is good at."""

from __future__ import annotations

import functools
from pathlib import Path

from distilbert.errors import InputError

DTYPES = ("float32", "bfloat16", "float16", "int8")

# What makes a CPU multiply bfloat16 faster than float32, as Linux calls it.
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def check_dtype(dtype: str) -> str:
    """`dtype`, if it is one of the fast path's."""
    if dtype not in (*DTYPES, "auto"):
        raise InputError(f"dtype: expected one of {', '.join(DTYPES)} or auto; found {dtype!r}")
    return dtype


def best_dtype(on_gpu: bool) -> str:
    """What `auto` means: bfloat16 where the machine computes in it, else float32."""
    return "bfloat16" if on_gpu or cpu_has_bfloat16() else "float32"


@functools.cache
def cpu_has_bfloat16() -> bool:
    """Whether this CPU has instructions for products of bfloat16 numbers."""
    return bool(_BFLOAT16_FLAGS & cpu_flags())


@functools.cache
def cpu_flags() -> frozenset[str]:
    """The features of this CPU as Linux names them; none where that is unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()
