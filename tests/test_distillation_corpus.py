# SPDX-License-Identifier: Apache-2.0
"""Texts to shards of token ids and back: the ways, resuming, bad input, bounded memory."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert import DistilBertTokenizer
from distilbert.errors import DistilBertError, FileError, InputError
from distilbert.training.distillation import corpus as corpus_module
from distilbert.training.distillation import texts as texts_module
from distilbert.training.distillation.corpus import NO_LABEL, CorpusSettings, build_corpus
from distilbert.training.distillation.examples import CorpusExamples
from distilbert.training.distillation.shards import Shards, remove_shards
from distilbert.training.distillation.texts import find_texts, read_texts, text_columns

from .distillation_samples import texts, write_tokenizer

COLUMNS = {"text": "text"}


@pytest.fixture
def tokenizer(tmp_path: Path) -> DistilBertTokenizer:
    return write_tokenizer(tmp_path / "tokenizer")


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(texts(60)) + "\n")
    return path


def plain(tokenizer: DistilBertTokenizer, path: Path) -> list[list[int]]:
    found = [line for line in path.read_text().splitlines() if line]
    return [tokenizer.encode(line, add_special_tokens=False) for line in found]


def read(shards: Shards, tokenizer: DistilBertTokenizer) -> list[list[int]]:
    examples = CorpusExamples(shards, tokenizer)
    assert [len(examples[row]) for row in range(len(examples))] == examples.lengths.tolist()
    return [examples[row].tolist() for row in range(len(examples))]


def test_runs_hold_all_tokens_in_order(tmp_path: Path, tokenizer: DistilBertTokenizer, lines: Path) -> None:
    shards = build_corpus(tmp_path / "c", [lines], tokenizer, CorpusSettings(max_seq_length=16))
    rows = read(shards, tokenizer)
    assert all(row[0] == tokenizer.cls_token_id and row[-1] == tokenizer.sep_token_id for row in rows)
    assert {len(row) for row in rows[:-1]} == {16}
    joined = [number for row in rows for number in row[1:-1]]
    expected = [number for row in plain(tokenizer, lines) for number in (*row, tokenizer.sep_token_id)][:-1]
    assert joined == expected
    assert CorpusExamples(shards, tokenizer).counts.tolist() == np.bincount(expected, minlength=len(tokenizer)).tolist()


def test_lines_and_texts(tmp_path: Path, tokenizer: DistilBertTokenizer, lines: Path) -> None:
    expected = plain(tokenizer, lines)
    for way, wanted in (
        ("lines", [row[start : start + 8] for row in expected for start in range(0, len(row), 8)]),
        ("texts", [row[:8] for row in expected]),
    ):
        settings = CorpusSettings(way=way, max_seq_length=10)
        rows = read(build_corpus(tmp_path / way, [lines], tokenizer, settings, shard_tokens=50), tokenizer)
        assert [row[1:-1] for row in rows] == wanted


def test_padded_batches_across_shards(tmp_path: Path, tokenizer: DistilBertTokenizer, lines: Path) -> None:
    monkey = pytest.MonkeyPatch()
    monkey.setattr(corpus_module, "_GROUP_TEXTS", 4)
    with monkey.context():
        settings = CorpusSettings(way="lines", max_seq_length=12)
        shards = build_corpus(tmp_path / "c", [lines], tokenizer, settings, shard_tokens=40)
    monkey.undo()
    assert len(shards.entries) > 3
    examples = CorpusExamples(shards, tokenizer)
    rows = np.random.default_rng(0).permutation(len(examples))[:9]
    ids = examples.ids(rows, 14)
    assert ids.shape == (9, 14)
    assert ids.dtype == np.int32
    for row, found in zip(rows, ids, strict=True):
        length = examples.lengths[row]
        assert found[:length].tolist() == examples[int(row)].tolist()
        assert (found[length:] == tokenizer.pad_token_id).all()
    cut = examples.ids(rows, 6)
    assert (cut[np.arange(9), np.minimum(examples.lengths[rows], 6) - 1] == tokenizer.sep_token_id).all()


def test_labels_by_name_and_number(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    table = tmp_path / "t.jsonl"
    rows = [{"s": "the cat", "y": "good"}, {"s": "a dog", "y": 1}, {"s": "mat", "y": None}, {"s": "tree", "y": "0"}]
    rows += [{"s": "house", "y": " good"}, {"s": "dog", "y": 1.0}, {"s": "dog", "y": " "}]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = CorpusSettings("texts", 12, text_columns(["text=s", "label=y"]), classes={"bad": 0, "good": 1})
    examples = CorpusExamples(build_corpus(tmp_path / "c", [table], tokenizer, settings), tokenizer)
    assert examples.labels is not None
    assert examples.labels.tolist() == [1, 1, NO_LABEL, 0, 1, 1, NO_LABEL]
    table.write_text(json.dumps({"s": "the cat", "y": "ugly"}) + "\n")
    with pytest.raises(InputError, match=r"row 0: label: expected one of bad, good; found 'ugly'"):
        build_corpus(tmp_path / "d", [table], tokenizer, settings)
    table.write_text(json.dumps({"s": "the cat", "y": ["good"]}) + "\n")
    with pytest.raises(InputError, match=r"row 0: label: expected a name or a number, found list"):
        build_corpus(tmp_path / "d", [table], tokenizer, settings)
    table.write_text("".join(json.dumps({"s": "mat", "y": value}) + "\n" for value in (True, False)))
    settings = CorpusSettings("texts", 12, text_columns(["text=s", "label=y"]), classes={"true": 0, "false": 1})
    examples = CorpusExamples(build_corpus(tmp_path / "e", [table], tokenizer, settings), tokenizer)
    assert examples.labels is not None
    assert examples.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\nx,good\n", r"a.csv: .*no column 'lable'; found 'text', 'label'"),
        ("a.jsonl", '{"text": "x", "label": "good"}\n', r"a.jsonl: no row has 'lable'; name the right column"),
        ("a.txt", "x\n", r"a.txt: has lines of text and no columns; leave out --column label=lable"),
    ],
)
def test_a_column_that_is_named_has_to_be_there(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    assert [text.text for text in read_texts(tmp_path / name, text_columns([]))] == ["x"]
    with pytest.raises(DistilBertError, match=message):
        list(read_texts(tmp_path / name, text_columns(["label=lable"])))


def test_columns_are_named_once() -> None:
    assert text_columns(["label=y"]) == {"text": "text", "label": "y"}
    with pytest.raises(InputError, match="expected each field once, found text=a and text=b"):
        text_columns(["text=a", "text=b"])
    with pytest.raises(InputError, match="expected text=NAME or label=NAME, found 'text_pair=b'"):
        text_columns(["text_pair=b"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,text_pair\nx,y\n", r"a.csv: column 'text_pair': pairs of texts are not distilled"),
        ("a.jsonl", '{"text": "x", "text_pair": "y"}\n', r"a.jsonl, row 0: column 'text_pair': pairs of texts"),
    ],
)
def test_pairs_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        list(read_texts(tmp_path / name, COLUMNS))


def test_a_kill_inside_the_first_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"one": np.arange(3), "two": np.arange(4)}
    saved, save = [], np.save

    def kill(stream: Any, values: Any) -> None:
        if saved:
            raise KeyboardInterrupt
        saved.append(values)
        save(stream, values)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(np, "save", kill)
        Shards(tmp_path / "s", {"made": "of"}).add(arrays, {})
    assert [path.name for path in (tmp_path / "s").glob("*.npy")] == ["shard-00000.one.npy"]
    again = Shards(tmp_path / "s", {"made": "of"})
    assert again.entries == []
    again.add(arrays, {})
    assert again.load(0, "two").tolist() == [0, 1, 2, 3]
    with pytest.raises(InputError, match="made: was 'of', is 'other'"):
        Shards(tmp_path / "s", {"made": "other"})


def test_one_process_writes_and_the_next_finds_it(tmp_path: Path) -> None:
    first, second = Shards(tmp_path / "s", {}), Shards(tmp_path / "s", {})
    found: list[bool] = []

    def wait() -> None:
        with second.alone():
            found.append(second.is_complete)

    with first.alone():
        other = threading.Thread(target=wait)
        other.start()
        first.add({"one": np.arange(3)}, {})
        with first.alone():
            assert len(first.entries) == 1
        time.sleep(0.1)
        assert found == []
        first.complete({})
    other.join(10)
    assert found == [True]
    assert len(second.entries) == 1


def test_shards_are_removed_and_nothing_else(tmp_path: Path) -> None:
    shards = Shards(tmp_path / "s", {})
    with shards.alone():
        shards.add({"one": np.arange(3)}, {})
    remove_shards(tmp_path / "s")
    assert not (tmp_path / "s").exists()
    for name, content in (("manifest.json", '{"name": "mine"}'), ("shard-mine.npy", "")):
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / name).write_text(content)
    remove_shards(tmp_path / "mine")
    assert len(list((tmp_path / "mine").iterdir())) == 2


@pytest.mark.parametrize("way", ["runs", "lines", "texts"])
def test_a_killed_run_goes_on_to_the_same_bytes(
    tmp_path: Path, tokenizer: DistilBertTokenizer, lines: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_module, "_GROUP_TEXTS", 4)
    second = tmp_path / "more.txt"
    second.write_text("\n".join(texts(30, seed=5)))
    settings = CorpusSettings(way=way, max_seq_length=12)
    files = [lines, second]
    whole = build_corpus(tmp_path / "whole", files, tokenizer, settings, shard_tokens=60)
    assert len(whole.entries) > 4

    def kill(what: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt

    for _ in range(50):
        calls = 0
        try:
            broken = build_corpus(tmp_path / "broken", files, tokenizer, settings, shard_tokens=60, tell=kill)
            break
        except KeyboardInterrupt:
            assert not list((tmp_path / "broken").glob(".*partial"))
    assert {path.name: path.read_bytes() for path in whole.folder.iterdir()} == {
        path.name: path.read_bytes() for path in broken.folder.iterdir()
    }


def test_done_is_done_and_other_is_refused(tmp_path: Path, tokenizer: DistilBertTokenizer, lines: Path) -> None:
    settings = CorpusSettings(max_seq_length=16)
    first = build_corpus(tmp_path / "c", [lines], tokenizer, settings)
    times = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    build_corpus(tmp_path / "c", [lines], tokenizer, settings)
    assert times == {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    with pytest.raises(InputError, match=r"max_seq_length: was 16, is 20"):
        build_corpus(tmp_path / "c", [lines], tokenizer, CorpusSettings(max_seq_length=20))
    lines.write_text("other text")
    with pytest.raises(InputError, match=r"files: was"):
        build_corpus(tmp_path / "c", [lines], tokenizer, settings)
    (tmp_path / "mine").mkdir()
    np.save(tmp_path / "mine" / "precious.npy", np.zeros(1))
    with pytest.raises(FileError, match="is in the way"):
        build_corpus(tmp_path / "mine", [lines], tokenizer, settings)


def test_limit_and_special_tokens_in_texts(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    path = tmp_path / "c.txt"
    path.write_text("the cat\n\n[MASK] dog\nthe mat\n")
    settings = CorpusSettings("lines", 40, limit=3)
    rows = read(build_corpus(tmp_path / "c", [path], tokenizer, settings), tokenizer)
    assert len(rows) == 2
    assert all(tokenizer.mask_token_id not in row for row in rows)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"good\n\xff\xfe bad\n", r"a.txt, row 1: expected UTF-8 text, found byte 0xff"),
        ("a.txt", b"\n \n", r"no text to learn from"),
        ("a.csv", b"other\nx\n", r"no column 'text'; found 'other'"),
        ("a.jsonl", b'{"text": "x"}\n{"text": 5}\n', r"a.jsonl, row 1: column 'text': expected text, found int"),
        ("a.jsonl", b'{"text": "x"}\nnonsense\n', r"a.jsonl, row 1: not valid JSON"),
    ],
)
def test_bad_files(tmp_path: Path, tokenizer: DistilBertTokenizer, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DistilBertError, match=message):
        build_corpus(tmp_path / "c", find_texts([str(tmp_path / name)]), tokenizer, CorpusSettings(max_seq_length=16))


def test_a_file_that_was_empty_may_be_filled(tmp_path: Path, tokenizer: DistilBertTokenizer) -> None:
    path, settings = tmp_path / "a.txt", CorpusSettings(max_seq_length=16)
    path.write_text("\n")
    with pytest.raises(InputError, match="no text to learn from"):
        build_corpus(tmp_path / "c", [path], tokenizer, settings)
    path.write_text("good\n")
    assert build_corpus(tmp_path / "c", [path], tokenizer, settings).is_complete


def test_a_folder_of_texts_and_tables(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("b")
    (tmp_path / "a.csv").write_text("text\nx\n")
    (tmp_path / "notes.md").write_text("no")
    assert {path.name for path in find_texts([str(tmp_path)])} == {"a.csv", "b.txt"}
    with pytest.raises(FileError, match="not found"):
        find_texts([str(tmp_path / "absent.txt")])


def test_a_line_longer_than_memory_allows_is_cut_between_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts_module, "PIECE", 20)
    path = tmp_path / "long.txt"
    words = [f"wörter{number}" for number in range(50)]
    path.write_text(" ".join(words) + "\n" + "漢字" * 30, encoding="utf-8")
    found = [text.text for text in read_texts(path, COLUMNS)]
    assert max(len(text.encode()) for text in found) <= 40
    latin = [text for text in found if text.isascii() or "ö" in text]
    assert " ".join(latin).split() == words
    assert "".join(found[len(latin) :]) == "漢字" * 30
    assert [text.text for text in read_texts(path, COLUMNS, start=3)] == found[3:]


def test_real_text(data_folder: Path, minilm: Path, tmp_path: Path) -> None:
    tokenizer = DistilBertTokenizer.from_pretrained(minilm)
    files = find_texts([str(data_folder / "wikitext2" / "valid.txt")])
    shards = build_corpus(tmp_path / "c", files, tokenizer, CorpusSettings(), shard_tokens=50_000)
    examples = CorpusExamples(shards, tokenizer)
    assert len(shards.entries) >= 4
    assert shards.load(0, "values").dtype == np.uint16
    assert isinstance(shards.load(0, "values"), np.memmap)
    assert int(examples.lengths.sum()) - 2 * len(examples) == int(examples.counts.sum())
    assert "homarus gammarus" in tokenizer.decode(examples[0].tolist())
