# SPDX-License-Identifier: Apache-2.0
"""Rows to learn from: the tables of `distilbert.tables`, and files of CoNLL, SQuAD and plain text. Knows no task."""

from __future__ import annotations

from distilbert.training.data.formats import find_files, format_of, read_columns, read_rows
from distilbert.training.data.problems import Place, Problems

__all__ = ["Place", "Problems", "find_files", "format_of", "read_columns", "read_rows"]
