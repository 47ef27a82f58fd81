# SPDX-License-Identifier: Apache-2.0
"""`python -m distilbert`: the same as the command `distilbert`."""

from __future__ import annotations

from distilbert.cli import main

if __name__ == "__main__":
    main()
