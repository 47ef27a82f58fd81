# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a training: folders that hold all it takes to go on, in any framework.

`checkpoint-STEP/` is a checkpoint of the model as any other, and besides has `optimizer.safetensors` (AdamW's running
means, float32, `first.NAME` and `second.NAME`, in PyTorch's orientation) and `trainer_state.json`. A folder appears
whole or not at all, so the newest one is always sound.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from distilbert import spec
from distilbert.config import DistilBertConfig
from distilbert.convert import StoredTensor, open_checkpoint, write_checkpoint
from distilbert.convert.tensor import Array
from distilbert.errors import FileError
from distilbert.files import staged_folder, write_json
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.training.checkpoint_reading import (
    OPTIMIZER,
    STATE,
    VERSION,
    check_tensors,
    damage_of,
    read_document,
    read_moments,
)
from distilbert.training.engine import State

_FOLDER = re.compile(r"checkpoint-(0|[1-9][0-9]{0,17})")


@dataclass
class Progress:
    """What is known of a training besides its weights.

    Attributes:
        history: lines of the log and evaluations, each with its step.
        best_metric: of the best evaluation so far.
        best_step: when that was.
        without_gain: evaluations since then.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best_metric: float | None = None
    best_step: int | None = None
    without_gain: int = 0


class Checkpoints:
    """The checkpoints of one training in its output folder."""

    def __init__(
        self,
        folder: Path,
        identity: dict[str, Any],
        config: DistilBertConfig,
        task: str,
        tokenizer: DistilBertTokenizer,
        limit: int | None,
    ) -> None:
        """Say what is trained.

        Args:
            folder: of the training.
            identity: what a checkpoint must have in common with this training to go on from it.
            config, task, tokenizer: of the model.
            limit: how many of the newest to keep, besides the best; None for all.
        """
        self.folder = folder
        self.identity = identity
        self.config = config
        self.task = task
        self.tokenizer = tokenizer
        self.limit = limit

    def path(self, step: int) -> Path:
        """The folder of a step."""
        return self.folder / f"checkpoint-{step}"

    def steps(self) -> list[int]:
        """Steps of which there is a checkpoint, rising."""
        return saved_steps(self.folder)

    def save(self, state: State, progress: Progress) -> Path:
        """Write a checkpoint, and remove those that are no longer kept."""
        path = self.path(state.step)
        if path.exists():
            return path
        try:
            with staged_folder(path) as staged:
                self.write_model(staged, state.weights)
                moments = {f"first.{name}": values for name, values in state.first.items()}
                moments |= {f"second.{name}": values for name, values in state.second.items()}
                save_file({name: np.ascontiguousarray(values) for name, values in moments.items()}, staged / OPTIMIZER)
                write_json(staged / STATE, self._document(state.step, progress))
        except (OSError, SafetensorError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            _, is_staged, inner = reason.rpartition("cannot be written (")
            reason = inner.removesuffix(")") if is_staged else reason  # not where it is staged
            kept = f"from checkpoint-{self.steps()[-1]}" if self.steps() else "from the beginning, as there is none yet"
            advice = f"make room for it, and start the same command again: it goes on {kept}"
            raise FileError(f"{path}: cannot be written ({reason}); {advice}") from error
        self._remove_old(progress.best_step)
        return path

    def write_model(self, folder: Path, weights: dict[str, Array]) -> None:
        """Write weights, config and tokenizer as a checkpoint of the model."""
        tensors = {name: StoredTensor.of(name, values) for name, values in weights.items()}
        config = self.config.replace(architectures=(spec.TASKS[self.task].class_name,))
        write_checkpoint(folder, config, self.task, tensors, format="safetensors")
        self.tokenizer.save_pretrained(folder)

    def latest(self) -> tuple[State, Progress] | None:
        """The newest checkpoint, or None where there is none.

        Raises:
            InputError: it is of another training.
            FileError: it is damaged.
        """
        steps = self.steps()
        return self.load(steps[-1]) if steps else None

    def load(self, step: int) -> tuple[State, Progress]:
        """The state after a step; raises as `latest`."""
        path = self.path(step)
        document = read_document(path, self.identity)
        with damage_of(path):
            weights, moments = self.weights(step), read_moments(path / OPTIMIZER)
            shapes = {tensor.name: tensor.shape for tensor in spec.tensors(self.config, self.task).values()}
            check_tensors(path, shapes, weights, *moments)
        progress = Progress(**{name: document[name] for name in Progress.__dataclass_fields__})
        return State(step, weights, *moments), progress

    def weights(self, step: int) -> dict[str, Array]:
        """The weights after a step."""
        tensors = open_checkpoint(self.path(step)).tensors
        return {name: tensor.load() for name, tensor in tensors.items()}

    def _document(self, step: int, progress: Progress) -> dict[str, Any]:
        return {"version": VERSION, "step": step, **vars(progress), "recipe": self.identity}

    def _remove_old(self, best: int | None) -> None:
        old = self.steps()[: -self.limit] if self.limit else []
        for step in old:
            if step != best:
                shutil.rmtree(self.path(step))


def check_latest(folder: Path, identity: dict[str, Any]) -> None:
    """Raise InputError when the newest checkpoint in a folder is of a training with another identity."""
    for step in saved_steps(folder)[-1:]:
        read_document(folder / f"checkpoint-{step}", identity)


def saved_steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in a folder, rising."""
    names = [_FOLDER.fullmatch(path.name) for path in folder.glob("checkpoint-*")]
    return sorted(int(name[1]) for name in names if name)
