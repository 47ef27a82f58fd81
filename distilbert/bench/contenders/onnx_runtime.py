# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime with the model exported from transformers, optimised and, for int8, quantised by its own tools."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilbert.bench.contenders.base import CLASSIFIER, Base
from distilbert.bench.process import PACKAGE_PARENT

if TYPE_CHECKING:
    from distilbert.bench.contenders.base import Ids, Predict

_EXPORT = "import sys; sys.path.append(sys.argv.pop()); from distilbert.bench.contenders import onnx_export as export"


class Contender(Base):
    """ONNX Runtime on the CPU; texts of many lengths are sorted by length."""

    statement = "import onnxruntime"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, by_length=True)

    def predictor(self, class_name: str) -> Predict:
        """A session with the default settings."""
        session = _session(self._exported(class_name))

        def predict(ids: Ids, mask: Ids) -> Any:
            return session.run(None, {"input_ids": ids, "attention_mask": mask})[0]

        return predict

    def load(self) -> Any:
        """A session from the exported file."""
        file = self._exported(CLASSIFIER)
        return lambda: _session(file)

    def _exported(self, class_name: str) -> Path:
        """The model's file, made in a process of its own: PyTorch's threads have no place in this one."""
        folder = Path(self.workplace) / f"onnx-{class_name}"
        file = folder / f"{self.precision}.onnx"
        if not file.exists():
            program = f"{_EXPORT}; export.main(*sys.argv[1:])"
            command = [sys.executable, "-P", "-c", program, self.model, class_name, self.precision, str(folder)]
            done = subprocess.run([*command, PACKAGE_PARENT], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"export to ONNX failed: {done.stderr.strip().splitlines()[-1]}")
        return file


def _session(file: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
