# SPDX-License-Identifier: Apache-2.0
"""What several rooms take where nobody says otherwise. Imports nothing, so that `--help` can tell it at once."""

from __future__ import annotations

MAX_DROP = 1.0  # points (percent) of quality that fewer bits may cost
