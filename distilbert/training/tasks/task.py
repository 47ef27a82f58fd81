# SPDX-License-Identifier: Apache-2.0
"""What training asks of a task: examples out of files, batches out of examples, metrics out of a model's answers.

Framework-free. Each task has a file of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from distilbert.config import DistilBertConfig
from distilbert.outputs import ModelOutput
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.training.batch import Batch
from distilbert.training.recipes import FinetuneRecipe


class Examples(ABC):
    """Examples of a task, tokenised. Tasks add what they need.

    Attributes:
        lengths: (N,) tokens of each, for batches of similar length.
    """

    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)


class TrainingTask(ABC):
    """A task to be learned.

    Attributes:
        recipe: what the user asked for.
        tokenizer: of the model.
        config: of the model to start from, whose labels are kept where they are the data's; None if there is none.
    """

    model_task: ClassVar[str]  # of spec.TASKS
    main_metric: str  # decides which model is best, unless the recipe says otherwise

    def __init__(
        self, recipe: FinetuneRecipe, tokenizer: DistilBertTokenizer, config: DistilBertConfig | None = None
    ) -> None:
        self.recipe = recipe
        self.tokenizer = tokenizer
        self.config = config

    @abstractmethod
    def read(self, files: Sequence[Path], limit: int | None, learn_labels: bool) -> Any:
        """The examples of some files, all of them checked.

        Args:
            files: as `find_files` gives them.
            limit: how many rows at most.
            learn_labels: True for the training data, whose labels are what the model will know; False to take a label
                that is not among these for an error.

        Raises:
            InputError, FileError: lists what is wrong, with file and row.
        """

    @abstractmethod
    def config_changes(self) -> dict[str, Any]:
        """Fields of the model's config that the training data decides, as num_labels and id2label."""

    @abstractmethod
    def collate(self, examples: Any, rows: NDArray[np.int64], length: int, draws: Sequence[int] | None) -> Batch:
        """A batch of some examples.

        Args:
            examples: what `read` gave.
            rows: (B,) which of them.
            length: tokens to pad to.
            draws: seed of what is drawn at random, to be followed by the number of the example; None in evaluation,
                where the same is drawn every time.

        Returns:
            `input_ids` (B, T) and `attention_mask` (B, T), labels by the names the models have for them, and `weights`:
            1 for what counts in the loss and 0 for what does not.
        """

    def kept(self, examples: Any, row: int, answer: ModelOutput) -> Any:
        """What is to be kept of the model's answer for an example until all are scored: all of it, unless it is large.

        Args:
            examples: what `read` gave.
            row: which of them.
            answer: NumPy arrays without the batch axis; those along tokens may be longer than the example.
        """
        return answer

    @abstractmethod
    def score(self, examples: Any, answers: Sequence[Any]) -> dict[str, float]:
        """Metrics by name, from what was kept of the answer for each example, in their order."""
