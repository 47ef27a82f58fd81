# SPDX-License-Identifier: Apache-2.0
"""Models as files that other programs run: ONNX, OpenVINO, torch.export, SavedModel, LiteRT, StableHLO.

`formats.py` lists the formats; each has a file `<name>_format.py` with the same two names: `write(model, path, dtype)`,
which needs the framework that writes it, and `Session(path)`, which needs only what runs it. `exporting.py` puts an
export together and `checking.py` compares it with its source.
"""

from __future__ import annotations

from distilbert.export.exporting import Export, export
from distilbert.export.formats import FORMATS

__all__ = ["FORMATS", "Export", "export"]
