# SPDX-License-Identifier: Apache-2.0
"""Damaged, hostile and wrong tokenizer files: one error that names file and field and lists everything."""

from __future__ import annotations

import copy
import json
import logging
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distilbert.errors import TokenizerError
from distilbert.tokenizer import DistilBertTokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "low", "##er", "new"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound tokenizer folder with all five files."""
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS), encoding="utf-8")
    tokenizer = DistilBertTokenizer(tmp_path / "vocab.txt")
    tokenizer.add_tokens(["extra"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<e1>"]})
    tokenizer.save_pretrained(tmp_path / "folder")
    return tmp_path / "folder"


def error(folder: Path, **arguments: Any) -> str:
    with pytest.raises(TokenizerError) as caught:
        DistilBertTokenizer.from_pretrained(folder, **arguments)
    message = str(caught.value)
    assert str(folder) in message
    return message


def change(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads((folder / name).read_text(encoding="utf-8"))
    change(value)
    (folder / name).write_text(json.dumps(value), encoding="utf-8")


def keep_vocabulary_alone(folder: Path, content: bytes) -> None:
    for path in folder.iterdir():
        path.unlink()
    (folder / "vocab.txt").write_bytes(content)


def lines(*words: str) -> bytes:
    return "".join(f"{word}\n" for word in words).encode()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "vocab.txt: the file is empty"),
        (lines(*WORDS, "low", "new", "low"), "'low' is on line 6 and 9 and 11; a word can have only one id"),
        (lines(*WORDS[:5], "", "low"), "vocab.txt: line 6 is empty"),
        (lines(*WORDS, ""), "vocab.txt: line 9 is empty"),
        (lines(*WORDS, "a\rb"), "vocab.txt: line 9 holds a line break"),
        (lines(*WORDS) + b"\xff\xfe\n", "vocab.txt: expected UTF-8 text, found byte 0xff"),
        (lines(*WORDS[:4], *WORDS[5:]), "[MASK] (mask_token) is neither a word of the vocabulary nor an added token"),
        (lines("[PAD]", *WORDS[2:]), "[UNK] (unk_token) is not a word of the vocabulary"),
        (lines("low", "new"), ": 5 problems\n"),
    ],
)
def test_vocabulary(folder: Path, content: bytes, expected: str) -> None:
    keep_vocabulary_alone(folder, content)
    assert expected in error(folder)


def test_all_problems_of_all_files_are_listed(folder: Path) -> None:
    (folder / "vocab.txt").write_bytes(lines(*WORDS, "low", "", *["new"] * 3))
    change(folder, "tokenizer.json", lambda value: value.update(normalizer=None, pre_tokenizer={"type": "Whitespace"}))
    change(folder, "tokenizer_config.json", lambda value: value.update(do_lower_case="yes", padding_side="top"))
    (folder / "added_tokens.json").write_text("[1]")
    message = error(folder, model_max_length=0)
    for expected in (
        ": 9 problems",
        "model_max_length (argument): expected a whole number of at least 1, found 0",
        "vocab.txt: line 10 is empty",
        "'low' is on line 6 and 9",
        "'new' is on line 8 and 11 and 12 and 13",
        "tokenizer.json: normalizer: expected type BertNormalizer",
        "tokenizer.json: pre_tokenizer: expected type BertPreTokenizer, as BERT tokenizers have it, found 'Whitespace'",
        "tokenizer_config.json: do_lower_case: expected true or false, found 'yes'",
        "tokenizer_config.json: padding_side: expected 'right' or 'left', found 'top'",
        "added_tokens.json: expected a JSON object, found list",
    ):
        assert expected in message


def test_many_problems_are_counted(folder: Path) -> None:
    keep_vocabulary_alone(folder, lines(*WORDS, *(f"w{i}" for i in range(900)), *(f"w{i}" for i in range(900))))
    assert "vocab.txt: and 895 more of this kind" in error(folder)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("do_lower_case", 1, "expected true or false, found 1"),
        ("strip_accents", "no", "expected true or false"),
        ("model_max_length", -5, "expected a whole number of at least 1, found -5"),
        ("model_max_length", 1.5, "expected a whole number"),
        ("model_max_length", True, "expected a whole number"),
        ("model_max_length", "512", "expected a whole number"),
        ("truncation_side", "middle", "expected 'right' or 'left'"),
        ("model_input_names", ["attention_mask"], "begins with 'input_ids'"),
        ("never_split", "abc", "expected a list of words"),
        ("mask_token", 7, "expected a token"),
        ("mask_token", {"content": "[MASK]", "lstrip": "yes"}, "expected a token"),
        ("pad_token", "", "expected a token"),
        ("cls_token", "a:b", "expected a token without ':'"),
        ("additional_special_tokens", ["<a>", 3], "expected a list of tokens"),
        ("added_tokens_decoder", [], "expected an object from id to token"),
        ("added_tokens_decoder", {"x": {"content": "a"}}, "expected id, content and flags of a token, found None"),
        ("added_tokens_decoder", {"7": "a"}, "expected id, content and flags of a token, found 7: 'a'"),
        ("tokenizer_class", "BertJapaneseTokenizer", "expected one of DistilBertTokenizer, BertTokenizer"),
        ("tokenizer_class", "RobertaTokenizerFast", "they are equal"),
        ("pad_token", "<pad>", "<pad> (pad_token) is neither a word of the vocabulary nor an added token"),
        ("unk_token", "<e1>", "<e1> (unk_token) is not a word of the vocabulary"),
        ("cls_token", "low", "tokenizer.json: cls_token is '[CLS]', but 'low' in tokenizer_config.json"),
        ("note", "\ud800", "holds half of a surrogate pair"),
    ],
)
def test_settings(folder: Path, key: str, value: object, expected: str) -> None:
    change(folder, "tokenizer_config.json", lambda config: config.update({key: value}))
    message = error(folder)
    assert expected in message
    assert key in message or key == "note"


def set_vocab(**changes: object) -> Callable[[dict[str, Any]], object]:
    return lambda value: value["model"]["vocab"].update(changes)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (
            lambda v: v["model"].update(type="BPE"),
            "model: expected type WordPiece, as BERT tokenizers have it, found 'BPE'",
        ),
        (lambda v: v.pop("model"), "model: expected type WordPiece, as BERT tokenizers have it, found None"),
        (lambda v: v["model"].update(vocab=[["a", 0]]), "model.vocab: expected an object from word to id"),
        (lambda v: v["model"].update(vocab={}), "model.vocab: expected an object from word to id"),
        (set_vocab(low=6), "model.vocab: 'low' and '##er' both have id 6"),
        (set_vocab(low=50), "model.vocab: 'low' has id 50, but ids must be 0 to 7 without a gap"),
        (set_vocab(low=-1), "'low' has id -1"),
        (set_vocab(low="5"), "model.vocab: 'low': expected an id, found '5'"),
        (set_vocab(low=True), "model.vocab: 'low': expected an id, found True"),
        (set_vocab(**{"": 8}), "model.vocab: '' cannot be a word"),
        (set_vocab(**{"a\nb": 8}), "cannot be a word"),
        (set_vocab(**{"\udc00": 8}), "holds half of a surrogate pair"),
        (lambda v: v["model"].update(max_input_chars_per_word=-1), "model.max_input_chars_per_word: expected a whole"),
        (lambda v: v["model"].update(unk_token=3), "model.unk_token: expected text, found 3"),
        (lambda v: v["model"].update(continuing_subword_prefix="@@"), "decoder.prefix: expected '@@'"),
        (lambda v: v["normalizer"].update(lowercase="x"), "normalizer.lowercase: expected true or false"),
        (lambda v: v.update(normalizer={"type": "Sequence", "normalizers": []}), "normalizer: expected type BertNorm"),
        (lambda v: v.update(post_processor=None), "post_processor: expected BERT's, [CLS] A [SEP] B [SEP], found None"),
        (lambda v: v["post_processor"]["single"].reverse(), "post_processor: expected [CLS] A [SEP] for one text"),
        (lambda v: v["post_processor"]["special_tokens"]["[CLS]"].update(ids=[7]), "'[CLS]' has id 7, but 2 in the"),
        (
            lambda v: v["post_processor"]["special_tokens"].pop("[SEP]"),
            "post_processor: expected [CLS] A [SEP] for one",
        ),
        (lambda v: v.update(added_tokens=3), "added_tokens: expected a list, found 3"),
        (lambda v: v["added_tokens"].append({"id": 8, "content": "z"}), "id 8 is 'z', but 'extra' elsewhere"),
        (lambda v: v["added_tokens"].append({"id": 30, "content": "extra"}), "'extra' has id 30, but 8 elsewhere"),
        (lambda v: v["added_tokens"].append({"id": 30, "content": "z"}), "'z' has id 30, expected 10 after 8 words"),
        (lambda v: v["added_tokens"].append({"id": 5, "content": "z"}), "'z' has id 5, expected 8 after 8 words"),
        (
            lambda v: v["added_tokens"].append({"id": 10, "content": "z", "special": 1}),
            "expected id, content and flags",
        ),
    ],
)
def test_tokenizer_json(folder: Path, edit: Callable[[dict[str, Any]], object], expected: str) -> None:
    change(folder, "tokenizer.json", edit)
    message = error(folder)
    assert expected in message
    assert "tokenizer.json" in message or "added tokens" in message


def test_files_that_disagree(folder: Path) -> None:
    (folder / "vocab.txt").write_bytes(lines(*WORDS[:5], "new", "##er", "low"))
    message = error(folder)
    assert "vocab.txt: id 5 is 'new', but 'low' in tokenizer.json; remove the file that is wrong" in message
    (folder / "vocab.txt").write_bytes(lines(*WORDS[:-1]))
    assert len(DistilBertTokenizer.from_pretrained(folder)) == 10


def test_files_that_are_no_files(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"a": 1, "a": 2}')
    assert "the same key twice: 'a'" in error(folder)
    (folder / "tokenizer.json").write_text("[" * 100_000)
    assert "JSON nested too deeply" in error(folder)
    (folder / "tokenizer.json").write_text('{"model": ')
    assert "not valid JSON" in error(folder)
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")
    assert "expected a regular file, found a pipe" in error(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to(folder / "absent")
    assert "tokenizer.json: cannot be read" in error(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").unlink()
    assert "no tokenizer here; expected vocab.txt or tokenizer.json" in error(folder)


def test_files_that_are_too_large(folder: Path) -> None:
    os.truncate(folder / "vocab.txt", 2**31)
    os.truncate(folder / "tokenizer_config.json", 2**25)
    message = error(folder)
    assert "vocab.txt: 2,147,483,648 bytes, but at most" in message
    assert "tokenizer_config.json: 33,554,432 bytes, but at most" in message


def test_arguments(folder: Path) -> None:
    assert "do_lowercase: no such argument, did you mean do_lower_case?" in error(folder, do_lowercase=True)
    assert "do_lower_case (argument): expected true or false, found None" in error(folder, do_lower_case=None)
    assert "unk_token" in error(folder, unk_token="<unk>")
    with pytest.raises(TokenizerError, match="expected a vocab_file or a tokenizer_file"):
        DistilBertTokenizer()
    with pytest.raises(TokenizerError, match=r"nothing\.txt: cannot be read"):
        DistilBertTokenizer(folder / "nothing.txt")


def test_vocabulary_larger_than_the_model(folder: Path) -> None:
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    tokenizer.check_fits(10)
    with pytest.raises(TokenizerError, match=r"has 10 tokens \(2 of them added\), but the model has vocab_size 9"):
        tokenizer.check_fits(9)


def test_what_is_ignored_is_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "distilbert"):
        DistilBertTokenizer.from_pretrained(folder, never_split=["absent"], do_basic_tokenize=False)
    assert "never_split: 'absent' is no word of the vocabulary" in caplog.text
    assert "do_basic_tokenize" in caplog.text


def test_damage_at_random(folder: Path, tmp_path: Path) -> None:
    """Whatever is changed, the tokenizer loads and round-trips, or TokenizerError is raised; nothing else."""
    choose = random.Random(4)
    names = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
    sound = {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in names}
    values = [None, True, -1, 0, 2**70, 1.5, "", "low", "[CLS]", "\ud800", "a:b", [], ["a"], {}, {"content": "q"}]
    refused = 0
    for _ in range(150):
        damaged = copy.deepcopy(sound)
        place: Any = damaged[choose.choice(names)]
        while isinstance(place, dict | list) and place:
            key = choose.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if not isinstance(place[key], dict | list) or not place[key] or choose.random() < 0.3:
                place[key] = copy.deepcopy(choose.choice(values))
                break
            place = place[key]
        for name, value in damaged.items():
            (folder / name).write_text(json.dumps(value), encoding="utf-8")
        try:
            tokenizer = DistilBertTokenizer.from_pretrained(folder)
        except TokenizerError:
            refused += 1
            continue
        tokenizer.save_pretrained(tmp_path / "again")
        again = DistilBertTokenizer.from_pretrained(tmp_path / "again")
        assert again.get_vocab() == tokenizer.get_vocab()
        assert again("low <e1> newer extra") == tokenizer("low <e1> newer extra")
    assert 40 < refused < 130
