# SPDX-License-Identifier: Apache-2.0
"""The fast path, as far as it needs no framework: packing, streaming, precision and its gate.

`model.for_inference()` makes a `FastModel` from a loaded model; the arithmetic is in `<backend>/inference.py`.
"""

from distilbert.inference.fast_model import FastModel
from distilbert.inference.quality import check_quality

__all__ = ["FastModel", "check_quality"]
