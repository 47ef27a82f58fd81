# SPDX-License-Identifier: Apache-2.0
"""Question answering: as transformers' pipeline on the same checkpoint, and the same in the three frameworks."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distilbert
from distilbert import DistilBertConfig, DistilBertTokenizer
from distilbert.errors import DistilBertError, FileError, InputError
from distilbert.pipelines import Pipeline, squad
from distilbert.pipelines.spans import candidates

from .pipeline_samples import AWKWARD, assert_same, theirs
from .samples import random_tensors, write_model
from .test_parity import backends

TASK = "question-answering"
Item = dict[str, str]
SHORT = {"question": "Where does Wolfgang live?", "context": "My name is Wolfgang and I live in Berlin."}
OTHER = {"question": "Who lives there?", "context": "Sarah (from London) isn't in Paris; she's at home."}
OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "five": {"top_k": 5},
    "no-answer": {"handle_impossible_answer": True},
    "five-or-no-answer": {"handle_impossible_answer": True, "top_k": 5},
    "tokens": {"align_to_words": False},
    "five-of-tokens": {"align_to_words": False, "top_k": 5, "max_answer_len": 3},
    "one-token": {"max_answer_len": 1},
    "long-answers": {"max_answer_len": 1000, "top_k": 3},
    "windows": {"max_seq_len": 96, "doc_stride": 24, "top_k": 5, "handle_impossible_answer": True},
    "windows-of-usual-stride": {"max_seq_len": 80, "align_to_words": False},
    "no-stride": {"max_seq_len": 100, "doc_stride": 0},
    "question-length": {"max_question_len": 2, "padding": "max_length"},
}


def write_answerer(folder: Path, data_folder: Path, sharpness: float = 1.0, padding_side: str = "right") -> Path:
    """A random model for 512 tokens; the sharper, the surer it is of its answers."""
    config = DistilBertConfig(
        vocab_size=30522, dim=32, n_layers=2, n_heads=4, hidden_dim=37, max_position_embeddings=512, num_labels=2
    )
    tensors = random_tensors(config, TASK)
    tensors["qa_outputs.weight"] = tensors["qa_outputs.weight"] * np.float32(sharpness)
    write_model(folder, config, TASK, tensors)
    vocabulary = data_folder / "vocab" / "bert-base-uncased" / "vocab.txt"
    DistilBertTokenizer(vocabulary, model_max_length=512, padding_side=padding_side).save_pretrained(folder)
    return folder


def as_list(result: Any) -> list[dict[str, Any]]:
    return result if isinstance(result, list) else [result]


@pytest.fixture(scope="module")
def questions(data_folder: Path) -> list[squad.Question]:
    return squad.read_questions(data_folder / "squad_v1.1_dev" / "dev-v1.1.json")


@pytest.fixture(scope="module")
def items(questions: list[squad.Question]) -> list[Item]:
    """Questions on texts of the usual length, on the longest ones, and on the shortest."""
    by_length = sorted(questions, key=lambda entry: len(entry.context))
    chosen = [*random.Random(0).sample(questions, 30), *by_length[:25:5], *by_length[-25::5]]
    return [{"question": entry.question, "context": entry.context} for entry in chosen]


@pytest.fixture(scope="module")
def folder(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_answerer(tmp_path_factory.mktemp("answers"), data_folder)


@pytest.fixture(scope="module")
def sure_folder(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_answerer(tmp_path_factory.mktemp("sure"), data_folder, sharpness=6)


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return distilbert.pipeline(TASK, folder, backend="pt")


# As transformers.


@pytest.mark.parametrize("name", OPTIONS)
def test_real_questions_as_transformers(folder: Path, pipe: Pipeline, items: list[Item], name: str) -> None:
    pytest.importorskip("transformers")
    chosen = items if name in ("none", "five-or-no-answer") else items[::3]
    found = pipe(chosen, **OPTIONS[name])
    assert_same(found, theirs(TASK, folder)(chosen, **OPTIONS[name]))
    assert len({answer["answer"] for result in found for answer in as_list(result)}) > 5


@pytest.mark.parametrize("name", ["none", "five-or-no-answer", "windows"])
def test_sure_answers_as_transformers(sure_folder: Path, items: list[Item], name: str) -> None:
    pytest.importorskip("transformers")
    mine = distilbert.pipeline(TASK, sure_folder, backend="pt")
    found = mine(items[::2], **OPTIONS[name])
    assert_same(found, theirs(TASK, sure_folder)(items[::2], **OPTIONS[name]))
    assert max(as_list(result)[0]["score"] for result in found) > 0.3


def test_context_first_as_transformers(data_folder: Path, tmp_path: Path, items: list[Item]) -> None:
    """With padding on the left, transformers gives the context first and masks nothing."""
    pytest.importorskip("transformers")
    folder = write_answerer(tmp_path, data_folder, padding_side="left")
    mine, other = distilbert.pipeline(TASK, folder, backend="pt"), theirs(TASK, folder)
    for options in ({}, OPTIONS["windows"], OPTIONS["five-of-tokens"]):
        assert_same(mine(items[::4], **options), other(items[::4], **options))


@pytest.mark.parametrize(
    "item",
    [
        {"question": "What [CLS] is [SEP] it?", "context": "It is [CLS] here [SEP] and [MASK] there, [PAD] or so."},
        {
            "question": "Wer? Ça, c'était où?",
            "context": "Zoë's naïve ﬁancé — 東京 에서 — didn't see ẞ, ＡＢＣ or e\u0301t\u0301.",
        },
        {
            "question": "what " * 100,
            "context": "A question of over a hundred words is not cut, as the documents say. " * 30,
        },
        {"question": " ", "context": "The question is blank, and is one all the same."},
        {"question": "a\0b?", "context": "nul\0 and \u202eright\u202c to שלום left 👩‍👩‍👧‍👦 family 🇩🇪 flag"},
    ],
    ids=["special-tokens", "letters", "long-question", "blank-question", "controls"],
)
def test_odd_texts_as_transformers(folder: Path, pipe: Pipeline, item: Item) -> None:
    pytest.importorskip("transformers")
    other = theirs(TASK, folder)
    for options in ({}, {"top_k": 3}, {"top_k": 3, "align_to_words": False}, {"handle_impossible_answer": True}):
        assert_same(pipe(item, **options), other(item, **options))


def test_forms_of_input_as_transformers(folder: Path, pipe: Pipeline) -> None:
    pytest.importorskip("transformers")
    other = theirs(TASK, folder)
    questions = [SHORT["question"], OTHER["question"]]
    contexts = [SHORT["context"], OTHER["context"]]
    forms: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((), SHORT),
        ((SHORT,), {}),
        (([SHORT, OTHER],), {}),
        (([SHORT],), {}),
        ((SHORT, OTHER), {}),
        ((questions[0], contexts[0]), {}),
        ((), {"question": questions, "context": contexts}),
        ((), {"question": questions, "context": contexts[0]}),
        ((), {"question": questions[:1], "context": contexts[:1]}),
    ]
    for inputs, named in forms:
        assert_same(pipe(*inputs, **named), other(*inputs, **named))
    assert pipe(iter([SHORT])) == [pipe(SHORT)]
    assert pipe([]) == []


# By itself.


@backends
def test_same_in_every_backend(folder: Path, pipe: Pipeline, items: list[Item], name: str) -> None:
    mine = distilbert.pipeline(TASK, folder, backend=name)
    for options in (OPTIONS["five-or-no-answer"], OPTIONS["windows"]):
        assert_same(mine(items[::4], **options), pipe(items[::4], **options))


def test_answers_are_where_they_say(pipe: Pipeline, items: list[Item]) -> None:
    for item, result in zip(items, pipe(items, top_k=4, max_seq_len=128), strict=True):
        scores = [answer["score"] for answer in result]
        assert scores == sorted(scores, reverse=True)
        assert len({answer["answer"].lower() for answer in result}) == len(result) == 4
        for answer in result:
            assert item["context"][answer["start"] : answer["end"]] == answer["answer"] != ""


def test_answers_of_the_same_text_are_added_up(pipe: Pipeline) -> None:
    ids = pipe.tokenizer("which?", "Red red")["input_ids"]  # [CLS] which ? [SEP] red red [SEP]
    (answer,) = pipe.fast.run([ids])
    starts, ends = (np.exp(logits[[0, 4, 5]].astype(float)) for logits in (answer.start_logits, answer.end_logits))
    both = starts[1:] * ends[1:] / (starts.sum() * ends.sum())
    found = pipe(question="which?", context="Red red", top_k=9, max_answer_len=1)
    place = int(both.argmax())
    score, start = float(both.sum()), 4 * place
    assert_same(found, {"score": score, "start": start, "end": start + 3, "answer": ["Red", "red"][place]})


def test_no_answer_is_one_of_them(pipe: Pipeline) -> None:
    without, including = (pipe(SHORT, top_k=500, handle_impossible_answer=value) for value in (False, True))
    (empty,) = (answer for answer in including if answer["answer"] == "")
    assert (empty["start"], empty["end"]) == (0, 0)
    assert 0 < empty["score"] < 1
    assert [answer for answer in including if answer is not empty] == without


def test_no_answer_is_as_probable_as_where_it_is_least(pipe: Pipeline, items: list[Item]) -> None:
    options = {"max_seq_len": 90, "top_k": 10_000, "handle_impossible_answer": True}
    (encoded,) = pipe.encode(items[:1], pipe.check(pipe.defaults, options))
    scores = []
    for ids, answer in zip(encoded.sequences, pipe.fast.run(encoded.sequences), strict=True):
        counted = [0, *range(ids.index(102) + 1, len(ids) - 1)]  # [CLS], and what is between both [SEP]
        starts, ends = (np.exp(logits[counted].astype(float)) for logits in (answer.start_logits, answer.end_logits))
        scores.append(starts[0] * ends[0] / (starts.sum() * ends.sum()))
    assert len(scores) > 2
    (empty,) = (answer for answer in pipe(items[0], **options) if answer["answer"] == "")
    assert empty["score"] == pytest.approx(min(scores), rel=1e-5)


def test_texts_without_words_have_no_answer(pipe: Pipeline) -> None:
    nothing = {"score": 0.0, "start": 0, "end": 0, "answer": ""}
    for blank in (" ", "\u200b\u0301", "\0"):
        item = {"question": "who?", "context": blank}
        assert pipe(item) == pipe(item, top_k=5, align_to_words=False) == nothing
        assert pipe(item, handle_impossible_answer=True) == {**nothing, "score": 1.0}


def test_texts_without_words_as_transformers(folder: Path, pipe: Pipeline) -> None:
    pytest.importorskip("transformers")
    other = theirs(TASK, folder)
    for options in ({}, {"align_to_words": False}, {"handle_impossible_answer": True}):
        item = {"question": "who?", "context": " \n"}
        assert_same(pipe(item, **options), other(item, **options))


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD.keys())
def test_awkward_texts(pipe: Pipeline, text: str) -> None:
    if not text:
        with pytest.raises(InputError, match="2 problems\n  - question: is empty\n  - context: is empty"):
            pipe(question=text, context=text)
        return
    for question, context in ((text, text), ("who?", text), (text, "Someone else.")):
        for answer in as_list(pipe(question=question, context=context, top_k=3)):
            assert math.isfinite(answer["score"])
            assert answer["answer"] == context[answer["start"] : answer["end"]]


def test_a_long_book_is_read_in_windows(pipe: Pipeline, data_folder: Path) -> None:
    book = (data_folder / "novels_public_domain" / "Burnett_Garden_1911.txt").read_text(encoding="utf-8")[:100_000]
    found = pipe(question="Who found the key?", context=book)
    assert book[found["start"] : found["end"]] == found["answer"]


def test_windows_are_no_longer_than_the_model_takes(pipe: Pipeline, items: list[Item]) -> None:
    longest = items[-1]
    assert pipe(longest, max_seq_len=10_000) == pipe(longest, max_seq_len=512)
    encoded = pipe.encode([longest] * 2, pipe.check(pipe.defaults, {"max_seq_len": 10_000}))
    assert [max(map(len, entry.sequences)) for entry in encoded] == [512, 512]


def test_stream_keeps_errors_in_their_places(pipe: Pipeline) -> None:
    wrong: list[Any] = [
        "text",
        {"question": "who?"},
        {**SHORT, "question": "\ud800"},
        {**SHORT, "question": "who " * 600},
        {**SHORT, "id": 1},
    ]
    found = list(pipe.stream(iter([SHORT, *wrong, OTHER]), keep_errors=True))
    assert [found[0], found[-1]] == pipe([SHORT, OTHER])
    messages = ["found str", "context: missing", "surrogate", "has 600 tokens, which leaves 0 of 384", "id: unknown"]
    for error, message in zip(found[1:-1], messages, strict=True):
        assert isinstance(error, DistilBertError)
        assert message in str(error)
    with pytest.raises(InputError, match="input 1: inputs: expected {'question'"):
        list(pipe.stream([SHORT, *wrong]))


@pytest.mark.parametrize(
    ("inputs", "named", "message"),
    [
        ((), {}, "expected two texts, or a list and a text, or two lists; found NoneType and NoneType"),
        ((), {"question": "who?", "context": ["a", "b"]}, "found str and list"),
        ((), {"question": ["who?", "why?"], "context": ["a"]}, "expected as many of both, found 2 and 1"),
        ((SHORT,), {"question": "who?"}, "found both"),
        (("who?",), {}, "or a list of these; found str"),
        ((5,), {}, "found int"),
        (([SHORT, 5],), {}, "input 1: inputs: expected .*found int"),
        (({"question": "who?", "context": None},), {}, "context: expected str, found NoneType"),
        (
            ({"question": 5, "contxt": ""},),
            {},
            "(?s)3 problems.*contxt: unknown.*question: expected str.*context: missing",
        ),
        ((), {**SHORT, "max_seq_len": 8}, "question: has 5 tokens, which leaves 0 of 8 for the context"),
    ],
)
def test_wrong_inputs(pipe: Pipeline, inputs: tuple[Any, ...], named: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pipe(*inputs, **named)


def test_a_stride_without_room_is_refused(pipe: Pipeline, items: list[Item]) -> None:
    for stride in (29, 50, 70):
        with pytest.raises(
            InputError, match=f"which leaves 29 of 60 for the context, and windows with doc_stride {stride}"
        ):
            pipe(items[-1], max_seq_len=60, doc_stride=stride)
    assert pipe(items[-1], max_seq_len=60, doc_stride=28)["answer"]


def test_wrong_options_are_listed(pipe: Pipeline) -> None:
    wrong = {"top_k": 0, "max_answer_len": True, "max_question_len": "1", "max_seq_len": 0, "doc_stride": -1}
    with pytest.raises(InputError) as caught:
        pipe(SHORT, **wrong, k=1)
    assert "6 problems" in str(caught.value)
    for name in wrong:
        assert f"{name}: expected a number of at least {int(name != 'doc_stride')}, found" in str(caught.value)


# Spans.


def test_spans_are_those_of_the_whole_matrix() -> None:
    random = np.random.default_rng(0)
    for length in (1, 2, 5, 17, 60):
        for longest in (1, 3, 15, 100):
            starts, ends = random.integers(-3, 3, (2, length)).astype(np.float32)  # whole numbers: with many ties
            allowed = random.random(length) < 0.7
            allowed[0] = False
            counted = np.exp(np.array([starts, ends], np.float64)) * (allowed | (np.arange(length) == 0))
            first, last = counted / counted.sum(1, keepdims=True)
            expected = sorted(
                (-first[start] * last[end], start, end)
                for start in np.flatnonzero(allowed)
                for end in np.flatnonzero(allowed)
                if start <= end < start + longest
            )
            for count in (1, 4, 10_000):
                found = candidates(starts, ends, allowed, count, longest)
                np.testing.assert_allclose([s.score for s in found.spans], [-e[0] for e in expected[:count]], 1e-12)
                assert found.no_answer == pytest.approx(first[0] * last[0], rel=1e-12)
                assert {(s.start, s.end) for s in found.spans} <= {e[1:] for e in expected}


def test_equal_spans_are_in_the_order_of_the_text() -> None:
    flat = np.zeros(50, np.float32)
    allowed = np.arange(50) > 4
    found = candidates(flat, flat, allowed, 5, 2)
    assert [(span.start, span.end) for span in found.spans] == [(5, 5), (5, 6), (6, 6), (6, 7), (7, 7)]


# SQuAD.


@pytest.mark.parametrize(
    ("prediction", "answer", "exact", "similar"),
    [
        ("The  Cat!", "cat", 1, 1),
        ("an apple a day", "Apple, day", 1, 1),
        ("theatre", "atre", 0, 0),
        ("Berlin", "in Berlin", 0, 2 / 3),
        ("the red red car", "red car", 0, 0.8),
        ("state-of-the-art", "stateoftheart", 1, 1),
        ("“Berlin”", "Berlin", 0, 0),
        ("", "Berlin", 0, 0),
        ("the", "a", 1, 0),
    ],
)
def test_exact_match_and_f1_by_hand(prediction: str, answer: str, exact: float, similar: float) -> None:
    assert squad.exact_match(prediction, answer) == exact
    assert squad.f1(prediction, answer) == pytest.approx(similar)


def test_exact_match_and_f1_as_others_compute_them(questions: list[squad.Question]) -> None:
    metrics = pytest.importorskip("transformers.data.metrics.squad_metrics")
    for entry in questions[::10]:
        for prediction in (entry.context[10:40], entry.question, entry.answers[-1] + " the", entry.answers[0][1:]):
            for answer in entry.answers:
                assert squad.normalize(prediction) == metrics.normalize_answer(prediction)
                assert squad.exact_match(prediction, answer) == metrics.compute_exact(answer, prediction)
                if squad.normalize(prediction):
                    assert squad.f1(prediction, answer) == pytest.approx(metrics.compute_f1(answer, prediction))


def test_a_whole_file_is_scored(questions: list[squad.Question]) -> None:
    assert len(questions) == 10_570
    assert all(answer in entry.context for entry in questions for answer in entry.answers)
    references = {entry.id: entry.answers for entry in questions}
    perfect = {entry.id: entry.answers[-1] for entry in questions}
    scores = squad.evaluate(perfect, references)
    # The right answer to one question is ".", of which nothing is left: the official F1 of no words is 0.
    assert scores == {"exact_match": 100, "f1": pytest.approx(100 * 10_569 / 10_570)}
    assert squad.evaluate(dict(list(perfect.items())[::2]), references)["exact_match"] == 50
    with pytest.raises(InputError, match=r"(?s)2 problems.*x: a prediction.*b: no right answer"):
        squad.evaluate({"x": "?"}, {"a": ["!"], "b": []})
    with pytest.raises(InputError, match="no questions"):
        squad.evaluate({}, {})


@pytest.mark.parametrize("content", [{}, {"data": 5}, {"data": ["x"]}, {"data": [{"paragraphs": [{"qas": [{}]}]}]}])
def test_other_files_are_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(content))
    with pytest.raises(FileError, match="squad.json: expected the format of SQuAD v1.1"):
        squad.read_questions(path)
