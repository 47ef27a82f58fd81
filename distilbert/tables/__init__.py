# SPDX-License-Identifier: Apache-2.0
"""Rows of files, streamed in and out with bounded memory: CSV, TSV, JSON Lines, Parquet and Arrow.

Nothing here knows models or texts. Parquet and Arrow need pyarrow, the extra `tables`.
"""

from __future__ import annotations

from distilbert.tables.checking import RowCheck
from distilbert.tables.finding import find_inputs
from distilbert.tables.formats import FORMATS, format_of
from distilbert.tables.joining import join_files
from distilbert.tables.kinds import read_kinds
from distilbert.tables.reading import count_rows, read_columns, read_rows
from distilbert.tables.rows import ROW_LIMIT, Row
from distilbert.tables.writing import write_rows

__all__ = [
    "FORMATS",
    "ROW_LIMIT",
    "Row",
    "RowCheck",
    "count_rows",
    "find_inputs",
    "format_of",
    "join_files",
    "read_columns",
    "read_kinds",
    "read_rows",
    "write_rows",
]
