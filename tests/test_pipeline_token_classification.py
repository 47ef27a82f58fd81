# SPDX-License-Identifier: Apache-2.0
"""Token classification: as transformers' pipeline on the same checkpoint, and the same in the three frameworks."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distilbert
from distilbert.errors import InputError, TokenizerError
from distilbert.pipelines import Pipeline
from distilbert.pipelines.entities import STRATEGIES, Piece, Span, group, label_words, without_overlaps

from .pipeline_samples import AWKWARD, LONGEST, assert_same, theirs, write_checkpoint
from .test_parity import backends

TASK = "token-classification"
LABELS = {
    "prefixed": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-MISC", "I-MISC"],
    "plain": ["O", "PER", "LOC", "NOUN", "B-", "I-X-Y", "E-LOC", "X-Y", "o"],
}
TEXT = "Ann of New York's Zürich office met cafe\u0301 owners\u2019 ☃snow [MASK] 각나다 unbelievableness"
WORDS = ["Ann", "New York's", "", "Zürich", "\u200b", "unbelievableness", "☃"]
INPUTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "text": (TEXT, {}),
    "list-of-one": ([TEXT], {}),
    "list": ([TEXT, "", "a b"], {}),
    "delimiter-without-words": (TEXT, {"delimiter": "-"}),
    "words": (WORDS, {"is_split_into_words": True}),
    "lists-of-words": ([WORDS, ["one"], WORDS[:2]], {"is_split_into_words": True}),
    "delimiter": ([WORDS], {"is_split_into_words": True, "delimiter": "--"}),
    "no-delimiter": (WORDS, {"is_split_into_words": True, "delimiter": ""}),
    "none-given": (TEXT, {"ignore_labels": None, "stride": None, "offset_mapping": None}),
    "ignore-nothing": (TEXT, {"ignore_labels": []}),
    "ignore": (TEXT, {"ignore_labels": ["O", "PER", "B-LOC", "unknown"]}),
}


def plain(value: Any) -> Any:
    """The same with Python's own numbers."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


@pytest.fixture(scope="module")
def folders(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("tokens")
    return {
        name: write_checkpoint(top / name, data_folder, TASK, id2label=dict(enumerate(labels)))
        for name, labels in LABELS.items()
    }


@pytest.fixture(scope="module")
def pipes(folders: dict[str, Path]) -> dict[str, Pipeline]:
    return {name: distilbert.pipeline(TASK, folder, backend="pt") for name, folder in folders.items()}


@pytest.fixture(scope="module")
def pipe(pipes: dict[str, Pipeline]) -> Pipeline:
    return pipes["prefixed"]


@pytest.fixture(scope="module")
def others(folders: dict[str, Path]) -> dict[str, Any]:
    pytest.importorskip("transformers")
    return {name: theirs(TASK, folder) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def tweets(data_folder: Path) -> list[list[str]]:
    """Sentences of WNUT 2017 as words."""
    blocks = (data_folder / "wnut17" / "dev.conll").read_text().split("\n\n")[:40]
    return [[line.split("\t")[0] for line in block.splitlines()] for block in blocks]


@pytest.fixture(scope="module")
def passages(data_folder: Path) -> list[str]:
    """Pages of novels, each of several windows."""
    names = ("Doyle_Hound_1902", "Conrad_Almayer_1895", "Woolf_Night_1919")
    novels = [(data_folder / "novels_public_domain" / f"{name}.txt").read_text()[9_000:] for name in names]
    return [novel[: 700 * (place + 1)] for place, novel in enumerate(novels)]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("labels", LABELS)
def test_as_transformers(pipes: dict[str, Pipeline], others: dict[str, Any], labels: str, strategy: str) -> None:
    for inputs, options in INPUTS.values():
        found = pipes[labels](inputs, aggregation_strategy=strategy, **options)
        assert_same(found, plain(others[labels](inputs, aggregation_strategy=strategy, **options)))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("labels", LABELS)
def test_real_text_as_transformers(
    pipes: dict[str, Pipeline],
    others: dict[str, Any],
    tweets: list[list[str]],
    passages: list[str],
    labels: str,
    strategy: str,
) -> None:
    mine, other, options = pipes[labels], others[labels], {"aggregation_strategy": strategy}
    texts = [*map(" ".join, tweets), *passages]
    found = mine(texts, truncation=True, **options)
    assert_same(found, plain(other(texts, **options)))
    assert all(found)
    words = {"is_split_into_words": True, **options}
    assert_same(mine(tweets, truncation=True, **words), plain(other(tweets, **words)))


@pytest.mark.parametrize("stride", [0, 7, 61])
@pytest.mark.parametrize("strategy", STRATEGIES[1:])
@pytest.mark.parametrize("labels", LABELS)
def test_windows_as_transformers(
    pipes: dict[str, Pipeline],
    others: dict[str, Any],
    tweets: list[list[str]],
    passages: list[str],
    labels: str,
    strategy: str,
    stride: int,
) -> None:
    mine, other = pipes[labels], others[labels]
    options = {"aggregation_strategy": strategy, "stride": stride}
    texts = ["short", "", *([passages[0][:400]] if stride == 61 else passages)]
    found = mine(texts, **options)
    assert_same(found, plain(other(texts, **options)))
    assert found[2][-1]["end"] > len(texts[2]) - 60
    words = [[word for tweet in tweets for word in tweet][: 75 if stride == 61 else 150]]
    options["is_split_into_words"] = True
    assert_same(mine(words, **options), plain(other(words, **options)))


def test_smaller_windows(folders: dict[str, Path], pipe: Pipeline, passages: list[str]) -> None:
    tokenizer = distilbert.DistilBertTokenizer.from_pretrained(folders["prefixed"], model_max_length=12)
    small = distilbert.pipeline(TASK, folders["prefixed"], backend="pt", tokenizer=tokenizer)
    options: dict[str, Any] = {"aggregation_strategy": "simple", "stride": 4}
    found = pipe(passages[0], max_length=12, **options)
    assert found == small(passages[0], **options) == small(passages[0], max_length=50, **options)
    assert found != pipe(passages[0], **options)


@backends
def test_same_in_every_backend(
    folders: dict[str, Path], pipes: dict[str, Pipeline], tweets: list[list[str]], passages: list[str], name: str
) -> None:
    for labels, folder in folders.items():
        made, mine = distilbert.pipeline("ner", folder, backend=name), pipes[labels]
        for strategy in STRATEGIES:
            options = {"aggregation_strategy": strategy, "is_split_into_words": True, "truncation": True}
            assert_same(made(tweets[:12], **options), mine(tweets[:12], **options))
        options = {"aggregation_strategy": "average", "stride": 9}
        assert_same(made(passages[:1], **options), mine(passages[:1], **options))


def test_defaults_of_the_pipeline(folders: dict[str, Path], pipe: Pipeline) -> None:
    made = distilbert.pipeline(None, folders["prefixed"], backend="pt", aggregation_strategy="MAX", stride=5)
    assert made.task == TASK
    assert made.defaults.aggregation_strategy == "max"
    assert made(TEXT) == pipe(TEXT, aggregation_strategy="max") == next(made.stream([TEXT]))
    assert made(TEXT, aggregation_strategy=None, ignore_labels=()) == pipe(
        TEXT, aggregation_strategy="max", ignore_labels={"-"}
    )
    words = distilbert.pipeline(TASK, folders["prefixed"], backend="pt", is_split_into_words=True)
    expected = pipe(WORDS, is_split_into_words=True)
    assert words(WORDS) == words(inputs=WORDS) == words(WORDS, is_split_into_words=None) == expected
    assert words([WORDS]) == words(tuple(WORDS)) == words(WORDS for _ in range(1)) == expected
    assert list(words.stream([WORDS])) == expected


@pytest.mark.parametrize("old", [{"grouped_entities": True}, {"grouped_entities": False}, {"ignore_subwords": True}])
@pytest.mark.parametrize("more", [{}, {"ignore_subwords": True}, {"ignore_subwords": False}])
def test_old_names_as_in_transformers(
    folders: dict[str, Path], pipe: Pipeline, others: dict[str, Any], old: dict[str, Any], more: dict[str, Any]
) -> None:
    options = {**more, **old, "aggregation_strategy": "max"}
    with pytest.warns(DeprecationWarning, match=r"old, use aggregation_strategy=") as caught:
        found = pipe(TEXT, **options)
    with pytest.warns(DeprecationWarning, match=r"old, use aggregation_strategy=") as also:
        made = distilbert.pipeline(TASK, folders["prefixed"], backend="pt", **options)
    assert [warning.filename for warning in (*caught, *also)] == [__file__, __file__]
    assert made(TEXT) == found
    assert_same(found, plain(others["prefixed"](TEXT, **options)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pipe(TEXT, grouped_entities=None, ignore_subwords=None) == pipe(TEXT)


def test_results_are_plain(pipe: Pipeline) -> None:
    for strategy in STRATEGIES:
        for found in pipe(TEXT, aggregation_strategy=strategy):
            assert {type(value) for value in found.values()} == {str, float, int}


def test_unknown_words_show_the_text(pipe: Pipeline) -> None:
    words = [found["word"] for found in pipe("Ann saw ☃Snow and [UNK]", ignore_labels=[])]
    assert words == ["ann", "saw", "☃Snow", "and", "[UNK]"]


def offsets_of(pipe: Pipeline, text: str) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = pipe.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    return pairs


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_own_offsets_as_in_transformers(pipe: Pipeline, others: dict[str, Any], strategy: str) -> None:
    text = "unbelievableness hurts"
    pairs = [(start // 2, end // 2) for start, end in offsets_of(pipe, text)]
    options: dict[str, Any] = {"aggregation_strategy": strategy, "ignore_labels": []}
    found = pipe(text, offset_mapping=pairs, **options)
    assert found != pipe(text, **options)
    assert_same(found, plain(others["prefixed"](text, offset_mapping=pairs, **options)))
    assert pipe(text, offset_mapping=np.array([pairs]), **options) == found
    assert pipe([text], offset_mapping=pairs, **options) == [found]
    second = offsets_of(pipe, "a b")
    both = pipe([text, "a b"], offset_mapping=[pairs, second], **options)
    assert both == [found, pipe("a b", **options)]
    items = [{"text": text, "offset_mapping": pairs}, {"text": "a b"}]
    assert list(pipe.stream(items, **options)) == both
    assert pipe(items[0], **options) == found


def test_long_texts_are_not_cut_unasked(pipe: Pipeline, passages: list[str]) -> None:
    message = (
        rf"input 1: text: has \d+ tokens, the model takes {LONGEST}; use a stride with an aggregation_strategy, or"
    )
    with pytest.raises(InputError, match=message):
        pipe(["short", passages[0]])
    cut = pipe(passages[0], truncation=True, ignore_labels=[])
    assert len(cut) == LONGEST - 2
    assert len(pipe(passages[0], max_length=10, ignore_labels=[])) == 8
    assert pipe(passages[0], truncation=True, max_length=99, ignore_labels=[]) == cut


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (5, {}, "expected texts, or a list of these; found int"),
        (["a", 5], {}, "input 1: text: expected str, found int"),
        ([["a", "b"]], {}, "input 0: text: expected str, found a list; use is_split_into_words=True"),
        ("a b", {"is_split_into_words": True}, "words: expected a list of str, as is_split_into_words=True says"),
        ([["a", 1, "b", None]], {"is_split_into_words": True}, r"2 problems\n.*word 1: .*int\n.*word 3: .*NoneType"),
        ({"words": ["a"]}, {}, "expected the keys text and perhaps offset_mapping; found words"),
        ("a", {"offset_mapping": [(0, 1)] * 2}, "expected a pair for each of 3 tokens, found 2"),
        ("a", {"offset_mapping": [[(0, 1)], [(0, 1)]]}, r"expected a pair \(start, end\) for each token"),
        ("a", {"offset_mapping": [(0, 1), (1,)]}, r"expected a pair \(start, end\) for each token"),
        ("a", {"offset_mapping": [(0, -1)] * 3}, r"expected a pair \(start, end\) for each token"),
        ("a", {"offset_mapping": 5}, "expected offset_mapping, pairs of characters"),
        (["a", "b"], {"offset_mapping": [(0, 1)] * 3}, "expected one list for each of 2 texts, found 3"),
        (
            "a " * 99,
            {"offset_mapping": [(0, 1)] * 64, "stride": 1, "aggregation_strategy": "first"},
            "offset_mapping: not for a text that takes several windows",
        ),
        ("a", {"stride": 5}, "stride: needs an aggregation_strategy other than none"),
        ("a", {"stride": 62, "aggregation_strategy": "max"}, "stride: expected at most 61, found 62"),
        ("a", {"stride": 9, "max_length": 9, "aggregation_strategy": "max"}, "stride: expected at most 6, found 9"),
        ("a", {"top_k": 5}, "top_k: unknown; expected"),
        ("half \ud800", {}, "surrogate"),
    ],
)
def test_wrong_calls(pipe: Pipeline, inputs: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pipe(inputs, **options)


def test_wrong_options_are_listed_together(pipe: Pipeline) -> None:
    wrong = {
        "aggregation_strategy": "last",
        "ignore_labels": "O",
        "stride": -1,
        "is_split_into_words": "yes",
        "delimiter": 5,
        "truncation": "some",
        "max_length": 0,
        "nonsense": 1,
    }
    with pytest.raises(InputError, match="8 problems") as caught:
        pipe("a", **wrong)
    assert [line.split(":")[0].strip(" -") for line in str(caught.value).splitlines()[1:]] == [
        "nonsense",
        "truncation",
        "max_length",
        "aggregation_strategy",
        "ignore_labels",
        "stride",
        "is_split_into_words",
        "delimiter",
    ]


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD.keys())
def test_awkward_texts(pipe: Pipeline, others: dict[str, Any], text: str) -> None:
    other = others["prefixed"]
    for strategy in STRATEGIES:
        options: dict[str, Any] = {"aggregation_strategy": strategy, "ignore_labels": []}
        for inputs in (text, f"{text} Ann {text}"):
            assert_same(pipe(inputs, **options), plain(other(inputs, **options)))
        words = {"is_split_into_words": True, **options}
        assert_same(pipe([text, "Ann", text], **words), plain(other([text, "Ann", text], **words)))
    options = {"aggregation_strategy": "first", "stride": 3, "ignore_labels": []}
    long = f"{text[:200]} Ann " * 40
    assert_same(pipe(long, **options), plain(other(long, **options)))


def test_stream_keeps_errors_in_their_places(pipe: Pipeline) -> None:
    items = iter(["Ann", 5, TEXT, "a " * 99, "half \ud800", {"text": "b"}])
    found = list(pipe.stream(items, keep_errors=True, ignore_labels=[]))
    assert [type(result) for result in found] == [list, InputError, list, InputError, TokenizerError, list]
    assert [found[0], found[2], found[5]] == pipe(["Ann", TEXT, "b"], ignore_labels=[])


def test_a_chunk_takes_one_call_of_the_tokenizer(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    plain_call = pipe.tokenizer.batch_encode_plus

    def counted(rows: Any, **options: Any) -> Any:
        sizes.append(len(rows))
        return plain_call(rows, **options)

    monkeypatch.setattr(pipe.tokenizer, "batch_encode_plus", counted)
    pipe([TEXT] * 70, aggregation_strategy="simple", stride=2)
    assert sizes == [70]


def pieces_of(*words: str) -> list[Piece]:
    return [Piece(place, word, place, place + 1, word.startswith("##")) for place, word in enumerate(words)]


@pytest.mark.parametrize(
    ("strategy", "label", "score"), [("first", "A", 0.5), ("average", "C", 0.41), ("max", "B", 0.6)]
)
def test_words_take_one_label(strategy: str, label: str, score: float) -> None:
    scores = np.array([[0.5, 0.2, 0.3], [0.12, 0.3, 0.58], [0.05, 0.6, 0.35], [0.1, 0.1, 0.8]])
    found = label_words(pieces_of("a", "##b", "##c", "d"), scores, ["A", "B", "C"], strategy, "".join)
    assert [(span.label, span.word, span.start, span.end) for span in found] == [
        (label, "a##b##c", 0, 3),
        ("C", "d", 3, 4),
    ]
    assert found[0].score == pytest.approx(score)


def test_groups() -> None:
    names = ["I-A", "I-A", "B-A", "I-A", "I-B", "O", "O", "A", "B-A", "A"]
    spans = [Span(name, place / 10, str(place), place, place + 1) for place, name in enumerate(names)]
    found = group(spans, {"O"}, "".join)
    assert [(span.label, span.word) for span in found] == [
        ("A", "01"),
        ("A", "23"),
        ("B", "4"),
        ("A", "7"),
        ("A", "89"),
    ]
    assert [span.score for span in found] == pytest.approx([0.05, 0.25, 0.4, 0.7, 0.85])
    assert [(span.start, span.end) for span in found] == [(0, 2), (2, 4), (4, 5), (7, 8), (8, 10)]


def test_of_entities_that_overlap_the_longest_then_the_surest_stays() -> None:
    spans = [
        Span("A", 0.9, "a", 0, 4),
        Span("B", 0.1, "b", 2, 8),
        Span("C", 0.3, "c", 8, 10),
        Span("D", 0.4, "d", 9, 11),
        Span("E", 0.4, "e", 10, 12),
        Span("F", 0.1, "f", 12, 13),
    ]
    kept = without_overlaps(reversed(spans))
    assert [span.label for span in kept] == ["B", "D", "F"]
    assert without_overlaps([]) == []
