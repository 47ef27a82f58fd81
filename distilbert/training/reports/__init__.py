# SPDX-License-Identifier: Apache-2.0
"""Who is told how a training goes, and what is left of it to read: curves, picture, model card.

Nothing here imports a framework; what an output needs (tensorboardX, matplotlib) is imported when it is made.
"""

from __future__ import annotations

from distilbert.training.reports.report import Report
from distilbert.training.reports.run_facts import DataFile, Plan, RunFacts

__all__ = ["DataFile", "Plan", "Report", "RunFacts"]
