# SPDX-License-Identifier: Apache-2.0
"""A process that trains in TensorFlow, alone or with those of TF_CONFIG: `python tf_worker.py RESULT.npz [LAST STEP]`.

Writes the terms, the weights and the moments; where a last step is given, it is killed before it takes that step.
"""

from __future__ import annotations

import os
import signal
import sys

import numpy as np

from distilbert import DistilBertConfig
from distilbert import tf as models
from distilbert.tf.training import Engine, TaskObjective
from distilbert.training.batch import Batch, normalised, share
from distilbert.training.engine import EngineSettings, TensorPlan

CONFIG = DistilBertConfig(
    vocab_size=99,
    dim=32,
    n_layers=1,
    n_heads=4,
    hidden_dim=37,
    dropout=0.0,
    attention_dropout=0.0,
    seq_classif_dropout=0.0,
    num_labels=3,
)
STEPS = 4


def batch(rows: int, tokens: int, seed: int) -> Batch:
    """Random texts."""
    random = np.random.default_rng(seed)
    return {
        "input_ids": random.integers(5, 99, (rows, tokens)).astype(np.int32),
        "attention_mask": np.ones((rows, tokens), np.int32),
        "labels": random.integers(0, 3, rows).astype(np.int32),
        "weights": np.ones(rows, np.float32),
    }


def main(result: str, last: int) -> None:
    """Train."""
    world = Engine.join()
    model = models.DistilBertForSequenceClassification(CONFIG, seed=0)
    plans = {name: TensorPlan(True, 0.1, 1.0) for name in model.tensor_specs}
    engine = Engine(model, TaskObjective(CONFIG, model.task, 0.0), EngineSettings(plans, world=world))
    found: dict[str, np.ndarray] = {"gathered": np.stack(engine.gathered(np.array([world.rank, 7])))}
    for step in range(STEPS):
        if step == last:
            os.kill(os.getpid(), signal.SIGKILL)
        parts = normalised([batch(4, 9, 2 * step), batch(3, 5, 2 * step + 1)])
        taken = engine.step([share(part, world.rank, world.size) for part in parts], 1e-3, step)
        found[f"step {step}"] = np.array([taken.terms["loss"], taken.gradient_norm])
    state = engine.state()
    for kind, values in (("weights", state.weights), ("first", state.first), ("second", state.second)):
        found |= {f"{kind} {name}": value for name, value in values.items()}
    np.savez(result, **found)
    engine.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else STEPS)
