# SPDX-License-Identifier: Apache-2.0
"""Weights in large pages of memory: a call on a few tokens is one pass over all weights, and each page costs time."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable

VARIABLE = "DISTILBERT_HUGE_PAGES"

_PAGE = 2 * 2**20
_ADVISE, _COLLAPSE = 14, 25  # MADV_HUGEPAGE; MADV_COLLAPSE, since Linux 6.1


def use_huge_pages(arrays: Iterable[tuple[int, int]]) -> None:
    """Ask Linux to hold arrays (address, bytes) in pages of 2 MiB; small arrays are left out.

    It is advice: where the kernel has no such pages, or is not Linux, nothing happens. DISTILBERT_HUGE_PAGES=0 switches
    it off.
    """
    if not sys.platform.startswith("linux") or os.environ.get(VARIABLE, "").strip() == "0":
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for address, size in arrays:
        if size >= _PAGE:
            start = address // _PAGE * _PAGE
            end = -(-(address + size) // _PAGE) * _PAGE
            for advice in (_ADVISE, _COLLAPSE):
                madvise(start, end - start, advice)
