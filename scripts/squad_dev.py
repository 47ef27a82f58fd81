# SPDX-License-Identifier: Apache-2.0
"""SQuAD v1.1 dev through the question-answering pipeline in each framework, and through `predict_files`.

    python scripts/squad_dev.py FOLDER --encoder SRC [--questions 10570] [--backends pt,tf,flax]

An encoder without a trained head gets one from a fixed seed: its answers are poor, but the same everywhere.
It prints exact match and F1 by the official definition, the time, how many answers differ between the frameworks and
between pipeline and files, and the largest difference of a score. Exit code 1 if there is any difference in an answer
or one above 1e-5 in a score. The data is in the folder that DISTILBERT_TEST_DATA names.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import distilbert
from distilbert import backend as backends
from distilbert.convert import open_checkpoint
from distilbert.pipelines.squad import Question, evaluate, read_questions
from distilbert.tables import read_rows, write_rows

BOUND = 1e-5  # of a score
Answers = list[dict[str, Any]]


def main() -> int:
    arguments = _arguments()
    folder: Path = arguments.folder
    data = Path(os.environ.get("DISTILBERT_TEST_DATA", "../shared/data")) / "squad_v1.1_dev"
    (source,) = data.glob("*.json")
    questions = read_questions(source)[: arguments.questions]
    model = _with_head(arguments.encoder, folder / "model", arguments.backends[0])
    names: Sequence[str] = arguments.backends
    answers = {name: _answer(model, questions, name) for name in names}
    first = names[0]
    problems = 0
    for name in names[1:]:
        problems += _compare(f"{first}, {name}", answers[first], answers[name])
    filed = _through_files(model, questions, folder, first)
    problems += _compare(f"{first}, files", answers[first], filed)
    return 1 if problems else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--questions", type=int, default=10_570)
    parser.add_argument("--backends", type=lambda text: text.split(","), default=backends.installed())
    return parser.parse_args()


def _with_head(source: str, folder: Path, backend: str) -> Path:
    """The checkpoint itself if it answers questions, else a copy with a seeded head."""
    if open_checkpoint(source).task == "question-answering":
        return Path(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the head is new
        model = distilbert.load(source, "question-answering", backend)
    model.save_pretrained(folder)
    distilbert.DistilBertTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


def _answer(model: Path, questions: Sequence[Question], backend: str) -> Answers:
    pipe = distilbert.pipeline("question-answering", model, backend=backend)
    began = time.perf_counter()
    answers = list(pipe.stream({"question": one.question, "context": one.context} for one in questions))
    seconds = time.perf_counter() - began
    _report(backend, questions, answers, seconds)
    return answers


def _through_files(model: Path, questions: Sequence[Question], folder: Path, backend: str) -> Answers:
    source, target = folder / "questions.jsonl", folder / "answers.jsonl"
    rows = ({"id": one.id, "question": one.question, "context": one.context} for one in questions)
    write_rows(source, "jsonl", rows)
    began = time.perf_counter()
    distilbert.predict_files("question-answering", model, source, target, keep=["id"], backend=backend, overwrite=True)
    answers: Answers = [row.values for row in read_rows(target) if row.values is not None]
    _report("files", questions, answers, time.perf_counter() - began)
    return answers


def _report(name: str, questions: Sequence[Question], answers: Answers, seconds: float) -> None:
    predictions = {one.id: answer["answer"] for one, answer in zip(questions, answers, strict=True)}
    found = evaluate(predictions, {one.id: one.answers for one in questions})
    print(json.dumps({"run": name, "questions": len(answers), **found, "seconds": round(seconds, 1)}), flush=True)


def _compare(name: str, first: Answers, second: Answers) -> int:
    """How many answers differ, or have scores that do."""
    keys = ("answer", "start", "end")
    pairs = list(zip(first, second, strict=True))
    unequal = [number for number, (one, other) in enumerate(pairs) if any(one[key] != other[key] for key in keys)]
    largest = max(abs(one["score"] - other["score"]) for one, other in pairs)
    print(json.dumps({"compared": name, "different": len(unequal), "largest_score_difference": largest}), flush=True)
    for number in unequal[:5]:
        print(f"  {number}: {first[number]} and {second[number]}")
    return len(unequal) + int(largest > BOUND)


if __name__ == "__main__":
    sys.exit(main())
