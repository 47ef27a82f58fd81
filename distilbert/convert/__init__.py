# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: bytes on disk <-> NumPy tensors by canonical name, in any format. No framework is imported here."""

from __future__ import annotations

from distilbert.convert.checkpoint import Checkpoint, open_checkpoint
from distilbert.convert.conversion import Conversion, convert
from distilbert.convert.tensor import StoredTensor
from distilbert.convert.writing import write_checkpoint

__all__ = ["Checkpoint", "Conversion", "StoredTensor", "convert", "open_checkpoint", "write_checkpoint"]
