# SPDX-License-Identifier: Apache-2.0
"""The tokenizer against transformers 4.57 and against recorded results of others, on real text."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert.errors import TokenizerError
from distilbert.tokenizer import DistilBertTokenizer
from distilbert.tokenizer import windows as windows_module

transformers = pytest.importorskip("transformers")
Pair = tuple[Any, DistilBertTokenizer]

VOCABULARIES = {"bert-base-uncased": True, "bert-base-cased": False, "bert-base-multilingual-cased": False}
PROBES = [
    "",
    " ",
    "Hello, World! Don't you've it'd they're?",
    "A, naïve [MASK] AllenNLP sentence. [CLS] [SEP][UNK]",
    "ÀÉÎõü İstanbul ẞ straße ﬁne ｆｕｌｌ　ｗｉｄｔｈ",
    "博推zz 的人有 ひらがな カタカナ 한국어 학습",
    "tab\tnew\nline\r\x00nul\ufffd\x07bell\u200bzero\u00adsoft\u2028sep\u3000",
    "x" * 99 + " " + "y" * 100 + " " + "z" * 101,
    "😀👩‍👩‍👧 mixed émoji ğ",
    "a\n'll !!to?'d of, can't. 3.14 1,000 $5 @user #tag http://a.b/c?d=e_f",
    "उनका हिन्दी العربية עברית ไทย Ελληνικά Русский",
    # From here on transformers' slow tokenizer does otherwise: it composes accents, and drops unassigned characters.
    "decomposed e\u0301",
    "\ufdd0 \ue000 \U000e0001 unassigned \u0378 private",
]
SLOW_PROBES = PROBES[:-2]


@pytest.fixture(scope="module", params=list(VOCABULARIES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def slow(name: str, data_folder: Path) -> Any:
    """transformers' slow tokenizer."""
    vocab = str(data_folder / "vocab" / name / "vocab.txt")
    return transformers.DistilBertTokenizer(vocab_file=vocab, do_lower_case=VOCABULARIES[name])


@pytest.fixture(scope="module")
def pair(name: str, data_folder: Path) -> Pair:
    """transformers' fast tokenizer and ours, on the same vocabulary."""
    vocab = str(data_folder / "vocab" / name / "vocab.txt")
    lower = VOCABULARIES[name]
    theirs = transformers.DistilBertTokenizerFast(vocab_file=vocab, do_lower_case=lower)
    return theirs, DistilBertTokenizer(vocab, do_lower_case=lower)


@pytest.fixture(scope="module")
def uncased(data_folder: Path) -> Pair:
    vocab = str(data_folder / "vocab" / "bert-base-uncased" / "vocab.txt")
    return transformers.DistilBertTokenizerFast(vocab_file=vocab), DistilBertTokenizer(vocab)


@pytest.fixture(scope="module")
def novel(data_folder: Path) -> str:
    return (data_folder / "novels_public_domain" / "Burnett_Garden_1911.txt").read_text(encoding="utf-8")


def assert_equal(theirs: Any, ours: Any) -> None:
    """Equal columns of equal types, and equal Rust encodings."""
    assert list(theirs.keys()) == list(ours.keys())
    for name, expected in theirs.items():
        found = ours[name]
        if isinstance(expected, list):
            assert found == expected, name
        else:
            expected, found = np.asarray(expected), np.asarray(found)
            assert found.dtype == expected.dtype
            # A batch without any token has offsets of shape (B, 0) there and (B, 0, 2) here.
            assert expected.size == found.size == 0 or np.array_equal(expected, found), name
    for expected, found in zip(theirs.encodings, ours.encodings, strict=True):
        for name in ("ids", "type_ids", "tokens", "offsets", "word_ids", "sequence_ids", "attention_mask"):
            assert getattr(found, name) == getattr(expected, name), name
        assert found.special_tokens_mask == expected.special_tokens_mask
        assert found.n_sequences == expected.n_sequences


def test_recorded_cases(data_folder: Path) -> None:
    cases = json.loads((data_folder / "tokenizer_vectors" / "transformersjs_cases.json").read_text(encoding="utf-8"))
    tokenizers = {
        (name, lower): DistilBertTokenizer(data_folder / "vocab" / name / "vocab.txt", do_lower_case=lower)
        for name, lower in {(case["vocab"], case["lowercase"]) for case in cases}
    }
    assert len(cases) == 111
    for case in cases:
        tokenizer = tokenizers[case["vocab"], case["lowercase"]]
        texts = (case["text"], case.get("text_pair"))
        ids = tokenizer(*texts)["input_ids"]
        assert ids == case["ids"], case["name"]
        assert tokenizer.tokenize(*texts) == case["tokens"], case["name"]
        assert tokenizer.decode(ids) == case["decoded"], case["name"]


def test_probes_equal_fast_and_slow(pair: Pair, slow: Any) -> None:
    theirs, ours = pair
    assert_equal(theirs(PROBES), ours(PROBES))
    assert [ours.tokenize(probe) for probe in PROBES] == [theirs.tokenize(probe) for probe in PROBES]
    for probe in SLOW_PROBES:
        assert slow(probe)["input_ids"] == ours(probe)["input_ids"], probe


def test_decoding_equals_transformers(pair: Pair) -> None:
    theirs, ours = pair
    rows = ours(PROBES)["input_ids"]
    for options in ({}, {"skip_special_tokens": True}, {"clean_up_tokenization_spaces": False}):
        assert ours.batch_decode(rows, **options) == theirs.batch_decode(rows, **options)
        assert [ours.decode(row, **options) for row in rows] == theirs.batch_decode(rows, **options)
    tokens = ours.convert_ids_to_tokens(rows[2])
    assert tokens == theirs.convert_ids_to_tokens(rows[2])
    assert ours.convert_tokens_to_string(tokens) == theirs.convert_tokens_to_string(tokens)


def test_sentences_with_tensors(pair: Pair, data_folder: Path) -> None:
    lines = (data_folder / "sst2_glue" / "dev_official_872.tsv").read_text(encoding="utf-8").split("\n")[1:-1]
    texts = [line.split("\t")[0] for line in lines]
    theirs, ours = pair
    for options in (
        {"padding": True, "return_tensors": "np"},
        {"padding": "max_length", "max_length": 16, "truncation": True, "return_tensors": "pt"},
        {"padding": True, "padding_side": "left", "pad_to_multiple_of": 8, "return_special_tokens_mask": True},
        {"padding": True, "return_tensors": "np", "return_offsets_mapping": True, "return_token_type_ids": True},
    ):
        assert_equal(theirs(texts, **options), ours(texts, **options))


def test_words_with_labels(pair: Pair, data_folder: Path) -> None:
    blocks = (data_folder / "wnut17" / "dev.conll").read_text(encoding="utf-8").strip().split("\n\n")[:300]
    words = [[line.split("\t")[0] for line in block.split("\n")] for block in blocks]
    theirs, ours = pair
    options = {"is_split_into_words": True, "padding": True, "truncation": True, "max_length": 32}
    expected, found = theirs(words, **options), ours(words, **options)
    assert_equal(expected, found)
    assert [found.word_ids(i) for i in range(len(words))] == [expected.word_ids(i) for i in range(len(words))]
    assert_equal(theirs(words[0], is_split_into_words=True), ours(words[0], is_split_into_words=True))


def test_questions_with_windows(pair: Pair, data_folder: Path) -> None:
    articles = json.loads((data_folder / "squad_v1.1_dev" / "dev-v1.1.json").read_text(encoding="utf-8"))["data"]
    examples = [
        (qa["question"], paragraph["context"])
        for article in articles[:8]
        for paragraph in article["paragraphs"][:3]
        for qa in paragraph["qas"][:2]
    ]
    questions, contexts = map(list, zip(*examples, strict=True))
    theirs, ours = pair
    for side in ("right", "left"):
        theirs.truncation_side = ours.truncation_side = side
        options = {"truncation": "only_second", "max_length": 96, "stride": 32, "padding": "max_length"}
        options |= {"return_overflowing_tokens": True, "return_offsets_mapping": True, "return_length": True}
        assert_equal(theirs(questions, contexts, **options), ours(questions, contexts, **options))
    theirs.truncation_side = ours.truncation_side = "right"


def test_positions_of_words_and_characters(uncased: Pair) -> None:
    theirs, ours = uncased
    texts, others = ["A naïve sentence, unbelievably  long", "Short"], ["The answer", "is here!"]
    expected, found = theirs(texts, others, padding=True), ours(texts, others, padding=True)
    for row in range(2):
        for position in range(-3, 30):
            for name in ("token_to_sequence", "token_to_word", "token_to_chars"):
                if position >= -len(found["input_ids"][row]) and position >= 0:
                    assert getattr(found, name)(row, position) == getattr(expected, name)(row, position)
            for name in ("word_to_tokens", "char_to_token", "char_to_word"):
                for sequence in (0, 1):
                    if position >= 0:
                        call = (row, position, sequence)
                        assert getattr(found, name)(*call) == getattr(expected, name)(*call), (name, call)
        assert found.word_to_chars(row, 0, 1) == expected.word_to_chars(row, 0, 1)
        assert found.tokens(row) == expected.tokens(row)
        assert found.sequence_ids(row) == expected.sequence_ids(row)
    assert ours("Hello there").char_to_token(6) == theirs("Hello there").char_to_token(6)


def test_other_frameworks(uncased: Pair) -> None:
    theirs, ours = uncased
    for kind in ("tf", "jax"):
        pytest.importorskip({"tf": "tensorflow", "jax": "jax"}[kind])
        options = {"padding": True, "return_tensors": kind, "return_length": True, "return_offsets_mapping": True}
        expected, found = theirs(PROBES, **options), ours(PROBES, **options)
        for name, column in expected.items():
            assert type(found[name]) is type(column)
            assert found[name].dtype == column.dtype
            assert np.array_equal(np.asarray(found[name]), np.asarray(column))


def random_calls(novel: str, count: int, seed: int) -> Iterator[tuple[tuple[Any, Any], dict[str, Any]]]:
    """Calls with random texts and random options, valid or not."""
    choose = random.Random(seed)
    words = novel.split()

    def text(split: bool) -> Any:
        start = choose.randrange(len(words) - 130)
        chosen = words[start : start + choose.choice([0, 1, 3, 10, 40, 120])]
        return chosen if split else " ".join(chosen)

    for _ in range(count):
        split, batch, paired = choose.random() < 0.3, choose.random() < 0.7, choose.random() < 0.5
        rows = choose.choice([1, 2, 5, 12])
        texts = [[text(split) for _ in range(rows)] if batch else text(split) for _ in range(1 + paired)]
        yield (
            (texts[0], texts[1] if paired else None),
            {
                "add_special_tokens": choose.random() < 0.8,
                "padding": choose.choice([True, False, "longest", "max_length", "do_not_pad"]),
                "truncation": choose.choice([True, False, None, "longest_first", "only_first", "only_second"]),
                "max_length": choose.choice([None, 2, 3, 4, 5, 8, 16, 33, 64, 128]),
                "stride": choose.choice([0, 0, 0, 1, 2, 5]),
                "is_split_into_words": split,
                "pad_to_multiple_of": choose.choice([None, None, 8]),
                "padding_side": choose.choice([None, "left", "right"]),
                "return_tensors": choose.choice([None, None, "np", "pt"]),
                "return_token_type_ids": choose.choice([None, True, False]),
                "return_attention_mask": choose.choice([None, True, False]),
                "return_special_tokens_mask": choose.random() < 0.5,
                "return_offsets_mapping": choose.random() < 0.5,
                "return_length": choose.random() < 0.5,
                "return_overflowing_tokens": choose.random() < 0.4,
                "verbose": False,
            },
        )


def compare_random_calls(pair: Pair, novel: str, count: int, seed: int) -> int:
    """Compare calls; those that we refuse are left out, as calling transformers could panic. Returns how many agree."""
    theirs, ours = pair
    choose = random.Random(seed)
    agreeing = 0
    for texts, options in random_calls(novel, count, seed):
        theirs.truncation_side = ours.truncation_side = choose.choice(["left", "right"])
        theirs.model_max_length = ours.model_max_length = choose.choice([int(1e30), 24])
        try:
            found = ours(*texts, **options)
        except TokenizerError:
            continue
        if not options["return_overflowing_tokens"]:
            options["stride"] = 0  # has no effect here, but can make the Rust library panic there
        assert_equal(theirs(*texts, **options), found)
        agreeing += 1
    theirs.truncation_side = ours.truncation_side = "right"
    theirs.model_max_length = ours.model_max_length = int(1e30)
    return agreeing


def test_random_calls(uncased: Pair, novel: str) -> None:
    assert compare_random_calls(uncased, novel, 500, seed=1) > 250


def test_long_pairs_cut_one_text_at_a_time(uncased: Pair, novel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_module, "MANY_WINDOWS", 0)
    assert compare_random_calls(uncased, novel, 300, seed=2) > 150


def test_pad_as_a_collator(uncased: Pair) -> None:
    theirs, ours = uncased
    texts = ["one", "two words", "three words here and more"]
    rows = [dict(ours(text, return_token_type_ids=True), labels=number) for number, text in enumerate(texts)]
    for options in (
        {},
        {"return_tensors": "np"},
        {"return_tensors": "pt", "pad_to_multiple_of": 4},
        {"padding": "max_length", "max_length": 10, "padding_side": "left"},
        {"padding": False},
    ):
        for argument in (rows, {name: [row[name] for row in rows] for name in rows[0]}, dict(rows[2])):
            if options.get("return_tensors") and argument is not rows:
                continue
            expected = theirs.pad([dict(row) for row in rows] if argument is rows else dict(argument), **options)
            found = ours.pad(argument, **options)
            assert list(found) == list(expected)
            for name, column in expected.items():
                assert np.array_equal(np.asarray(found[name], object), np.asarray(column, object)), name
    arrays = [{"input_ids": np.array(row["input_ids"])} for row in rows]
    assert ours.pad(arrays)["input_ids"].tolist() == theirs.pad(arrays)["input_ids"].tolist()


def test_prepare_for_model(uncased: Pair, data_folder: Path) -> None:
    _, ours = uncased
    theirs = transformers.DistilBertTokenizer(data_folder / "vocab" / "bert-base-uncased" / "vocab.txt")
    first, second = list(range(2000, 2012)), list(range(3000, 3007))
    for options in (
        {},
        {"add_special_tokens": False},
        {"truncation": True, "max_length": 9, "return_special_tokens_mask": True, "return_token_type_ids": True},
        {"truncation": "only_first", "max_length": 14, "stride": 2, "return_overflowing_tokens": True},
        {"truncation": "only_second", "max_length": 18, "return_overflowing_tokens": True},
        {"padding": "max_length", "max_length": 40, "return_length": True},
        {"padding": "max_length", "max_length": 40, "return_tensors": "np", "prepend_batch_axis": True},
    ):
        for side in ("right", "left"):
            theirs.truncation_side = ours.truncation_side = side
            expected = theirs.prepare_for_model(first, second, **options)
            found = ours.prepare_for_model(first, second, **options)
            assert sorted(found) == sorted(expected)
            for name, column in expected.items():
                assert np.array_equal(found[name], column), (name, options)
    ours.truncation_side = "right"


def test_special_and_added_tokens(data_folder: Path) -> None:
    vocab = str(data_folder / "vocab" / "bert-base-uncased" / "vocab.txt")
    theirs, ours = transformers.DistilBertTokenizerFast(vocab_file=vocab), DistilBertTokenizer(vocab)

    def same(call: Callable[[Any], Any]) -> None:
        assert call(ours) == call(theirs)

    def compare() -> None:
        for name in ("unk", "sep", "pad", "cls", "mask", "bos", "eos"):
            same(lambda tokenizer, name=name: getattr(tokenizer, f"{name}_token"))
            same(lambda tokenizer, name=name: getattr(tokenizer, f"{name}_token_id"))
        for name in (
            "all_special_tokens",
            "all_special_ids",
            "additional_special_tokens",
            "additional_special_tokens_ids",
            "special_tokens_map",
            "vocab_size",
            "added_tokens_encoder",
            "max_len_single_sentence",
            "max_len_sentences_pair",
            "pad_token_type_id",
            "model_input_names",
        ):
            same(lambda tokenizer, name=name: getattr(tokenizer, name))
        same(len)
        same(lambda tokenizer: tokenizer.get_vocab())
        same(lambda tokenizer: tokenizer.get_added_vocab())
        same(lambda tokenizer: {i: str(token) for i, token in tokenizer.added_tokens_decoder.items()})
        for text in ("a NewTok <e1> Some Long-Token [X] newtoken", "the lonewtok <E1> < e1 >"):
            same(lambda tokenizer, text=text: tokenizer(text).tokens())
            same(lambda tokenizer, text=text: tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True))
        same(lambda tokenizer: tokenizer.num_special_tokens_to_add(pair=True))
        same(lambda tokenizer: tokenizer.convert_tokens_to_ids(["the", "newtok", "nonsensical"]))

    compare()
    same(lambda tokenizer: tokenizer.add_tokens(["NewTok", "the", "NewTok", "Some Long-Token"]))
    compare()
    same(lambda tokenizer: tokenizer.add_special_tokens({"additional_special_tokens": ["<e1>"], "bos_token": "[X]"}))
    compare()
    same(lambda tokenizer: tokenizer.add_special_tokens({"additional_special_tokens": ["<e2>"]}, False))
    compare()
    same(lambda tokenizer: tokenizer.add_special_tokens({"additional_special_tokens": ["<e3>", "<e1>"]}))
    compare()
    same(lambda tokenizer: tokenizer.add_tokens([transformers.AddedToken("<sp>", lstrip=True, special=True)]))
    same(lambda tokenizer: tokenizer("a  <sp> b").tokens())


def test_training_equals_transformers(uncased: Pair, novel: str) -> None:
    theirs, ours = uncased
    lines = novel.split("\n")[:2000]
    options = {"vocab_size": 500, "new_special_tokens": ["<e1>"]}
    expected = theirs.train_new_from_iterator([lines[:1000], lines[1000:]], **options, show_progress=False)
    found = ours.train_new_from_iterator([lines[:1000], lines[1000:]], **options, show_progress=False)
    assert found.vocab_size == expected.vocab_size == 500
    # Words of equal count come in an order that is random in the Rust library.
    assert found.all_special_ids == expected.all_special_ids
    assert len(found.get_vocab().keys() & expected.get_vocab().keys()) > 480
    ids = found(lines[10:30])["input_ids"]
    assert found.batch_decode(ids, skip_special_tokens=True) != ids
    assert found("a <e1> b").tokens()[2] == "<e1>"


@pytest.mark.slow
def test_exhaustive_random_calls(pair: Pair, novel: str) -> None:
    assert compare_random_calls(pair, novel, 6000, seed=3) > 3000


@pytest.mark.slow
def test_exhaustive_texts(pair: Pair, data_folder: Path) -> None:
    """Every line of every data set and ten novels: ids, tokens, offsets and words, and the decoded text."""
    theirs, ours = pair
    paths = [
        *sorted((data_folder / "novels_public_domain").glob("*.txt"))[:10],
        *sorted((data_folder / "wikitext2").glob("*.txt")),
        *sorted((data_folder / "sst2_glue").glob("*.tsv")),
        *sorted((data_folder / "glue_stsb").glob("*.tsv")),
        *sorted((data_folder / "wnut17").glob("*.conll")),
        data_folder / "multiple_choice" / "cosmosqa_valid.csv",
        data_folder / "vocab" / "bert-base-multilingual-cased" / "vocab.txt",
    ]
    count = 0
    for path in paths:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        for start in range(0, len(lines), 2000):
            chunk = lines[start : start + 2000]
            expected, found = theirs(chunk, return_offsets_mapping=True), ours(chunk, return_offsets_mapping=True)
            assert_equal(expected, found)
            assert ours.batch_decode(found["input_ids"]) == theirs.batch_decode(found["input_ids"])
            count += len(chunk)
    assert count > 200_000


def test_collators_of_transformers_take_it(uncased: Pair) -> None:
    theirs, ours = uncased
    texts = ["one", "two words", "three words here"]
    for collator, extra in (
        (transformers.DataCollatorWithPadding, {"label": 1}),
        (transformers.DataCollatorForTokenClassification, {"labels": [0, 1, 2]}),
    ):
        rows = [dict(ours(text), **extra) for text in texts]
        expected, found = (collator(tokenizer)([dict(row) for row in rows]) for tokenizer in (theirs, ours))
        assert sorted(found) == sorted(expected)
        for column, values in expected.items():
            assert np.array_equal(found[column], values)
    masked = transformers.DataCollatorForLanguageModeling(ours, mlm_probability=0.5)([ours(text) for text in texts])
    assert masked["labels"].shape == masked["input_ids"].shape
