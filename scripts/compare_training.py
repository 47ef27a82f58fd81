# SPDX-License-Identifier: Apache-2.0
"""Fine-tune one model for real tasks, here in each framework and with transformers' Trainer, and compare the metrics.

    python scripts/compare_training.py MODEL [--tasks sst2,wnut17] [--backends pt,tf,flax,hf] [--bf16]
                                              [--seed 42] [--output DIR]

MODEL is any checkpoint that is read, as all-MiniLM-L6-v2. The data is in the folder that DISTILBERT_TEST_DATA names.
Both sides have the same examples, tokens, batch sizes and rates, the same evaluations, of which the best counts, and
the same code for metrics; transformers has its own model, head, shuffling, dropout, optimizer and loop. What is done is
not done again; a training that is killed goes on where it was. The Trainer takes `pip install accelerate`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distilbert import FinetuneRecipe, convert_checkpoint, finetune
from distilbert.convert import open_checkpoint
from distilbert.outputs import QuestionAnsweringModelOutput, SequenceClassifierOutput
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.training import tasks

DATA_SEED = 42  # of what is the same in all runs
USUAL = {
    "per_device_train_batch_size": 32,
    "group_by_length": True,
    "warmup_ratio": 0.06,
    "weight_decay": 0.01,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "load_best_model_at_end": True,
    "save_total_limit": 1,
    "certify": False,
}
SAME = (
    "per_device_train_batch_size", "learning_rate", "num_train_epochs", "warmup_ratio", "weight_decay", "bf16", "seed",
    "eval_strategy", "eval_steps", "group_by_length",
)  # fmt: skip
METRICS = {
    "sst2": "accuracy",
    "stsb": "spearmanr",
    "wnut17": "f1",
    "squad": "f1",
    "copa": "accuracy",
    "cosmos": "accuracy",
}

Recipe = dict[str, Any]


def sst2(data: Path, work: Path) -> Recipe:
    """Sentiment of sentences: GLUE's training and development sets."""
    folder = data / "sst2_glue"
    return {
        "task": "text-classification",
        "train_file": sorted(map(str, folder.glob("train_part*.tsv"))),
        "validation_file": [str(folder / "dev_official_872.tsv")],
        "column": ["text=sentence"],
        "learning_rate": 5e-5,
        "num_train_epochs": 3,
        "eval_strategy": "steps",
        "eval_steps": 250,
    }


def stsb(data: Path, work: Path) -> Recipe:
    """How similar two sentences are, a regression."""
    folder = data / "glue_stsb"
    return {
        "task": "text-classification",
        "train_file": [str(folder / "train.tsv")],
        "validation_file": [str(folder / "dev.tsv")],
        "column": ["text=sentence1", "text_pair=sentence2", "label=score"],
        "problem_type": "regression",
        "learning_rate": 5e-5,
        "num_train_epochs": 4,
    }


def wnut17(data: Path, work: Path) -> Recipe:
    """Names of new things in tweets."""
    folder = data / "wnut17"
    return {
        "task": "token-classification",
        "train_file": [str(next(folder.glob("*train*")))],
        "validation_file": [str(next(folder.glob("*dev*")))],
        "learning_rate": 1e-4,
        "num_train_epochs": 5,
        "per_device_train_batch_size": 16,
    }


def squad(data: Path, work: Path) -> Recipe:
    """Answers in paragraphs: the articles of SQuAD's development set, the last eight held out."""
    articles = json.loads(next((data / "squad_v1.1_dev").glob("*.json")).read_text())["data"]
    for name, part in (("train", articles[:-8]), ("validation", articles[-8:])):
        (work / f"squad-{name}.json").write_text(json.dumps({"version": "1.1", "data": part}))
    return {
        "task": "question-answering",
        "train_file": [str(work / "squad-train.json")],
        "validation_file": [str(work / "squad-validation.json")],
        "max_seq_length": 256,
        "doc_stride": 96,
        "learning_rate": 1e-4,
        "num_train_epochs": 2,
        "per_device_train_batch_size": 16,
    }


def copa(data: Path, work: Path) -> Recipe:
    """Cause or effect: Balanced COPA, pairs of twins kept together, the last 200 held out."""
    root = ElementTree.parse(next((data / "multiple_choice").glob("*copa*.xml"))).getroot()
    rows = []
    for item in root:
        premise, first, second = (str(item.findtext(name)) for name in ("p", "a1", "a2"))
        asked = "What was the cause?" if item.get("asks-for") == "cause" else "What was the effect?"
        label = int(str(item.get("most-plausible-alternative"))) - 1
        rows.append({"prompt": f"{premise} {asked}", "choices": [first, second], "label": label})
    return _choices(rows[:800], rows[800:], work, "copa", 8)


def cosmos(data: Path, work: Path) -> Recipe:
    """What a reader may think of a story, of four: Cosmos QA's validation set, every sixth story held out."""
    with next((data / "multiple_choice").glob("cosmos*.csv")).open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    rows = [
        {
            "prompt": f"{row['context']} {row['question']}",
            "choices": [row[f"answer{number}"] for number in range(4)],
            "label": int(row["label"]),
        }
        for row in found
    ]
    stories = sorted({row["context"] for row in found})
    held = set(stories[::6])
    parts = [
        [row for row, source in zip(rows, found, strict=True) if (source["context"] in held) == out] for out in (0, 1)
    ]
    return _choices(parts[0], parts[1], work, "cosmos", 2)


def _choices(train: Sequence[Any], validation: Sequence[Any], work: Path, name: str, epochs: int) -> Recipe:
    train = random.Random(DATA_SEED).sample(train, len(train))
    for part, rows in (("train", train), ("validation", validation)):
        (work / f"{name}-{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "task": "multiple-choice",
        "train_file": [str(work / f"{name}-train.jsonl")],
        "validation_file": [str(work / f"{name}-validation.jsonl")],
        "learning_rate": 5e-5,
        "num_train_epochs": epochs,
        "per_device_train_batch_size": 16,
        "max_seq_length": 128,
    }


TASKS: dict[str, Callable[[Path, Path], Recipe]] = {
    "sst2": sst2, "stsb": stsb, "wnut17": wnut17, "squad": squad, "copa": copa, "cosmos": cosmos,
}  # fmt: skip


def ours(recipe: Recipe) -> dict[str, float]:
    """Metrics of a training here."""
    return finetune(FinetuneRecipe.from_dict(recipe)).metrics


def theirs(recipe: Recipe) -> dict[str, float]:
    """Metrics of the same training with transformers' model and Trainer; batches and metrics are made here."""
    import torch
    import transformers

    made = FinetuneRecipe.from_dict({**recipe, "backend": "pt"})
    source = Path(made.model_name_or_path)
    task = tasks.find(made.task)(made, DistilBertTokenizer.from_pretrained(source), open_checkpoint(source).config)
    train = task.read(task.files(made.train_file), made.max_train_samples, True)
    validation = task.read(task.files(made.validation_file), made.max_eval_samples, False)
    transformers.set_seed(made.seed)
    title = "".join(map(str.title, task.model_task.split("-")))
    model = getattr(transformers, f"DistilBertFor{title}").from_pretrained(source, **task.config_changes())
    arguments = transformers.TrainingArguments(
        output_dir=f"{made.output_dir}/hf",
        **{name: getattr(made, name) for name in SAME},
        use_cpu=True,
        save_strategy="no",
        logging_steps=100,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    found: list[dict[str, float]] = []

    class Trainer(transformers.Trainer):
        def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
            model.eval()
            with torch.no_grad():
                kept = [task.kept(validation, row, answer(row)) for row in range(len(validation))]
            found.append({f"eval_{name}": value for name, value in task.score(validation, kept).items()})
            model.train()
            return found[-1]

    def answer(row: int) -> Any:
        batch = _tensors(task, validation, [row])
        output = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        fields = {name: value[0].numpy() for name, value in output.items()}
        return (QuestionAnsweringModelOutput if "start_logits" in fields else SequenceClassifierOutput)(**fields)

    Trainer(
        model,
        arguments,
        data_collator=lambda items: _tensors(task, train, [item["row"] for item in items]),
        # The Trainer groups by the length of the ids.
        train_dataset=[{"row": row, "input_ids": range(length)} for row, length in enumerate(train.lengths)],
        eval_dataset=range(len(validation)),
    ).train()
    return max(found, key=lambda metrics: metrics[f"eval_{task.main_metric}"])


def _tensors(task: Any, examples: Any, chosen: Sequence[int]) -> dict[str, Any]:
    """A batch as transformers takes it."""
    import torch

    rows = np.asarray(chosen)
    batch = task.collate(examples, rows, int(examples.lengths[rows].max()), (DATA_SEED, 0))
    del batch["weights"]
    tensors = {name: torch.from_numpy(values) for name, values in batch.items()}
    return {name: values.long() if values.dtype == torch.int32 else values for name, values in tensors.items()}


def main() -> None:
    """Run what is not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--backends", default="pt,tf,flax,hf")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--output", type=Path, default=Path("build/compare_training"))
    given = parser.parse_args()
    data = Path(os.environ.get("DISTILBERT_TEST_DATA", "../shared/data"))
    start = given.output / "model"
    if not start.exists():
        convert_checkpoint(given.model, start, to="safetensors")  # as transformers' DistilBERT can read it too
    for name in given.tasks.split(","):
        for backend in given.backends.split(","):
            folder = given.output / f"{name}-{backend}{'-bf16' if given.bf16 else ''}-seed{given.seed}"
            result = folder / "metrics.json"
            if not result.exists():
                folder.mkdir(parents=True, exist_ok=True)
                recipe = {**USUAL, "model": str(start), "output": str(folder / "out")}
                recipe |= {"bf16": given.bf16, "seed": given.seed}
                recipe |= TASKS[name](data, given.output)
                began = time.monotonic()
                found = theirs(recipe) if backend == "hf" else ours({**recipe, "backend": backend})
                result.write_text(json.dumps({**found, "seconds": time.monotonic() - began}, indent=2))
            metrics = json.loads(result.read_text())
            shown = ", ".join(f"{key.removeprefix('eval_')} {value:.4f}" for key, value in metrics.items())
            sys.stdout.write(f"{name} {backend}: {METRICS[name]} {metrics['eval_' + METRICS[name]]:.4f} ({shown})\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
