# SPDX-License-Identifier: Apache-2.0
"""The section of a card that says how the model is used: a few lines for each framework."""

from __future__ import annotations

from distilbert.backend import BACKENDS
from distilbert.model_cards.names import hub_task

# How a pipeline of the task is called, with an input that says what it takes.
_CALLS = {
    "text-classification": '"A text to be classified."',
    "token-classification": '"A text with names in it, as Ada Lovelace in London."',
    "question-answering": 'question="Who wrote it?", context="Ada Lovelace wrote the first program."',
    "multiple-choice": '"How a story begins", choices=["one way to go on", "another"]',
    "fill-mask": '"A text with one [MASK] in it."',
    "feature-extraction": '"A text."',
}


def usage(name: str, model_task: str) -> str:
    """Paragraphs with code.

    Args:
        name: of the model, as of its folder or repository.
        model_task: of `spec.TASKS`.
    """
    task, blocks = hub_task(model_task), []
    for backend in BACKENDS.values():
        lines = [
            "```python",
            "from distilbert import pipeline",
            f'run = pipeline("{task}", "{name}", backend="{backend.name}")',
            f"print(run({_CALLS[task]}))",
            "```",
        ]
        blocks.append(f'{backend.title} (`pip install "distilbert[{backend.name}]"`):\n\n' + "\n".join(lines))
    return "\n\n".join(blocks)
