# SPDX-License-Identifier: Apache-2.0
"""How good answers are, by the official definition of SQuAD v1.1: exact match and F1. Its files, read."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilbert.errors import FileError, InputError, describe
from distilbert.files import read_json

_PUNCTUATION = str.maketrans("", "", string.punctuation)  # of ASCII alone, as the definition has it
_ARTICLES = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True)
class Question:
    """A question of a SQuAD file.

    Attributes:
        id: its name in the file.
        question: what is asked.
        context: the text that holds the answer.
        answers: what people marked as the answer.
    """

    id: str
    question: str
    context: str
    answers: tuple[str, ...]


def read_questions(path: Path) -> list[Question]:
    """All questions of a file in the format of SQuAD v1.1, in order.

    Raises:
        FileError: it cannot be read, or is of another form.
    """
    try:
        return [
            Question(entry["id"], entry["question"], paragraph["context"], _texts(entry["answers"]))
            for article in read_json(path)["data"]
            for paragraph in article["paragraphs"]
            for entry in paragraph["qas"]
        ]
    except (KeyError, TypeError) as error:
        raise FileError(f"{path}: expected the format of SQuAD v1.1, data > paragraphs > qas; found {error}") from None


def evaluate(predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """`{"exact_match": ..., "f1": ...}` in percent, over all references.

    Args:
        predictions: an answer for each question's id; a question without one counts as answered wrongly.
        references: for each question's id the right answers, of which the most similar one counts.

    Raises:
        InputError: lists predictions for unknown questions, and questions without a right answer.
    """
    problems = [f"{name}: a prediction for an unknown question" for name in predictions if name not in references]
    problems += [f"{name}: no right answer to compare with" for name, answers in references.items() if not answers]
    if problems or not references:
        raise InputError(describe("SQuAD", problems or ["no questions"]))
    exact = similar = 0.0
    for name, prediction in predictions.items():
        exact += max(exact_match(prediction, answer) for answer in references[name])
        similar += max(f1(prediction, answer) for answer in references[name])
    return {"exact_match": 100 * exact / len(references), "f1": 100 * similar / len(references)}


def exact_match(prediction: str, answer: str) -> float:
    """1 if both are the same once normalised, else 0."""
    return float(normalize(prediction) == normalize(answer))


def f1(prediction: str, answer: str) -> float:
    """Harmonic mean of precision and recall of the normalised words; 0 where there are none."""
    found, right = normalize(prediction).split(), normalize(answer).split()
    common = (Counter(found) & Counter(right)).total()
    return 2 * common / (len(found) + len(right)) if common else 0.0


def normalize(text: str) -> str:
    """In lower case, without punctuation and articles, with single spaces."""
    words = _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION))
    return " ".join(words.split())


def _texts(answers: Any) -> tuple[str, ...]:
    return tuple(answer["text"] for answer in answers)
