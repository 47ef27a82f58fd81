# SPDX-License-Identifier: Apache-2.0
"""Do the frameworks give the same numbers? Measured against the NumPy reference; table, JSON and picture."""

from __future__ import annotations

from distilbert.parity.certify import verify
from distilbert.parity.comparing import compare
from distilbert.parity.inputs import SampleCall, sample_calls
from distilbert.parity.measuring import Measurement, relative_error
from distilbert.parity.report import Report

__all__ = ["Measurement", "Report", "SampleCall", "compare", "relative_error", "sample_calls", "verify"]
