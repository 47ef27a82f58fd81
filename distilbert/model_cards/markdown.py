# SPDX-License-Identifier: Apache-2.0
"""Tables and code in Markdown, whatever is in them."""

from __future__ import annotations

import re
from collections.abc import Sequence


def grid(headings: Sequence[str], rows: Sequence[Sequence[str]], sides: str) -> str:
    """A table; `sides` has `l` or `r` for each column."""
    rule = ["---:" if side == "r" else ":---" for side in sides]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in (headings, rule, *rows))


def code(text: str) -> str:
    """A text as code, with as many backticks around as it takes."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    ticks = "`" * (longest + 1)
    space = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
