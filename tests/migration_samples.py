# SPDX-License-Identifier: Apache-2.0
"""Checkpoints for the scripts in tests/migration, the scripts as they are and rewritten, and the numbers they print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distilbert import DistilBertConfig
from distilbert.convert.formats import FORMATS
from distilbert.migrate.notebook import MAGIC

from .conftest import REPOSITORY
from .samples import TINY, write_model

SCRIPTS = REPOSITORY / "tests" / "migration"
FORWARD, TRAINING = 1e-5, 1e-4  # the largest difference of a number that is printed
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("a", "the", "best", "worst", "fine", "dull", "film", "of", "year", "is", ".", "?")


@dataclass(frozen=True)
class Script:
    """A script: what it needs to run, and how far its numbers may be apart.

    Attributes:
        name: of the file.
        task: of the checkpoint that it loads.
        formats: what the checkpoint is written in; transformers 4.57 reads no other there with the libraries of today.
        bound: on the difference of every number.
    """

    name: str
    task: str
    formats: tuple[str, ...]
    bound: float = FORWARD


ALL = (
    Script("tf_fit.py", "sequence-classification", ("tensorflow",), TRAINING),
    Script("tf_gradient_tape.py", "token-classification", ("tensorflow",), TRAINING),
    Script("tf_runner.py", "sequence-classification", ("tensorflow",), TRAINING),
    Script("tf_masked_lm.py", "masked-lm", ("tensorflow",)),
    Script("tf_functional.py", "encoder", ("tensorflow",), TRAINING),
    Script("flax_train_state.py", "sequence-classification", ("flax",), TRAINING),
    Script("flax_inference.py", "encoder", ("flax",)),
    Script("flax_multiple_choice.py", "multiple-choice", ("flax",)),
    Script("flax_notebook.ipynb", "masked-lm", ("flax",)),
    Script("qa_pipeline.py", "question-answering", ("safetensors",)),
    Script("sentiment_pipeline.py", "sequence-classification", ("pytorch",)),
    Script("ner_auto_model.py", "token-classification", ("safetensors",)),
    Script("convert_pt_to_tf.py", "sequence-classification", ("pytorch",)),
    Script("pt_training.py", "question-answering", ("safetensors",), TRAINING),
)


def write_checkpoint(folder: Path, script: Script) -> Path:
    """A small random checkpoint without dropout, with a tokenizer."""
    labels = 2 if script.task == "question-answering" or script.name == "flax_train_state.py" else 3
    rates = dict.fromkeys(("dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout"), 0.0)
    config: DistilBertConfig = TINY.replace(num_labels=labels, **rates)
    for format in script.formats:
        write_model(folder / format, config, script.task, format=format)
        for file in (folder / format).iterdir():
            file.rename(folder / file.name)
        (folder / format).rmdir()
        assert (folder / FORMATS[format].file_name).is_file()
    known = (*SPECIAL, *WORDS)
    words = [*known, *(f"[unused{number}]" for number in range(TINY.vocab_size - len(known)))]
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": TINY.max_position_embeddings}))
    return folder


def numbers(script: Path, checkpoint: Path, home: Path) -> np.ndarray:
    """Every number that a script prints, run in a process of its own."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("TF_", "KERAS_", "DISTILBERT_"))
    }
    environment |= {
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(home),
    }
    if script.suffix == ".ipynb":
        script = _as_script(script, home / f"{script.parent.name}.py")
    command = [sys.executable, str(script), str(checkpoint)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=home, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{script.name}: {done.stderr[-3000:]}")
    return np.array([float(word) for word in done.stdout.split()])


def _as_script(notebook: Path, path: Path) -> Path:
    """The Python of a notebook's cells."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    python = [MAGIC.sub("", text) for text in texts if not text.startswith("%%")]
    path.write_text("\n".join(python), encoding="utf-8")
    return path
