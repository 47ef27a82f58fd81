# SPDX-License-Identifier: Apache-2.0
"""A question and a text to the piece of the text that answers it. Each window of a long text is an example."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from distilbert.config import DistilBertConfig
from distilbert.errors import DistilBertError, InputError
from distilbert.outputs import ModelOutput
from distilbert.pipelines.answers import context_place, find_answers, question_windows
from distilbert.tables.fields import Fields
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.training import metrics
from distilbert.training.batch import WEIGHTS, Batch, Ragged
from distilbert.training.data import Problems
from distilbert.training.data.growing import GrowingRagged
from distilbert.training.recipes import FinetuneRecipe
from distilbert.training.tasks.file_task import FileTask, Parsed, refuse, text_problem
from distilbert.training.tasks.task import Examples

LONGEST_ANSWER = 30  # tokens, in evaluation: what SQuAD is usually scored with; the pipeline's default is shorter
SCORED = 100  # questions whose windows are in memory at one time
NO_ANSWER = (0, 0)  # places in a window that does not hold the answer: [CLS]

logger = logging.getLogger("distilbert")


class Answer(NamedTuple):
    """Characters `start` to `end` (exclusive) of a context."""

    text: str
    start: int
    end: int


class Question(NamedTuple):
    """A row of a file; the first answer is learned, all of them count in evaluation."""

    question: str
    context: str
    answers: tuple[Answer, ...]


@dataclass
class WindowExamples(Examples):
    """Windows of questions with their texts.

    Attributes:
        ids: token ids of each window.
        spans: (N, 2) int32, first and last token of the answer; NO_ANSWER where the window does not hold it.
        questions: what the windows are of, in order.
        counts: how many windows each question has.
    """

    ids: Ragged
    spans: NDArray[np.int32]
    questions: list[Question]
    counts: list[int]

    def __post_init__(self) -> None:
        self.lengths = self.ids.lengths


class QuestionAnswering(FileTask):
    """Reads `question`, `context` and `answers`, or SQuAD files.

    `answers` is a list of `{"text": ..., "answer_start": ...}` or one such mapping with lists of both, as in the
    `datasets` library; also as JSON. In evaluation the model answers as the pipeline does with
    align_to_words=False: SQuAD is scored by tokens, and some of its answers are parts of words.
    """

    model_task = "question-answering"
    main_metric = "f1"
    fields = Fields(("question", "context", "answers"))
    formats = ("squad",)
    usual_length = 384

    def __init__(
        self, recipe: FinetuneRecipe, tokenizer: DistilBertTokenizer, config: DistilBertConfig | None = None
    ) -> None:
        super().__init__(recipe, tokenizer, config)
        self.stride = min(recipe.doc_stride, self.max_length // 2)
        if self.stride < recipe.doc_stride:
            logger.warning("doc_stride: %d, half of max_seq_length, rather than %d", self.stride, recipe.doc_stride)

    def parse(self, values: Mapping[str, Any]) -> Question:
        question, context = values["question"], values["context"]
        refuse([text_problem("question", question), text_problem("context", context)])
        answers, problems = _read_answers(values["answers"], context)
        if not answers and not problems and not self.recipe.version_2_with_negative:
            problems.append("answers: is empty; questions without an answer need version_2_with_negative")
        refuse(problems)
        return Question(question, context, tuple(answers))

    def read(self, files: Sequence[Path], limit: int | None, learn_labels: bool) -> WindowExamples:
        problems, ids = Problems(), GrowingRagged()
        spans: list[NDArray[np.int32]] = [np.zeros((0, 2), np.int32)]
        questions: list[Question] = []
        counts: list[int] = []
        for chunk in self.parsed(files, limit, problems):
            for question, windows in self._windows(chunk, problems):
                if questions and questions[-1].context == question.context:  # keep each text once
                    question = question._replace(context=questions[-1].context)
                questions.append(question)
                counts.append(len(windows))
                ids.extend([window.ids for window in windows])
                spans.append(np.array([self._span(window, question) for window in windows], np.int32))
        problems.check()
        found = ids.done()
        self.check_tokens(found, files)
        return WindowExamples(found, np.concatenate(spans), questions, counts)

    def config_changes(self) -> dict[str, Any]:
        return {"num_labels": 2}

    def collate(
        self, examples: WindowExamples, rows: NDArray[np.int64], length: int, draws: Sequence[int] | None
    ) -> Batch:
        return {
            **self.inputs(examples.ids, rows, length),
            "start_positions": examples.spans[rows, 0],
            "end_positions": examples.spans[rows, 1],
            WEIGHTS: np.ones(len(rows), np.float32),
        }

    def kept(self, examples: WindowExamples, row: int, answer: ModelOutput) -> ModelOutput:
        """The answer for the tokens that are there."""
        count = int(examples.lengths[row])
        return type(answer)(start_logits=answer.start_logits[:count], end_logits=answer.end_logits[:count])

    def score(self, examples: WindowExamples, answers: Sequence[ModelOutput]) -> dict[str, float]:
        found: list[str] = []
        place = 0
        for start in range(0, len(examples.questions), SCORED):
            questions = examples.questions[start : start + SCORED]
            pairs = [(question.question, question.context) for question in questions]
            windows = question_windows(self.tokenizer, pairs, self.max_length, self.stride)
            for question, own in zip(questions, windows, strict=True):
                found.append(self._best(question, own, answers[place : place + len(own)]))
                place += len(own)
        right = [[answer.text for answer in question.answers] for question in examples.questions]
        return metrics.answers(found, right)

    # Used above.

    def _windows(self, chunk: Sequence[Parsed], problems: Problems) -> Iterator[tuple[Question, list[Encoding]]]:
        """Each question with its windows; those that have none, for want of room, go into `problems`."""
        pairs = [(question.question, question.context) for _, question in chunk]
        try:
            windows = question_windows(self.tokenizer, pairs, self.max_length, self.stride)
            yield from zip([question for _, question in chunk], windows, strict=True)
        except DistilBertError as error:
            if len(chunk) == 1:
                problems.add(chunk[0][0], str(error).replace("max_seq_len ", "max_seq_length "))
                return
            middle = len(chunk) // 2  # in halves, until those are found that are to blame
            yield from self._windows(chunk[:middle], problems)
            yield from self._windows(chunk[middle:], problems)

    def _span(self, window: Encoding, question: Question) -> tuple[int, int]:
        """First and last token of the first answer, if the window holds all of it."""
        if not question.answers:
            return NO_ANSWER
        answer, border = question.answers[0], window.type_ids.index(1)
        begin, end = (border, len(window) - 1) if context_place(self.tokenizer) == 1 else (1, border - 1)
        starts, ends = np.array(window.offsets[begin:end], np.int64).reshape(-1, 2).T
        if not len(starts) or starts[0] > answer.start or ends[-1] < answer.end:
            return NO_ANSWER
        first = int(np.searchsorted(starts, answer.start, "right")) - 1
        return begin + first, begin + int(np.searchsorted(ends, answer.end, "left"))

    def _best(self, question: Question, windows: Sequence[Encoding], answers: Sequence[ModelOutput]) -> str:
        results = find_answers(
            self.tokenizer,
            question.context,
            windows,
            answers,
            1,
            max_answer_len=LONGEST_ANSWER,
            align_to_words=False,
            handle_impossible_answer=self.recipe.version_2_with_negative,
        )
        return str(results[0]["answer"])


def _read_answers(value: Any, context: str) -> tuple[list[Answer], list[str | None]]:
    """The answers of a row, and what is wrong with them."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return [], [f"answers: expected a list, or one in JSON; found {value!r:.60}"]
    if isinstance(value, Mapping) and all(isinstance(value.get(name), list) for name in ("text", "answer_start")):
        if len(value["text"]) != len(value["answer_start"]):
            return [], ["answers: expected as many texts as answer_start"]
        pairs = zip(value["text"], value["answer_start"], strict=True)
        value = [{"text": text, "answer_start": start} for text, start in pairs]
    if not isinstance(value, list | tuple):
        return [], [f"answers: expected a list of {{'text', 'answer_start'}}, found {type(value).__name__}"]
    answers: list[Answer] = []
    problems: list[str | None] = []
    for place, entry in enumerate(value):
        try:
            answers.append(_read_answer(entry, context))
        except InputError as error:
            problems.append(f"answer {place}: {error}")
    return answers, problems


def _read_answer(entry: Any, context: str) -> Answer:
    if not isinstance(entry, Mapping):
        raise InputError(f"expected a text and its answer_start, found {type(entry).__name__}")
    text: Any = entry.get("text")
    start = entry.get("answer_start")
    refuse([text_problem("text", text)])
    if not isinstance(start, int) or isinstance(start, bool) or start < 0:
        raise InputError(f"answer_start: expected a character of the context, found {start!r:.40}")
    if context[start : start + len(text)] != text:
        found = context[start : start + len(text)]
        raise InputError(f"expected {text!r:.60} at character {start} of the context, found {found!r:.60}")
    begin = start + len(text) - len(text.lstrip())
    return Answer(text, begin, begin + len(text.strip()))
