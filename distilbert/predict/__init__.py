# SPDX-License-Identifier: Apache-2.0
"""Files of any size through a pipeline: `distilbert predict` and `distilbert.predict_files`.

Rows are streamed, worked on in shards, and written so that a run that is killed goes on where it was and ends with the
same bytes.
"""

from __future__ import annotations

from distilbert.predict.api import predict_files
from distilbert.predict.run import Summary

__all__ = ["Summary", "predict_files"]
