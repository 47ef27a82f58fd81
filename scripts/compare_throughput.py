# SPDX-License-Identifier: Apache-2.0
"""How fast whole trainings are, here and with transformers' own loops, in one run, one after the other.

    python scripts/compare_throughput.py MODEL [--contenders pt,hf-pt] [--bf16] [--rounds 3] [--steps 100]

MODEL is any checkpoint that is read, as all-MiniLM-L6-v2. Every contender classifies the sentences of SST-2 (in the
folder that DISTILBERT_TEST_DATA names): batches of 32, up to 64 tokens, AdamW with a falling rate, dropout, clipping.
Texts are padded as each loop does it: transformers' Trainer and `fit` to the longest of the batch, its Flax example to
the full length. Contenders take turns, each in a process of its own; shown are sentences per second in the steps after
the first ones, in which graphs are compiled: the upper quartile over the rounds. The Trainer takes `pip install
accelerate`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from distilbert import FinetuneRecipe, convert_checkpoint, finetune
from distilbert.threads import set_threads_from_environment
from distilbert.training.reports import Report

BATCH, LONGEST, RATE, WARM = 32, 64, 5e-5, 100
RIVALS = {"pt": "hf-pt", "tf": "hf-tf", "flax": "hf-flax"}
Tell = Callable[[], None]


def rows(count: int) -> list[tuple[str, int]]:
    """Sentences and their labels, in the order in which they are learned from."""
    path = Path(os.environ.get("DISTILBERT_TEST_DATA", "../shared/data"), "sst2_glue", "train_part1.tsv")
    with path.open(newline="", encoding="utf-8") as file:
        found = [(row[0], int(row[1])) for row in list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]]
    return [found[row] for row in np.random.default_rng(0).permutation(len(found))[:count]]


def ours(backend: str, model: Path, count: int, bf16: bool, tell: Tell, work: Path) -> None:
    """`distilbert finetune`."""

    class Steps(Report):
        def stepped(self, step: int) -> None:
            tell()

    with (work / "train.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text, "label": str(label)}) + "\n" for text, label in rows(count))
    values = {
        "task": "text-classification",
        "model": str(model),
        "train": str(work / "train.jsonl"),
        "output": str(work / "out"),
        "backend": backend,
        "per_device_train_batch_size": BATCH,
        "max_seq_length": LONGEST,
        "learning_rate": RATE,
        "num_train_epochs": 1,
        "bf16": bf16,
        "save_strategy": "no",
        "certify": False,
        "report_to": ["none"],
    }
    finetune(FinetuneRecipe.from_dict(values), [Steps()])


def hf_pt(model: Path, count: int, bf16: bool, tell: Tell, work: Path) -> None:
    """transformers' Trainer."""
    import torch
    import transformers

    class Steps(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            tell()

    torch.set_num_threads(int(os.environ.get("DISTILBERT_THREADS", os.cpu_count() or 1)))
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    chosen = rows(count)
    encoded = tokenizer([text for text, _ in chosen], truncation=True, max_length=LONGEST)
    data = [
        {"input_ids": ids, "attention_mask": mask, "labels": label}
        for ids, mask, (_, label) in zip(encoded["input_ids"], encoded["attention_mask"], chosen, strict=True)
    ]
    arguments = transformers.TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=BATCH,
        num_train_epochs=1,
        learning_rate=RATE,
        bf16=bf16,
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    transformers.Trainer(
        transformers.AutoModelForSequenceClassification.from_pretrained(model),
        arguments,
        train_dataset=data,
        data_collator=transformers.DataCollatorWithPadding(tokenizer),
        callbacks=[Steps()],
    ).train()


def hf_tf(model: Path, count: int, bf16: bool, tell: Tell, work: Path) -> None:
    """`fit` of transformers' TensorFlow model, as in its examples."""
    import tensorflow as tf
    import tf_keras
    import transformers

    if bf16:
        tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    convert_checkpoint(model, work / "tf", "tensorflow")  # this version reads no safetensors in TensorFlow
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)

    def batches() -> Iterator[tuple[dict[str, Any], Any]]:
        chosen = rows(count)
        for start in range(0, count, BATCH):
            texts, labels = zip(*chosen[start : start + BATCH], strict=True)
            encoded = tokenizer(list(texts), truncation=True, max_length=LONGEST, padding=True, return_tensors="np")
            yield {name: encoded[name].astype(np.int32) for name in ("input_ids", "attention_mask")}, np.array(labels)

    class Steps(tf_keras.callbacks.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            tell()

    ids = tf.TensorSpec((None, None), tf.int32)
    kinds = ({"input_ids": ids, "attention_mask": ids}, tf.TensorSpec((None,), tf.int64))
    made = transformers.TFAutoModelForSequenceClassification.from_pretrained(work / "tf")
    steps = count // BATCH
    rate = tf_keras.optimizers.schedules.PolynomialDecay(RATE, steps, 0.0)
    made.compile(
        optimizer=tf_keras.optimizers.Adam(rate, global_clipnorm=1.0),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    made.fit(
        tf.data.Dataset.from_generator(batches, output_signature=kinds).prefetch(2), verbose=0, callbacks=[Steps()]
    )


def hf_flax(model: Path, count: int, bf16: bool, tell: Tell, work: Path) -> None:
    """A compiled step of transformers' Flax model with a train state, every batch padded to the full length."""
    import jax
    import jax.numpy as jnp
    import optax
    import transformers
    from flax.training.train_state import TrainState

    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    made = transformers.FlaxAutoModelForSequenceClassification.from_pretrained(
        model, dtype=jnp.bfloat16 if bf16 else jnp.float32
    )
    rate = optax.linear_schedule(RATE, 0.0, count // BATCH)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate))
    state = TrainState.create(apply_fn=made.__call__, params=made.params, tx=optimizer)

    @jax.jit
    def step(state: Any, batch: Any, key: Any) -> Any:
        def loss(params: Any) -> Any:
            logits = state.apply_fn(**batch["inputs"], params=params, dropout_rng=key, train=True)[0]
            return optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), batch["labels"]).mean()

        value, gradients = jax.value_and_grad(loss)(state.params)
        return state.apply_gradients(grads=gradients), value

    chosen, key = rows(count), jax.random.key(0)
    for start in range(0, count, BATCH):
        texts, labels = zip(*chosen[start : start + BATCH], strict=True)
        encoded = tokenizer(list(texts), truncation=True, max_length=LONGEST, padding="max_length", return_tensors="np")
        inputs = {name: encoded[name] for name in ("input_ids", "attention_mask")}
        key, used = jax.random.split(key)
        state, value = step(state, {"inputs": inputs, "labels": np.array(labels)}, used)
        value.block_until_ready()
        tell()


THEIRS = {"hf-pt": hf_pt, "hf-tf": hf_tf, "hf-flax": hf_flax}


def measure(contender: str, model: Path, steps: int, bf16: bool) -> float:
    """Sentences per second of one contender, in this process."""
    ends: list[float] = []
    count = (WARM + steps) * BATCH
    set_threads_from_environment()
    with tempfile.TemporaryDirectory() as folder:
        arguments = (model, count, bf16, lambda: ends.append(time.perf_counter()), Path(folder))
        THEIRS[contender](*arguments) if contender in THEIRS else ours(contender, *arguments)
    return steps * BATCH / (ends[WARM + steps - 1] - ends[WARM - 1])


def main() -> None:
    """All contenders in turn, and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--contenders", default=",".join(f"{one},{other}" for one, other in RIVALS.items()))
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        sys.stdout.write(f"\n{measure(given.contenders, given.model, given.steps, given.bf16)}\n")
        return
    names = given.contenders.split(",")
    found: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "model"
        convert_checkpoint(given.model, start)  # as transformers' DistilBERT can read it too
        for round_ in range(given.rounds):
            for name in names[:: 1 if round_ % 2 == 0 else -1]:
                command = [sys.executable, __file__, str(start), "--one", "--contenders", name]
                command += ["--steps", str(given.steps), *(["--bf16"] if given.bf16 else [])]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    sys.exit(f"{name}: {done.stderr}")
                found[name].append(float(done.stdout.split()[-1]))
                sys.stderr.write(f"{name}: {found[name][-1]:.1f}/s\n")
    for name in names:
        fast = np.quantile(found[name], 0.75)
        rival = RIVALS.get(name)
        ratio = f", {fast / np.quantile(found[rival], 0.75):.2f}x {rival}" if rival in found else ""
        sys.stdout.write(f"{name}{' bfloat16' if given.bf16 else ''}: {fast:.1f} sentences/s{ratio}\n")


if __name__ == "__main__":
    main()
