# SPDX-License-Identifier: Apache-2.0
"""This package without any framework: its conversions and its import."""

from __future__ import annotations

import tempfile
from pathlib import Path

from distilbert.bench.contenders.base import Base, Call


class Contender(Base):
    """What `distilbert convert` does, and `import distilbert`."""

    statement = "import distilbert; distilbert.DistilBertConfig, distilbert.DistilBertTokenizer"

    def convert(self, format: str) -> Call:
        """Read the model, write it in another format, read that back and compare."""
        from distilbert.convert import convert

        def call() -> None:
            with tempfile.TemporaryDirectory(dir=self.workplace) as folder:
                convert(self.model, Path(folder) / "converted", format)

        return call
