# SPDX-License-Identifier: Apache-2.0
"""Facts for a card that are looked up: digests of files, versions, the machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from distilbert.bench.machine import machine
from distilbert.files import file_digest
from distilbert.parity.certificate import environment
from distilbert.training.arguments import TrainingArguments
from distilbert.training.reports.run_facts import DataFile, Plan, RunFacts

_NOT_VERSIONS = ("platform", "machine")


def run_facts(
    recipe: TrainingArguments,
    plan: Plan,
    *,
    base_model: str,
    model_task: str,
    main_metric: str,
    files: Mapping[str, Sequence[Path]],
    examples: Mapping[str, int],
    steps: int,
    metrics: Mapping[str, float],
    accelerator: str,
) -> RunFacts:
    """All facts of a training; arguments as in `RunFacts`, and the files of each split.

    Raises:
        FileError: a file is no longer there.
    """
    return RunFacts(
        name=Path(recipe.output_dir).resolve().name,
        model_task=model_task,
        base_model=base_model,
        recipe=recipe,
        plan=plan,
        steps=steps,
        files=tuple(file for split, paths in files.items() for file in data_files(split, paths)),
        metrics=metrics,
        main_metric=main_metric,
        environment=versions(plan.backend),
        hardware=hardware(accelerator),
        examples=examples,
    )


def data_files(split: str, paths: Iterable[Path]) -> tuple[DataFile, ...]:
    """The files of a split with the digests of their bytes; FileError when one cannot be read."""
    return tuple(DataFile(path.name, split, file_digest(path)) for path in paths)


def versions(backend: str) -> dict[str, str]:
    """Of this package, NumPy, the framework and Python."""
    return {name: value for name, value in environment((backend,)).items() if name not in _NOT_VERSIONS}


def hardware(accelerator: str) -> str:
    """The machine in one line, with the accelerator that the framework has found, or ""."""
    found = machine()
    memory = f"{found['memory_bytes'] / 2**30:.0f} GiB" if found["memory_bytes"] else ""
    return ", ".join(filter(None, [str(found["cpu"]), f"{found['cpus']} CPUs", memory, accelerator]))
