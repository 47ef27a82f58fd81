# SPDX-License-Identifier: Apache-2.0
"""What a teacher is worth: students of one architecture, trained for the same number of steps with and without one.

    python scripts/compare_distillation.py MODEL [--backend pt] [--steps 400] [--teacher_steps 600] [--output DIR]

MODEL is any encoder, as all-MiniLM-L6-v2. It learns masked language modelling on novels and wikitext-2 first, which
makes it the teacher. The students have half of its layers and see the same batches of the same text; what counts is how
well they guess masked words in novels held out and in the test set of wikitext-2. What is done is not done again; a
training that is killed goes on where it was. The data is in the folder that DISTILBERT_TEST_DATA names.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distilbert import DistillRecipe, FinetuneRecipe, distill, finetune, spec
from distilbert.convert import StoredTensor, open_checkpoint, write_checkpoint
from distilbert.initialization import initial_tensors
from distilbert.tokenizer import DistilBertTokenizer

SEED = 42
HELD_OUT = 20  # every so manieth novel is evaluated on
MLM_ALONE = {"alpha_ce": 0.0, "alpha_cos": 0.0}
AT_MASKS = {"restrict_ce_to_mask": True}
USUAL = {
    "max_seq_length": 128,
    "per_device_train_batch_size": 32,
    "warmup_ratio": 0.05,
    "weight_decay": 0.01,
    "max_eval_samples": 20000,
    "bf16": True,
    "seed": SEED,
    "certify": False,
}

Values = dict[str, Any]


def files(data: Path) -> tuple[list[str], list[str]]:
    """To learn from, and to evaluate on."""
    novels = sorted(map(str, (data / "novels_public_domain").glob("*.txt")))
    held_out = novels[::HELD_OUT]
    wikitext = data / "wikitext2"
    return (
        [*(path for path in novels if path not in held_out), str(wikitext / "valid.txt")],
        [*held_out, str(wikitext / "test.txt")],
    )


def new_weights(like: Path, folder: Path) -> Path:
    """A checkpoint of the same architecture that has learned nothing."""
    if not folder.exists():
        config = open_checkpoint(like).config
        drawn = initial_tensors(config, list(spec.tensors(config, "masked-lm").values()), SEED)
        stored = {name: StoredTensor.of(name, values) for name, values in drawn.items()}
        write_checkpoint(folder, config, "masked-lm", stored, format="safetensors")
        DistilBertTokenizer.from_pretrained(like).save_pretrained(folder)
    return folder


def once(result: Path, train: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Metrics of a training, which is done if it was not."""
    if not result.exists():
        metrics = train()
        result.write_text(json.dumps(metrics, indent=2))
    found: dict[str, float] = json.loads(result.read_text())
    return found


def main() -> None:
    """Teacher, students, table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--backend", choices=("pt", "tf", "flax"), default="pt")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--teacher_steps", type=int, default=600)
    parser.add_argument("--output", type=Path, default=Path("build/compare_distillation"))
    given = parser.parse_args()
    train, validation = files(Path(os.environ.get("DISTILBERT_TEST_DATA", "../shared/data")))
    work = given.output
    work.mkdir(parents=True, exist_ok=True)
    usual = {**USUAL, "eval": validation, "backend": given.backend}

    def teacher() -> dict[str, float]:
        values = {"task": "fill-mask", "model": str(given.model), "train": train, "output": str(work / "teacher")}
        return finetune(
            FinetuneRecipe.from_dict({**usual, **values, "learning_rate": 2e-4, "max_steps": given.teacher_steps})
        ).metrics

    def student(name: str, values: Values) -> dict[str, float]:
        named = {"teacher": str(work / "teacher"), "corpus": train, "output": str(work / name)}
        shared = {"corpus_folder": str(work / "corpus"), "max_steps": given.steps}
        return distill(DistillRecipe.from_dict({**usual, **named, **shared, **values})).metrics

    def row(name: str, metrics: dict[str, float]) -> None:
        said = ", ".join(f"{key.removeprefix('eval_')} {value:.4f}" for key, value in metrics.items())
        sys.stdout.write(f"{name}: {said}\n")
        sys.stdout.flush()

    row("teacher", once(work / "teacher.json", teacher))
    row("triple loss", once(work / "triple.json", lambda: student("triple", {})))
    row("triple loss, masked places", once(work / "places.json", lambda: student("places", AT_MASKS)))
    row("masked LM alone", once(work / "alone.json", lambda: student("alone", MLM_ALONE)))
    fresh = new_weights(work / "triple", work / "fresh")
    values = {**MLM_ALONE, "student": str(fresh)}
    row("masked LM alone, new weights", once(work / "new.json", lambda: student("new", values)))


if __name__ == "__main__":
    main()
