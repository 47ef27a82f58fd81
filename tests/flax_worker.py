# SPDX-License-Identifier: Apache-2.0
"""One process of a training in JAX, as the tests start them; it writes what it came to.

Arguments: the file to write, the number of steps, how long each takes at least (seconds).
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from distilbert import DistilBertConfig
from distilbert.flax import DistilBertForMaskedLM
from distilbert.flax.training import Engine, TaskObjective
from distilbert.training.batch import Batch, normalised, share
from distilbert.training.engine import EngineSettings, TensorPlan

CONFIG = DistilBertConfig(
    vocab_size=100, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=32, tie_word_embeddings=False
)


def batch(seed: int, rows: int) -> Batch:
    """Rows of 10 tokens with 3 places to guess, some of which do not count."""
    random = np.random.default_rng(seed)
    return {
        "input_ids": random.integers(5, 100, (rows, 10)).astype(np.int32),
        "attention_mask": np.ones((rows, 10), np.int32),
        "places": random.integers(0, 10, (rows, 3)).astype(np.int32),
        "labels": random.integers(5, 100, (rows, 3)).astype(np.int32),
        "weights": (random.random((rows, 3)) < 0.7).astype(np.float32),
    }


def main(path: str, steps: int, seconds: float) -> None:
    """Train and write losses, norms, the share of a weight and, as a file of NumPy, the weights."""
    world = Engine.join()
    model = DistilBertForMaskedLM(CONFIG, seed=1, dtype="float64")
    plans = dict.fromkeys(model.tensor_specs, TensorPlan(True, 0.1, 1.0))
    engine = Engine(model, TaskObjective(CONFIG, "masked-lm", 0.1), EngineSettings(plans, world=world))
    found = []
    for step in range(steps):
        started = time.monotonic()
        parts = normalised([batch(2 * step, 32), batch(2 * step + 1, 13)])
        result = engine.step([share(part, world.rank, world.size, engine.rows_multiple) for part in parts], 1e-3, step)
        found.append([result.terms["loss"], result.gradient_norm])
        print("step", step, flush=True)
        time.sleep(max(0.0, seconds - (time.monotonic() - started)))
    evaluated, _ = engine.evaluate(batch(1000, 5))
    ranks = [int(rank) for rank in engine.gathered(np.array(world.rank))]
    weight = engine.weights["distilbert.transformer.layer.0.ffn.lin1.weight"]
    state = engine.state()
    engine.load_state(state)
    weights = engine.state().weights  # of all processes together
    if world.is_first:
        np.savez(path + ".npz", **weights)
    facts = {"steps": found, "evaluated": evaluated["loss"], "ranks": ranks, "share": weight.addressable_data(0).shape}
    with open(f"{path}.{world.rank}.json", "w") as file:
        json.dump(facts, file)
    engine.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
