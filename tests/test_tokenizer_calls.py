# SPDX-License-Identifier: Apache-2.0
"""Calls of the tokenizer by themselves: what is refused, what is returned, threads, memory, pickling."""

from __future__ import annotations

import copy
import logging
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Encoding

from distilbert.errors import BackendError, TokenizerError
from distilbert.tokenizer import BatchEncoding, CharSpan, DistilBertTokenizer, TokenSpan

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "low", "##er", "new", "a", "b", "c", "."]
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.fixture
def tokenizer(tmp_path: Path) -> DistilBertTokenizer:
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS), encoding="utf-8")
    return DistilBertTokenizer(tmp_path / "vocab.txt", model_max_length=20)


@pytest.mark.parametrize(
    ("texts", "options", "expected"),
    [
        ((None,), {}, "text: expected str or a list of them, found None"),
        ((5,), {}, "text: expected str or a list of them, found int"),
        (({"a": 1},), {}, "text: expected str or a list of them, found dict"),
        ((b"a",), {}, "text: expected str or a list of them, found bytes"),
        ((np.array(["a"]),), {}, "text: expected str or a list of them, found ndarray"),
        ((["a", None],), {}, "text: row 1: expected str, found None"),
        ((["a", "b", 5, 6],), {}, "text: 2 problems\n  - row 2: expected str, found int\n  - row 3: expected str"),
        ((["a", "x\ud800"],), {}, "text: row 1: holds half of a surrogate pair"),
        (("x\ud800",), {}, "text: holds half of a surrogate pair"),
        (([["a", "b", "c"]],), {}, "text: expected a text or two of them, found 3"),
        ((DEEP,), {}, "text: expected"),
        (([DEEP],), {"is_split_into_words": True}, "text: word 0: expected str, found list"),
        (("a b",), {"is_split_into_words": True}, "text: expected a list of words or a list of them, found str"),
        ((["a", 3],), {"is_split_into_words": True}, "text: word 1: expected str, found int"),
        (([["a"], "b"],), {"is_split_into_words": True}, "row 1: expected a list of words, found str"),
        (([["a", "\udfff"]],), {"is_split_into_words": True}, "text: word 1: holds half of a surrogate pair"),
        ((["a", "b"], ["c"]), {}, "text_pair: expected 2 texts, as many as in text, found 1"),
        ((["a"], "b"), {}, "text_pair: expected a list, as text is one, found str"),
        (("a", ["b"]), {}, "text_pair: expected str"),
        (("a", 5), {}, "text_pair: expected str"),
        ((["a"], [None]), {}, "text: expected str, found None"),
        ((["a"], [None]), {"truncation": True, "max_length": 5}, "text: expected str, found None"),
        (([("a", "b", "c")],), {"truncation": True, "max_length": 5}, "text: expected a text or two of them, found 3"),
        (
            (["a", "a " * 9000, 5], ["b", "b " * 9000, "c"]),
            {"truncation": True, "max_length": 9},
            "text: row 2: expected str, found int",
        ),
        (
            (["a", "a " * 9000 + "\ud800"], ["b", "b " * 9000]),
            {"truncation": True, "max_length": 9},
            "text: row 1: holds half of a surrogate pair",
        ),
        (("a",), {"padding": "most"}, "padding: expected 'longest', 'max_length', 'do_not_pad', True or False; found"),
        (("a",), {"padding": None}, "padding: expected"),
        (("a",), {"padding": 1}, "padding: expected"),
        (("a",), {"truncation": "first"}, "truncation: expected 'longest_first', 'only_first', 'only_second'"),
        (("a",), {"padding_side": "top"}, "padding_side: expected 'right', 'left'; found 'top'"),
        (("a",), {"max_length": 0}, "max_length: expected a whole number from 1"),
        (("a",), {"max_length": -3}, "max_length: expected a whole number from 1"),
        (("a",), {"max_length": 5.0}, "max_length: expected a whole number from 1"),
        (("a",), {"max_length": 10**20}, "max_length: expected a whole number from 1"),
        (("a",), {"max_length": True}, "max_length: expected a whole number from 1"),
        (("a",), {"stride": -1}, "stride: expected a whole number from 0"),
        (("a",), {"pad_to_multiple_of": 0, "padding": True}, "pad_to_multiple_of: expected a whole number from 1"),
        (("a",), {"stride": "1", "max_length": "2", "padding": 3}, "arguments: 3 problems"),
        (("a",), {"max_length": 1}, "max_length 1: too small for the 2 special tokens of a row"),
        (("a", "b"), {"max_length": 2}, "max_length 2: too small for the 3 special tokens of a row"),
        (("a",), {"max_length": 2, "return_overflowing_tokens": True}, "of a row and a token in each window"),
        (("a",), {"max_length": 5, "stride": 5, "truncation": True}, "stride 5: expected at most 2 with max_length 5"),
        (("a",), {"max_length": 5, "stride": 3, "truncation": True}, "stride 3: expected at most 2 with max_length 5"),
        (
            ("a a a a a", "b"),
            {"max_length": 8, "stride": 4, "truncation": "only_first", "return_overflowing_tokens": True},
            "text: stride 4 in windows of 4 tokens",
        ),
        (
            ("a a a a a", "b b b b b"),
            {"max_length": 9, "stride": 3, "return_overflowing_tokens": True},
            "text: stride 3 in windows of 3 tokens",
        ),
        (
            ("a " * 500, "b " * 500),
            {"max_length": 9, "return_overflowing_tokens": True},
            "text: 167 and 167 windows of the two texts combine into 27,889; use truncation='only_first'",
        ),
        (("a",), {"truncation": "only_second", "max_length": 9}, "'only_second' needs two texts in every row"),
        (
            (["a", "a a a"], ["b", "b b b b b b"]),
            {"truncation": "only_first", "max_length": 9},
            "row 1: the second text leaves no room in max_length 9, and truncation='only_first' does not cut it",
        ),
        (
            ("a a a a a a", "b"),
            {"truncation": "only_second", "max_length": 9},
            "text: the first text leaves no room in max_length 9",
        ),
        (
            ("a",),
            {"truncation": True, "padding": True, "max_length": 10, "pad_to_multiple_of": 8},
            "max_length 10: expected a multiple of pad_to_multiple_of 8",
        ),
        ((["a", "a b"],), {"return_tensors": "np"}, "the rows of input_ids have different lengths; pad them"),
        ((["a"] * 20 + ["a b"],), {"return_tensors": "np"}, "the rows of input_ids have different lengths; pad them"),
        (("a",), {"return_tensors": "mlx"}, "return_tensors: expected one of np, pt, tf, jax or None, found 'mlx'"),
        (("a",), {"returntensors": "pt"}, "arguments: there is no returntensors; see DistilBertTokenizer.__call__"),
        (("a",), {"pad_to_max_length": True}, 'there is no pad_to_max_length; write padding="max_length"'),
    ],
)
def test_wrong_calls(tokenizer: DistilBertTokenizer, texts: Any, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(TokenizerError) as caught:
        tokenizer(*texts, **options)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda t: t.encode(["a", "b"]), "text: expected str (is_split_into_words=True for a list of words)"),
        (lambda t: t.batch_encode_plus("ab"), "batch_text_or_text_pairs: expected a list, found str"),
        (lambda t: t.decode([5, -1]), "ids: expected whole numbers from 0 to 11, found -1"),
        (lambda t: t.decode([12]), "found 12"),
        (lambda t: t.decode(["a"]), "found 'a'"),
        (lambda t: t.decode([[5]]), "found [5]"),
        (lambda t: t.batch_decode(np.array([[5, -100]])), "found -100"),
        (lambda t: t.convert_ids_to_tokens([1.5]), "found 1.5"),
        (lambda t: t.convert_ids_to_tokens(99), "found 99"),
        (lambda t: t.convert_tokens_to_ids(["a", None]), "tokens: expected text, found None"),
        (lambda t: t.convert_tokens_to_ids(["\ud800"]), "tokens: expected text, found '\\ud800'"),
        (lambda t: t.convert_tokens_to_string(["a", None]), "tokens: expected text, found None"),
        (lambda t: t.batch_decode(5), "sequences: expected rows of ids, found 5"),
        (lambda t: t.train_new_from_iterator(["a b"], 0), "vocab_size: expected a whole number of at least 1, found 0"),
        (lambda t: t.add_tokens(5), "new_tokens: expected text or AddedToken, found 5"),
        (lambda t: t.pad(5), "pad: expected a dict of columns, or a list of dicts"),
        (lambda t: t.pad({"input_ids": DEEP}), "input_ids: row 0: expected a list"),
        (lambda t: t("a", padding=DEEP), "padding: expected"),
        (lambda t: t.add_tokens([""]), "new_tokens: expected text or AddedToken, found ''"),
        (lambda t: t.add_tokens(["a", 5]), "found 5"),
        (lambda t: t.add_tokens("\ud800"), "new_tokens: expected text"),
        (lambda t: t.add_special_tokens({"dog_token": "a"}), "dog_token: expected one of bos_token"),
        (lambda t: t.add_special_tokens({"pad_token": 5}), "pad_token (argument): expected a token"),
        (lambda t: t.add_special_tokens({"unk_token": "<u>"}), "the unknown token must be a word"),
        (lambda t: setattr(t, "pad_token", "<p>"), "pad_token: <p> is no token of the vocabulary; add it with"),
        (lambda t: setattr(t, "cls_token", None), "cls_token (argument): expected a token"),
        (lambda t: setattr(t, "pad_token_id", 50), "found 50"),
        (lambda t: setattr(t, "padding_side", "up"), "padding_side (argument): expected 'right' or 'left', found 'up'"),
        (lambda t: setattr(t, "model_max_length", "x"), "model_max_length (argument): expected a whole number"),
        (lambda t: t.pad([]), "pad: expected a dict of columns, or a list of dicts"),
        (lambda t: t.pad({"labels": [1]}), "pad: expected a column input_ids, found labels"),
        (lambda t: t.pad([{"input_ids": [1]}, {"labels": 1}]), "pad: row 1 has no input_ids"),
        (lambda t: t.pad({"input_ids": [[1], [2]], "labels": [1]}), "labels: expected 2 rows, as many as in input_ids"),
        (
            lambda t: t.pad({"input_ids": [[1, 2]], "attention_mask": [[1]]}),
            "attention_mask: row 0: expected a list of 2",
        ),
        (lambda t: t.pad({"input_ids": [["a"]]}), "input_ids: row 0: expected a list of 1 whole numbers"),
        (lambda t: t.pad({"input_ids": [[1, 2], [1]]}, padding=False, return_tensors="np"), "have different lengths"),
        (
            lambda t: t.pad({"input_ids": [[1], [1]], "labels": ["x", "y"]}, return_tensors="np"),
            "expected numbers in labels",
        ),
        (lambda t: t.prepare_for_model([5, 99]), "found 99"),
        (lambda t: t.prepare_for_model([5, 6], max_length=2), "2 tokens are to be removed"),
        (lambda t: t.prepare_for_model([5], truncation="only_second", max_length=2), "'only_second' needs a second"),
        (
            lambda t: t.prepare_for_model([5], add_special_tokens=False, return_token_type_ids=True),
            "expected add_special",
        ),
        (lambda t: t.truncate_sequences([1], None, 1, "middle"), "truncation: expected one of"),
        (lambda t: t.get_special_tokens_mask([2], [3], already_has_special_tokens=True), "token_ids_1: expected None"),
        (lambda t: t("a").word_ids(3), "row 3: this batch has 1 rows"),
        (lambda t: t("a").char_to_token(-1), "position -1"),
        (lambda t: t.pad({"input_ids": [[1]]}).word_ids(), "comes from no text"),
    ],
)
def test_wrong_use(tokenizer: DistilBertTokenizer, call: Callable[[Any], Any], expected: str) -> None:
    with pytest.raises(TokenizerError) as caught:
        call(tokenizer)
    assert expected in str(caught.value)


def test_a_refused_change_changes_nothing(tokenizer: DistilBertTokenizer) -> None:
    for change in ({"unk_token": "<u>"}, {"pad_token": "<p>", "dog_token": "a"}):
        with pytest.raises(TokenizerError):
            tokenizer.add_special_tokens(change)
    assert (len(tokenizer), tokenizer.unk_token, tokenizer.pad_token) == (12, "[UNK]", "[PAD]")


def test_a_missing_framework_names_its_extra(tokenizer: DistilBertTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, module, extra in (("tf", "tensorflow", "tf"), ("jax", "jax.numpy", "flax"), ("pt", "torch", "pt")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(BackendError) as caught:
            tokenizer("a", return_tensors=kind)
        assert f'pip install "distilbert[{extra}]"' in str(caught.value)


def test_empty_inputs(tokenizer: DistilBertTokenizer) -> None:
    assert tokenizer("") == {"input_ids": [2, 3], "attention_mask": [1, 1]}
    assert tokenizer([]) == {"input_ids": [], "attention_mask": []}
    assert tokenizer([], padding=True, return_tensors="np")["input_ids"].shape == (0, 0)
    assert tokenizer([], is_split_into_words=True)["input_ids"] == [2, 3]
    assert tokenizer([[], ["a"]], is_split_into_words=True)["input_ids"] == [[2, 3], [2, 8, 3]]
    assert tokenizer("a", "")["input_ids"] == [2, 8, 3]
    assert tokenizer(["a"], [""])["input_ids"] == [[2, 8, 3, 3]]
    assert tokenizer.pad({"input_ids": []})["input_ids"] == []
    offsets = tokenizer(["", ""], add_special_tokens=False, return_tensors="np", return_offsets_mapping=True)
    assert offsets["offset_mapping"].shape == (2, 0, 2)


def test_pairs_in_a_batch(tokenizer: DistilBertTokenizer) -> None:
    expected = [[2, 8, 3, 9, 3], [2, 10, 3]]
    assert tokenizer.batch_encode_plus([("a", "b"), "c"])["input_ids"] == expected
    assert tokenizer([("a", "b"), "c"])["input_ids"] == expected
    for call in (tokenizer, tokenizer.batch_encode_plus):
        assert call([["a", "b"]], truncation="only_second", max_length=5)["input_ids"] == [[2, 8, 3, 9, 3]]
    assert tokenizer([["a", "b"], ["c", "a"]])["input_ids"] == [[2, 8, 3, 9, 3], [2, 10, 3, 8, 3]]
    assert tokenizer("a", "b", return_token_type_ids=True)["token_type_ids"] == [0, 0, 0, 1, 1]
    assert tokenizer("a", text_target="b")["labels"] == [2, 9, 3]
    assert tokenizer(text_target="b")["input_ids"] == [2, 9, 3]


def test_attributes_can_be_set(tokenizer: DistilBertTokenizer) -> None:
    tokenizer.padding_side = "left"
    tokenizer.pad_token = "c"
    assert tokenizer(["a", "a b"], padding=True)["input_ids"] == [[10, 2, 8, 3], [2, 8, 9, 3]]
    assert tokenizer(["a", "a b"], padding=True)[0].tokens == ["c", "[CLS]", "a", "[SEP]"]
    tokenizer.cls_token_id = 7
    tokenizer.sep_token = AddedToken("b")
    assert tokenizer("a")["input_ids"] == tokenizer.build_inputs_with_special_tokens([8]) == [7, 8, 9]
    tokenizer.unk_token = "low"
    assert tokenizer.convert_tokens_to_ids("zzz") == tokenizer("zzz", add_special_tokens=False)["input_ids"][0] == 5
    tokenizer.additional_special_tokens = ["a"]
    tokenizer.model_input_names = ["input_ids", "token_type_ids"]
    assert set(tokenizer("a")) == {"input_ids", "token_type_ids"}
    tokenizer.split_special_tokens = True
    assert tokenizer("[MASK]", add_special_tokens=False)["input_ids"] == [5, 5, 5]
    assert tokenizer("[MASK]", add_special_tokens=False, split_special_tokens=False)["input_ids"] == [4]


def test_the_rust_tokenizer_is_a_copy(tokenizer: DistilBertTokenizer) -> None:
    backend = tokenizer.backend_tokenizer
    backend.enable_truncation(3)
    backend.add_tokens(["zzz"])
    assert len(tokenizer("a b c zzz")["input_ids"]) == 6
    assert tokenizer("zzz").tokens()[1] == "[UNK]"


def test_what_is_logged_once(tokenizer: DistilBertTokenizer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "distilbert"):
        for _ in range(3):
            tokenizer("a " * 30, verbose=False)
        assert not caplog.records
        for _ in range(3):
            tokenizer("a " * 30)
            tokenizer("a " * 31)
        assert [record.message for record in caplog.records] == [
            "a text of 32 tokens is longer than model_max_length 20: the model cannot take it; use truncation=True"
        ]
        tokenizer.model_max_length = 10**30
        assert len(tokenizer("a", padding="max_length", truncation=True)["input_ids"]) == 3
        assert "no model_max_length" in caplog.records[-1].message
        tokenizer("a", padding=True, max_length=5)
        assert "max_length has no effect without truncation" in caplog.records[-1].message


def test_encoding_is_a_dict_with_attributes(tokenizer: DistilBertTokenizer) -> None:
    encoding = tokenizer(["lower a", "new"], padding=True)

    def model(input_ids: Any, attention_mask: Any) -> Any:
        return input_ids, attention_mask

    assert model(**encoding) == (encoding.input_ids, encoding["attention_mask"])
    assert isinstance(encoding, dict)
    assert type(encoding.data) is dict
    assert encoding.data == dict(encoding)
    assert isinstance(encoding[0], Encoding)
    assert encoding[0:2] == encoding.encodings
    assert (encoding.is_fast, encoding.n_sequences) == (True, 1)
    assert not hasattr(encoding, "labels")
    assert encoding.tokens(1) == ["[CLS]", "new", "[SEP]", "[PAD]", "[PAD]"]
    assert encoding.word_ids(0) == [None, 0, 0, 1, None]
    assert encoding.word_to_tokens(0, 0) == TokenSpan(1, 3)
    assert encoding.token_to_chars(0, 2) == CharSpan(3, 5)
    assert encoding.token_to_word(0, -2) == 1
    single = tokenizer("lower a")
    assert (single.char_to_token(4), single.char_to_word(6), single.word_to_chars(1)) == (2, 1, CharSpan(6, 7))
    assert single.token_to_sequence(0) is None
    padded = tokenizer.pad({"input_ids": [[1], [2]]})
    assert padded[0:1] == {"input_ids": [[1]], "attention_mask": [[1]]}
    assert padded.is_fast is False
    with pytest.raises(KeyError, match="expected a column's name"):
        padded[0]
    with pytest.raises(KeyError):
        encoding["labels"]


def test_encoding_is_copied_and_pickled(tokenizer: DistilBertTokenizer) -> None:
    encoding = tokenizer(["lower a", "new"], padding=True, return_tensors="np")
    for again in (pickle.loads(pickle.dumps(encoding)), copy.deepcopy(encoding), copy.copy(encoding), encoding.copy()):
        assert type(again) is BatchEncoding
        assert np.array_equal(again.input_ids, encoding.input_ids)
        assert again.tokens(1) == encoding.tokens(1)
        assert again.n_sequences == 1


def test_encoding_converts_its_columns() -> None:
    torch = pytest.importorskip("torch")
    encoding = BatchEncoding({"input_ids": [1, 2], "labels": 0.5}, tensor_type="pt", prepend_batch_axis=True)
    assert (encoding.input_ids.dtype, encoding.labels.dtype) == (torch.int64, torch.float32)
    assert encoding.input_ids.shape == (1, 2)
    encoding["note"] = "kept"
    assert encoding.to("cpu") is encoding.to(torch.device("cpu"))
    assert encoding.to(torch.float16).input_ids.dtype == torch.int64
    assert encoding["note"] == "kept"
    assert encoding.convert_to_tensors(None) is encoding
    assert BatchEncoding({"a": [[1, 2]]}).convert_to_tensors("np").a.dtype == np.int64


def test_tokenizer_is_pickled(tokenizer: DistilBertTokenizer) -> None:
    tokenizer.add_tokens(["extra"])
    tokenizer.padding_side = "left"
    for again in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
        assert again("lower extra", padding="max_length") == tokenizer("lower extra", padding="max_length")
        again.add_tokens(["more"])
    assert len(tokenizer) == 13
    assert "vocab_size=12" in repr(tokenizer)
    assert bool(tokenizer)


def test_threads_do_not_see_each_other(tokenizer: DistilBertTokenizer) -> None:
    texts = ["a b c lower new " * 5, "low " * 9] * 20
    calls: list[dict[str, Any]] = [
        {},
        {"truncation": True, "max_length": 7},
        {"truncation": True, "max_length": 12, "stride": 3, "return_overflowing_tokens": True},
        {"padding": True, "add_special_tokens": False},
        {"padding": "max_length", "max_length": 40, "padding_side": "left"},
        {"split_special_tokens": True},
    ]
    expected = [tokenizer(texts, **call) for call in calls]

    def work(number: int) -> bool:
        if number % 50 == 0:
            tokenizer.add_tokens([f"new{number}"])
        return tokenizer(texts, **calls[number % len(calls)]) == expected[number % len(calls)]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(300)))
    assert len(tokenizer) == len(WORDS) + 6


def test_many_settings_do_not_pile_up(tokenizer: DistilBertTokenizer) -> None:
    for length in range(3, 300):
        assert len(tokenizer("a " * 400, truncation=True, max_length=length)["input_ids"]) == length
    assert len(tokenizer._engine._views) <= 64


def test_long_pairs_in_bounded_memory(tokenizer: DistilBertTokenizer) -> None:
    """The Rust library alone would make 160,000 windows of 16 tokens here."""
    text = "a b " * 3000
    tracemalloc.start()
    encoding = tokenizer([text], [text], truncation=True, max_length=16, return_tensors="np")
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    assert encoding.input_ids.shape == (1, 16)
    assert encoding.sequence_ids() == [None, *[0] * 6, None, *[1] * 7, None]
    assert encoding[0].overflowing == []


def test_import_is_light() -> None:
    code = (
        "import sys, distilbert.tokenizer; "
        "heavy = {'torch', 'tensorflow', 'keras', 'jax', 'flax', 'transformers', 'huggingface_hub'}; "
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
