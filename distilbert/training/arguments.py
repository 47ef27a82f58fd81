# SPDX-License-Identifier: Apache-2.0
"""How a model is trained, whatever it learns: the arguments of Hugging Face's TrainingArguments, by their names."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from distilbert.training.settings import Settings, setting

STRATEGIES = ("no", "steps", "epoch")
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup")

# What may differ between two runs of which one goes on where the other was: nothing that the weights depend on, and
# the framework, in which they are the same up to rounding.
# (Of a step its examples count, not how processes and passes share them.)
FREE = frozenset(
    {
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "output_dir",
        "backend",
        "overwrite_output_dir",
        "stop_at_step",
        "logging_steps",
        "report_to",
        "save_total_limit",
        "fsdp",
        "certify",
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingArguments(Settings):
    """Arguments that every training has. Steps are optimizer steps; rates and shares are plain numbers, not percent."""

    COMMAND: ClassVar[str]  # that takes them

    output_dir: str = setting(
        dataclasses.MISSING, "Folder for the model, its checkpoints and reports.", alias="output", panel="Run"
    )
    backend: str | None = setting(None, "pt, tf or flax; by default the first installed.", choices=("pt", "tf", "flax"))
    overwrite_output_dir: bool = setting(False, "Begin anew where the folder holds a training already.")
    seed: int = setting(42, "Of the order of the data, new weights, masks and dropout.", least=0)

    per_device_train_batch_size: int = setting(
        8, "Examples of a process in a forward pass.", least=1, panel="Batches and steps"
    )
    per_device_eval_batch_size: int = setting(32, "The same in evaluation.", least=1)
    gradient_accumulation_steps: int = setting(1, "Forward passes whose gradients make one step.", least=1)
    num_train_epochs: float = setting(3.0, "How often all data is seen.", above=0)
    max_steps: int = setting(-1, "Optimizer steps in place of epochs, if positive.", least=-1)
    stop_at_step: int | None = setting(None, "Save and stop after this step; the same command goes on.", least=1)

    learning_rate: float = setting(5e-5, "Of AdamW, at its highest.", least=0, panel="Optimizer")
    lr_scheduler_type: str = setting("linear", "How the rate falls after the warm-up.", choices=SCHEDULES)
    warmup_ratio: float = setting(0.0, "Share of all steps in which the rate rises.", least=0, most=1)
    warmup_steps: int = setting(0, "The same as a number of steps; above 0 it replaces the share.", least=0)
    weight_decay: float = setting(0.0, "Of AdamW; biases and norms do not decay.", least=0)
    adam_beta1: float = setting(0.9, "Of AdamW's mean of gradients.", least=0, below=1)
    adam_beta2: float = setting(0.999, "Of AdamW's mean of squares.", least=0, below=1)
    adam_epsilon: float = setting(1e-8, "Added to AdamW's root mean square.", above=0)
    max_grad_norm: float = setting(1.0, "Longest gradient; 0 does not clip.", least=0)
    label_smoothing_factor: float = setting(0.0, "Share of a label spread over all classes.", least=0, below=1)

    layer_lr_decay: float = setting(
        1.0, "Factor on the rate from each layer to the one below it.", above=0, most=1, panel="What is trained"
    )
    freeze_embeddings: bool = setting(False, "Do not train the embeddings.")
    freeze_layers: int = setting(0, "Do not train the lowest so many layers (nor the embeddings).", least=0)
    dropout: float | None = setting(None, "Replaces every dropout rate of the model.", least=0, below=1)

    bf16: bool = setting(False, "Compute in bfloat16; weights and optimizer stay float32.", panel="Speed and memory")
    gradient_checkpointing: bool = setting(False, "Compute layers twice rather than keep them in memory.")
    fsdp: bool = setting(False, "Spread weights and optimizer over processes, not copy them (not in TensorFlow).")
    group_by_length: bool = setting(False, "Batches of texts of similar length: less padding, coarser shuffling.")
    pad_to_multiple_of: int = setting(8, "Batches are padded to a multiple of this many tokens.", least=1)

    eval_strategy: str = setting(
        "epoch",
        "When to evaluate, if there is data for it.",
        choices=STRATEGIES,
        panel="Evaluation, checkpoints and reports",
    )
    eval_steps: int = setting(500, "Steps between evaluations, with the strategy steps.", least=1)
    save_strategy: str = setting("epoch", "When to save a checkpoint.", choices=STRATEGIES)
    save_steps: int = setting(500, "Steps between checkpoints, with the strategy steps.", least=1)
    save_total_limit: int | None = setting(2, "Newest checkpoints to keep; the best one is kept besides.", least=1)
    load_best_model_at_end: bool = setting(False, "End with the weights of the best evaluation.")
    metric_for_best_model: str | None = setting(None, "By default the task's main metric.")
    greater_is_better: bool | None = setting(None, "By default false for losses, perplexity and mse.")
    early_stopping_patience: int | None = setting(None, "Stop after so many evaluations without gain.", least=1)
    early_stopping_threshold: float = setting(0.0, "What counts as gain.", least=0)
    logging_steps: int = setting(50, "Steps between lines of the log.", least=1)
    certify: bool = setting(True, "In the end compare the model in all installed frameworks.")
    report_to: tuple[str, ...] = setting(("tensorboard",), "Where curves go besides the log: tensorboard, or none.")

    def problems(self) -> list[str]:
        found = super().problems()
        wants_eval = self.load_best_model_at_end or self.early_stopping_patience is not None
        if wants_eval and self.eval_strategy == "no":
            found.append("eval_strategy: the best model and early stopping need evaluations; expected steps or epoch")
        found += [
            f"report_to: expected tensorboard or none, found {name!r}"
            for name in self.report_to
            if name not in ("tensorboard", "none")
        ]
        return found

    def step_examples(self, processes: int) -> int:
        """Examples of a step, over all processes and forward passes."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps * processes

    def identity(self, processes: int) -> dict[str, object]:
        """What two runs must have in common for one to go on where the other was."""
        own = {name: value for name, value in self.to_dict().items() if name not in FREE}
        return {**own, "examples in a step": self.step_examples(processes)}
