# SPDX-License-Identifier: Apache-2.0
"""`rescue`: an old repository or folder, in any dialect, becomes a clean one that says what it is and proves it."""

from __future__ import annotations

from distilbert.rescuing.facts import Origin, Rescue
from distilbert.rescuing.folder import rescue

__all__ = ["Origin", "Rescue", "rescue"]
