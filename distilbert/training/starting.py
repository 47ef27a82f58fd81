# SPDX-License-Identifier: Apache-2.0
"""What every training begins with: the engine of a framework, what it is told, and the model."""

from __future__ import annotations

import importlib
import logging
import warnings
from pathlib import Path
from typing import Any

from distilbert import backend as backends
from distilbert import spec
from distilbert.errors import InputError, WeightsError, describe
from distilbert.training.arguments import TrainingArguments
from distilbert.training.engine import Engine, EngineSettings, World
from distilbert.training.memory import keep_freed_memory
from distilbert.training.plans import tensor_plans

logger = logging.getLogger("distilbert")


def engine_of(backend: str, wanted_by: str) -> type[Engine]:
    """The engine of a framework; BackendError when it is not installed."""
    keep_freed_memory(of_all_threads=backend == "flax")  # before it starts its threads
    backends.load(backend, wanted_by)
    found: type[Engine] = importlib.import_module(f"distilbert.{backend}.training").Engine
    return found


def engine_settings(arguments: TrainingArguments, model: Any, world: World) -> EngineSettings:
    """What an engine is told of a recipe; InputError for what the framework or the model does not have."""
    if arguments.fsdp and model.backend == "tf":
        raise InputError(
            "fsdp: TensorFlow copies weights and optimizer to all processes; leave it out, or take pt or flax"
        )
    return EngineSettings(
        plans=tensor_plans(arguments, model.config, model.task),
        beta1=arguments.adam_beta1,
        beta2=arguments.adam_beta2,
        epsilon=arguments.adam_epsilon,
        max_grad_norm=arguments.max_grad_norm,
        bf16=arguments.bf16,
        gradient_checkpointing=arguments.gradient_checkpointing,
        seed=arguments.seed,
        world=world,
        sharded=arguments.fsdp,
    )


def check_evaluation(arguments: TrainingArguments, validation: Any) -> None:
    """Raise InputError for what needs evaluations where there is no data for them."""
    if validation is not None:
        return
    patient = arguments.early_stopping_patience is not None
    wanted = ["load_best_model_at_end"] if arguments.load_best_model_at_end else []
    wanted += ["early_stopping_patience"] if patient else []
    if wanted:
        raise InputError(f"{' and '.join(wanted)}: name data to evaluate on (--eval)")


def check_smoothing(arguments: TrainingArguments, model: Any) -> None:
    """Raise InputError for label smoothing where labels are no classes."""
    problem = model.config.problem_type
    has_values = model.task == "sequence-classification" and problem not in (None, "single_label_classification")
    if arguments.label_smoothing_factor and (has_values or model.task == "question-answering"):
        what = problem if has_values else model.task
        raise InputError(f"label_smoothing_factor: expected 0 for {what}; only labels that are classes are smoothed")


def dropout_changes(arguments: TrainingArguments) -> dict[str, float]:
    """Fields of the config that the recipe's dropout replaces."""
    if arguments.dropout is None:
        return {}
    return dict.fromkeys(("dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout"), arguments.dropout)


def load_model(backend: str, source: Path, task: str, seed: int, changes: dict[str, Any]) -> Any:
    """The model to begin with.

    A head that is drawn anew is what the user came for, and not warned of; but that of masked language modelling is
    learned in pretraining, and few have the text to learn it again.
    """
    model_class = getattr(backends.load(backend, "training"), spec.TASKS[task].class_name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*(drawn anew|no place for it)")
        warnings.filterwarnings("error", message="(?s).*NaN or infinite weights")
        try:
            model, info = model_class.from_pretrained(
                source, seed=seed, ignore_mismatched_sizes=True, output_loading_info=True, **changes
            )
        except UserWarning as error:
            raise WeightsError(f"{error}; nothing can be learned from there") from None
    body = [entry for entry in info["mismatched_keys"] if not spec.is_head_tensor(entry[0])]
    if body:
        problems = [f"{name}: expected {shape}, found {found}" for name, found, shape in body]
        raise WeightsError(describe(f"{source}: the weights do not fit the config", problems))
    if task == "masked-lm" and info["missing_keys"]:
        logger.warning("%s: has no head for masked language modelling; it is learned from nothing", source)
    return model
