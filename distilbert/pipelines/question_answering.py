# SPDX-License-Identifier: Apache-2.0
"""A question and a text to the piece of the text that answers it. Long texts are read in windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Encoding

from distilbert.errors import InputError, describe
from distilbert.outputs import ModelOutput
from distilbert.pipelines.answers import find_answers, question_windows
from distilbert.pipelines.base import Pipeline
from distilbert.pipelines.inputs import as_list, is_count
from distilbert.pipelines.jobs import Encoded
from distilbert.pipelines.options import Options

KEYS = ("question", "context")
EXPECTED = "{'question': ..., 'context': ...}"
USUAL_LENGTH = 384  # tokens of a window
USUAL_STRIDE = 128


@dataclass(frozen=True)
class AnswerOptions(Options):
    """How many answers, how long they may be, and how long texts are read.

    Attributes:
        top_k: how many answers, best first.
        doc_stride: tokens of the context that a window repeats of the one before; default 128, or half of max_seq_len
            if that is less.
        max_answer_len: tokens of an answer, at most.
        max_seq_len: tokens of a window, with its question; default 384, and never more than the model takes.
        max_question_len: changes nothing, as in transformers with a fast tokenizer: questions are not cut.
        handle_impossible_answer: whether "no answer", the empty text, is one of the answers.
        align_to_words: widen answers to whole words.
        padding: taken as transformers takes it, and without effect: the fast model needs none.
    """

    top_k: int = 1
    doc_stride: int | None = None
    max_answer_len: int = 15
    max_seq_len: int | None = None
    max_question_len: int = 64
    handle_impossible_answer: bool = False
    align_to_words: bool = True
    padding: bool | str = False

    def problems(self) -> Iterator[str]:
        for name in ("top_k", "max_answer_len", "max_question_len"):
            if not is_count(getattr(self, name)):
                yield f"{name}: expected a number of at least 1, found {getattr(self, name)!r}"
        if not (self.max_seq_len is None or is_count(self.max_seq_len)):
            yield f"max_seq_len: expected a number of at least 1, found {self.max_seq_len!r}"
        if not (self.doc_stride in (None, 0) or is_count(self.doc_stride)):
            yield f"doc_stride: expected a number of at least 0, found {self.doc_stride!r}"


class QuestionAnswering(Pipeline):
    """`pipe(question="...", context="...")`, with lists of both or one context for a list of questions, or
    `pipe({"question": ..., "context": ...})` or a list of these.

    A result is `{"score": ..., "start": ..., "end": ..., "answer": ...}`, with the answer's place in the context in
    characters; a list of them where there are several. As in transformers, a list of one question gives its result
    alone. Answers of the same text, but for case, count as one: their scores are added up.
    """

    task = "question-answering"
    model_task = "question-answering"
    options_class = AnswerOptions

    def items(self, *inputs: Any, question: Any = None, context: Any = None) -> tuple[list[Any], bool]:
        if inputs and (question is not None or context is not None):
            raise InputError(f"inputs: expected {EXPECTED}, or question and context by name; found both")
        if not inputs:
            found = _paired(question, context)
        elif len(inputs) == 2 and all(isinstance(value, str) for value in inputs):
            found = _paired(*inputs)
        elif len(inputs) > 1:
            found = list(inputs)
        elif isinstance(inputs[0], Mapping):
            found = [inputs[0]]
        else:
            found = as_list(inputs[0], EXPECTED)
        return found, len(found) == 1 and not any(isinstance(value, Iterator) for value in inputs)

    def encode(self, items: Sequence[Any], options: AnswerOptions) -> list[Encoded]:
        pairs = [_as_question(item) for item in items]
        length = min(options.max_seq_len or USUAL_LENGTH, self.max_length)
        stride = min(length // 2, USUAL_STRIDE) if options.doc_stride is None else options.doc_stride
        windows = question_windows(self.tokenizer, pairs, length, stride)
        return [Encoded([window.ids for window in found], found) for found in windows]

    def decode(
        self, item: Any, context: Sequence[Encoding], answers: Sequence[ModelOutput], options: AnswerOptions
    ) -> Any:
        results = find_answers(
            self.tokenizer,
            item["context"],
            context,
            answers,
            options.top_k,
            max_answer_len=options.max_answer_len,
            align_to_words=options.align_to_words,
            handle_impossible_answer=options.handle_impossible_answer,
        )
        return results[0] if len(results) == 1 else results


def _paired(questions: Any, contexts: Any) -> list[Any]:
    """Items of a question and its context, or of a list of questions and their contexts, or the one of all of them."""
    if isinstance(questions, str) and isinstance(contexts, str):
        questions, contexts = [questions], [contexts]
    elif isinstance(questions, list | tuple) and isinstance(contexts, str):
        contexts = [contexts] * len(questions)
    elif not (isinstance(questions, list | tuple) and isinstance(contexts, list | tuple)):
        kinds = " and ".join(type(value).__name__ for value in (questions, contexts))
        raise InputError(f"question, context: expected two texts, or a list and a text, or two lists; found {kinds}")
    if len(questions) != len(contexts):
        raise InputError(f"question, context: expected as many of both, found {len(questions)} and {len(contexts)}")
    return [dict(zip(KEYS, pair, strict=True)) for pair in zip(questions, contexts, strict=True)]


def _as_question(item: Any) -> tuple[str, str]:
    """An item's question and context; InputError lists what is wrong with it."""
    if not isinstance(item, Mapping):
        raise InputError(f"inputs: expected {EXPECTED}, found {type(item).__name__}")
    problems = [f"{name}: unknown; expected question and context" for name in item if name not in KEYS]
    for name in KEYS:
        value = item.get(name)
        if name not in item:
            problems.append(f"{name}: missing")
        elif not isinstance(value, str):
            problems.append(f"{name}: expected str, found {type(value).__name__}")
        elif not value:
            problems.append(f"{name}: is empty")
    if problems:
        raise InputError(describe("inputs", problems))
    return item["question"], item["context"]
