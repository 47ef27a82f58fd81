# SPDX-License-Identifier: Apache-2.0
"""Tokenizer files of every age: reading them, writing them, and transformers reading what we wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken

from distilbert.errors import FileError
from distilbert.tokenizer import DistilBertTokenizer, DistilBertTokenizerFast

VOCABULARY = "[PAD] [UNK] [CLS] [SEP] [MASK] want ##want ##ed wa un runn ##ing , low lowest Low é e ##é ' t"
WORDS = VOCABULARY.split(" ")
PUBLISHED = "[UNK] [CLS] [SEP] [PAD] [MASK] want ##want ##ed wa un runn ##ing , low lowest"
FILES = {"vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}
TEXTS = ["UNwant\u00e9d,running", "low Low lowest é <e1> newtok", "[MASK] unwanted", "can't low't", "nonsense"]


@pytest.fixture
def vocab(tmp_path: Path) -> Path:
    path = tmp_path / "vocab" / "vocab.txt"
    path.parent.mkdir()
    path.write_text("".join(f"{word}\n" for word in WORDS), encoding="utf-8")
    return path


@pytest.fixture
def grown(vocab: Path) -> DistilBertTokenizer:
    """A cased tokenizer with new tokens and settings that are not the defaults."""
    tokenizer = DistilBertTokenizer(
        vocab,
        do_lower_case=False,
        strip_accents=True,
        model_max_length=77,
        padding_side="left",
        truncation_side="left",
    )
    tokenizer.add_tokens(["newtok"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<e1>", "<e2>"]})
    return tokenizer


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None removes one."""
    value = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {key: item for key, item in value.items() if item is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def ids(tokenizer: Any) -> list[list[int]]:
    return [tokenizer(text)["input_ids"] for text in TEXTS]


def test_published_expectations(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text(PUBLISHED.replace(" ", "\n") + "\n", encoding="utf-8")
    tokenizer = DistilBertTokenizer(path)
    tokens = tokenizer.tokenize("UNwant\u00e9d,running")
    assert tokens == ["un", "##want", "##ed", ",", "runn", "##ing"]
    assert tokenizer.convert_tokens_to_ids(tokens) == [9, 6, 7, 12, 10, 11]
    assert tokenizer.tokenize("unwantedX running") == ["[UNK]", "runn", "##ing"]
    assert [tokenizer.tokenize(text) for text in ("Test", "\xad", "test")] == [["[UNK]"], [], ["[UNK]"]]
    assert tokenizer.pad_token_id == 3
    assert tokenizer.build_inputs_with_special_tokens([5], [6]) == [1, 5, 2, 6, 2]
    assert DistilBertTokenizerFast is DistilBertTokenizer


@pytest.mark.parametrize(
    ("text", "words", "settings"),
    [
        ("ah\u535a\u63a8zz", "ah \u535a \u63a8 zz", {"do_lower_case": False}),
        (" \tHeLLo!how  \n Are yoU?  ", "hello ! how are you ?", {}),
        ("H\u00e9llo", "hello", {}),
        ("H\u00e9llo", "h\u00e9llo", {"strip_accents": False}),
        (" \tHeLLo!how  \n Are yoU?  ", "HeLLo ! how Are yoU ?", {"do_lower_case": False}),
        ("H\u00e4LLo", "HaLLo", {"do_lower_case": False, "strip_accents": True}),
        ("a\n'll !!to?'d of, can't.", "a ' ll ! ! to ? ' d of , can ' t .", {}),
        ("HeLLo [UNK] x", "hello [UNK] x", {}),
        ("a HeLLo-b", "a HeLLo - b", {"never_split": ["HeLLo"]}),
        ("\u7684\u4eba\u6709", "\u7684 ##\u4eba ##\u6709", {"tokenize_chinese_chars": False}),
        ("a\x00b\u0007", "a\x00b\u0007", {"clean_text": False}),
        ("HeLLo", "hello", {"do_basic_tokenize": False}),
        ("hello", "hel @@lo", {"wordpieces_prefix": "@@"}),
    ],
)
def test_settings_are_honoured(tmp_path: Path, text: str, words: str, settings: dict[str, Any]) -> None:
    path = tmp_path / "vocab.txt"
    known = [] if settings.get("clean_text") is False else [word for word in words.split() if word != "[UNK]"]
    known = [word for word in dict.fromkeys([*known, "a\x00b\u0007"]) if word]
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *known]) + "\n", encoding="utf-8")
    assert DistilBertTokenizer(path, **settings).tokenize(text) == words.split(" ")


def test_offsets_of_the_original_text(data_folder: Path) -> None:
    tokenizer = DistilBertTokenizer(data_folder / "vocab" / "bert-base-uncased" / "vocab.txt")
    encoding = tokenizer(f"A, naïve {tokenizer.mask_token} AllenNLP sentence.", return_offsets_mapping=True)
    expected = [(0, 0), (0, 1), (1, 2), (3, 8), (9, 15), (16, 21), (21, 23), (23, 24), (25, 33), (33, 34), (0, 0)]
    assert encoding["offset_mapping"] == expected


def test_saved_and_read_again(grown: DistilBertTokenizer, tmp_path: Path) -> None:
    paths = grown.save_pretrained(tmp_path / "saved")
    assert {Path(path).name for path in paths} == FILES | {"added_tokens.json"}
    again = DistilBertTokenizer.from_pretrained(tmp_path / "saved")
    assert ids(again) == ids(grown)
    for name in ("vocab_size", "model_max_length", "padding_side", "truncation_side", "special_tokens_map"):
        assert getattr(again, name) == getattr(grown, name)
    assert again.get_vocab() == grown.get_vocab()
    assert again.clean_up_tokenization_spaces is True
    assert again.name_or_path == str(tmp_path / "saved")


def test_writing_is_deterministic_and_leaves_other_files(grown: DistilBertTokenizer, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
        grown.save_pretrained(tmp_path / name)
    DistilBertTokenizer.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    assert len(list((tmp_path / "one").iterdir())) == 6


def test_stale_added_tokens_are_removed(grown: DistilBertTokenizer, vocab: Path, tmp_path: Path) -> None:
    grown.save_pretrained(tmp_path / "saved")
    DistilBertTokenizer(vocab).save_pretrained(tmp_path / "saved")
    assert {path.name for path in (tmp_path / "saved").iterdir()} == FILES


def test_prefix_and_vocabulary_alone(grown: DistilBertTokenizer, vocab: Path, tmp_path: Path) -> None:
    (path,) = grown.save_vocabulary(tmp_path / "alone", filename_prefix="x")
    assert Path(path).name == "x-vocab.txt"
    assert Path(path).read_bytes() == vocab.read_bytes()
    assert {Path(name).name for name in grown.save_pretrained(tmp_path / "alone", "y")} >= {"y-tokenizer.json"}


def test_unwritable_targets(grown: DistilBertTokenizer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileError, match="file: cannot be written to"):
        grown.save_pretrained(tmp_path / "file")
    (tmp_path / "folder" / "vocab.txt").mkdir(parents=True)
    with pytest.raises(FileError, match=r"vocab\.txt: is a folder"):
        grown.save_pretrained(tmp_path / "folder")


def test_transformers_reads_what_we_write(grown: DistilBertTokenizer, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    grown.save_pretrained(tmp_path)
    for theirs in (
        transformers.DistilBertTokenizer.from_pretrained(tmp_path),
        transformers.DistilBertTokenizerFast.from_pretrained(tmp_path),
        transformers.AutoTokenizer.from_pretrained(tmp_path),
    ):
        assert ids(theirs) == ids(grown)
        assert len(theirs) == len(grown)
        assert theirs.get_vocab() == grown.get_vocab()
        assert theirs.special_tokens_map == grown.special_tokens_map
        assert theirs.model_max_length == 77
        assert theirs.padding_side == "left"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).rename(tmp_path / f"hidden-{name}")
    slow = transformers.DistilBertTokenizer.from_pretrained(tmp_path, do_lower_case=False, strip_accents=True)
    assert ids(slow) == ids(grown)


def test_we_read_what_transformers_writes(grown: DistilBertTokenizer, vocab: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    for name in ("DistilBertTokenizer", "DistilBertTokenizerFast", "BertTokenizer", "BertTokenizerFast"):
        theirs = getattr(transformers, name)(str(vocab), do_lower_case=False, strip_accents=True, model_max_length=77)
        theirs.add_tokens(["newtok"])
        theirs.add_special_tokens({"additional_special_tokens": ["<e1>", "<e2>"]})
        theirs.save_pretrained(tmp_path / name)
        ours = DistilBertTokenizer.from_pretrained(tmp_path / name)
        assert ids(ours) == ids(theirs) == ids(grown)
        assert ours.special_tokens_map == theirs.special_tokens_map
        assert {i: str(t) for i, t in ours.added_tokens_decoder.items()} == {
            i: str(t) for i, t in theirs.added_tokens_decoder.items()
        }
        assert set(ours("low")) == {"input_ids", "attention_mask"}
        rows = ids(ours)
        assert ours.batch_decode(rows) == DistilBertTokenizer.from_pretrained(tmp_path / name).batch_decode(rows)
        fast = transformers.DistilBertTokenizerFast.from_pretrained(tmp_path / name)
        assert ours.batch_decode(rows) == fast.batch_decode(rows)


def test_our_config_has_the_keys_of_transformers(vocab: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    transformers.DistilBertTokenizerFast(str(vocab)).save_pretrained(tmp_path / "theirs")
    DistilBertTokenizer(vocab).save_pretrained(tmp_path / "ours")
    for name in FILES:
        theirs, ours = ((tmp_path / folder / name).read_text(encoding="utf-8") for folder in ("theirs", "ours"))
        assert ours == theirs, name


def test_old_repository_with_vocabulary_alone(vocab: Path) -> None:
    assert DistilBertTokenizer.from_pretrained(vocab.parent).do_lower_case is True
    config = {"do_lower_case": False, "max_len": 512, "strip_accents": None, "init_inputs": []}
    (vocab.parent / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (vocab.parent / "added_tokens.json").write_text('{"<e1>": 21, "newtok": 22}', encoding="utf-8")
    specials = {"additional_special_tokens": [{"content": "<e1>", "lstrip": False, "normalized": False}]}
    (vocab.parent / "special_tokens_map.json").write_text(json.dumps(specials), encoding="utf-8")
    tokenizer = DistilBertTokenizer.from_pretrained(str(vocab.parent))
    assert (tokenizer.do_lower_case, tokenizer.model_max_length, len(tokenizer)) == (False, 512, 23)
    assert tokenizer("Low <e1> newtok")["input_ids"] == [2, 15, 21, 22, 3]
    assert tokenizer.decode([2, 15, 21, 22, 3], skip_special_tokens=True) == "Low newtok"
    transformers = pytest.importorskip("transformers")
    theirs = transformers.DistilBertTokenizerFast.from_pretrained(vocab.parent)
    assert ids(theirs) == ids(tokenizer)
    assert theirs.get_vocab() == tokenizer.get_vocab()


def test_files_of_transformers_5(grown: DistilBertTokenizer, tmp_path: Path) -> None:
    """It writes tokenizer.json and tokenizer_config.json alone, with extra_special_tokens as a list."""
    grown.save_pretrained(tmp_path)
    for name in ("vocab.txt", "special_tokens_map.json", "added_tokens.json"):
        (tmp_path / name).unlink()
    config = {
        "backend": "tokenizers",
        "cls_token": "[CLS]",
        "do_lower_case": False,
        "extra_special_tokens": ["<e1>", "<e2>"],
        "is_local": True,
        "mask_token": "[MASK]",
        "model_max_length": 1e30,
        "pad_token": "[PAD]",
        "sep_token": "[SEP]",
        "strip_accents": True,
        "tokenize_chinese_chars": True,
        "tokenizer_class": "TokenizersBackend",
        "unk_token": "[UNK]",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    tokenizer = DistilBertTokenizer.from_pretrained(tmp_path)
    assert ids(tokenizer) == ids(grown)
    assert tokenizer.additional_special_tokens == ["<e1>", "<e2>"]
    assert tokenizer.model_max_length == int(1e30)
    assert tokenizer.clean_up_tokenization_spaces is False
    tokenizer.save_pretrained(tmp_path / "saved")
    assert {path.name for path in (tmp_path / "saved").iterdir()} == FILES | {"added_tokens.json"}
    written = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert written["extra_special_tokens"] == {}
    assert written["additional_special_tokens"] == ["<e1>", "<e2>"]


def test_tokenizer_json_alone_keeps_its_own_settings(grown: DistilBertTokenizer, tmp_path: Path) -> None:
    grown.save_pretrained(tmp_path)
    alone = DistilBertTokenizer(tokenizer_file=tmp_path / "tokenizer.json")
    assert (alone.do_lower_case, alone.convert_tokens_to_ids("<e2>")) == (False, 23)
    assert ids(alone) == ids(grown)
    assert DistilBertTokenizer(tokenizer_file=tmp_path / "tokenizer.json", do_lower_case=True).do_lower_case is True


def test_tokenizer_json_names_its_own_special_tokens(grown: DistilBertTokenizer, tmp_path: Path) -> None:
    grown.save_pretrained(tmp_path)
    text = (tmp_path / "tokenizer.json").read_text(encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text(text.replace("[CLS]", "<s>").replace("[SEP]", "</s>"), encoding="utf-8")
    alone = DistilBertTokenizer(tokenizer_file=tmp_path / "tokenizer.json")
    assert (alone.cls_token, alone.sep_token_id) == ("<s>", 3)
    assert alone("low").tokens() == ["<s>", "low", "</s>"]


def test_tokenizer_json_of_early_library_versions(grown: DistilBertTokenizer, tmp_path: Path) -> None:
    grown.save_pretrained(tmp_path)
    value = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    del value["model"]["type"]
    edit(
        tmp_path / "tokenizer.json",
        model=value["model"],
        post_processor={"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        decoder=None,
    )
    assert ids(DistilBertTokenizer.from_pretrained(tmp_path)) == ids(grown)


def test_a_sentence_encoder_with_truncation_and_padding_in_its_file(data_folder: Path) -> None:
    folder = data_folder / "vocab" / "all-MiniLM-L6-v2"
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    assert tokenizer.model_max_length == 512
    assert tokenizer("A short text.")["input_ids"] == [101, 1037, 2460, 3793, 1012, 102]
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertTokenizerFast.from_pretrained(folder)
    texts = ["It's a text", "and one more that's longer"]
    options = {"padding": True, "return_token_type_ids": True}
    assert dict(tokenizer(texts, **options)) == dict(theirs(texts, **options))


def test_arguments_come_before_files(grown: DistilBertTokenizer, tmp_path: Path) -> None:
    grown.save_pretrained(tmp_path)
    tokenizer = DistilBertTokenizer.from_pretrained(
        tmp_path, do_lower_case=True, model_max_length=9, padding_side="right", pad_token="low", mask_token="<m>"
    )
    assert (tokenizer.do_lower_case, tokenizer.model_max_length, tokenizer.padding_side) == (True, 9, "right")
    assert (tokenizer.pad_token_id, tokenizer.mask_token, tokenizer.mask_token_id) == (13, "<m>", 24)
    assert tokenizer("a", padding="max_length")["input_ids"] == [2, 1, 3, 13, 13, 13, 13, 13, 13]
    renamed = DistilBertTokenizer.from_pretrained(tmp_path, cls_token="wa", sep_token=AddedToken("un"), unk_token="t")
    assert renamed("zzz")["input_ids"] == [8, 20, 9]
    assert renamed.get_special_tokens_mask([8, 20, 9], already_has_special_tokens=True) == [1, 1, 1]


def test_unknown_keys_are_kept(vocab: Path, tmp_path: Path) -> None:
    config = {
        "chat_template": "x",
        "my_key": {"a": [1]},
        "tokenizer_file": "/home/me/tokenizer.json",
        "never_split": ["un"],
    }
    (vocab.parent / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    DistilBertTokenizer.from_pretrained(vocab.parent).save_pretrained(tmp_path / "saved")
    written = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert (written["chat_template"], written["my_key"], written["never_split"]) == ("x", {"a": [1]}, ["un"])
    assert "tokenizer_file" not in written


def test_windows_line_ends_and_byte_order_mark(vocab: Path) -> None:
    plain = DistilBertTokenizer(vocab)
    vocab.write_bytes(b"\xef\xbb\xbf" + vocab.read_bytes().replace(b"\n", b"\r\n"))
    assert DistilBertTokenizer(vocab).get_vocab() == plain.get_vocab()


def test_words_at_which_splitlines_would_split(vocab: Path, tmp_path: Path) -> None:
    odd = ["\u2028", "\x85", "\x0b", "\x1c"]
    vocab.write_text("".join(f"{word}\n" for word in [*WORDS, *odd]), encoding="utf-8")
    tokenizer = DistilBertTokenizer(vocab)
    tokenizer.save_pretrained(tmp_path / "saved")
    again = DistilBertTokenizer.from_pretrained(tmp_path / "saved")
    assert again.convert_tokens_to_ids(odd) == tokenizer.convert_tokens_to_ids(odd) == [21, 22, 23, 24]


def test_subfolder_and_hub_name(vocab: Path, tmp_path: Path) -> None:
    assert len(DistilBertTokenizer.from_pretrained(tmp_path, subfolder="vocab")) == len(WORDS)
    with pytest.raises(FileError, match="no such"):
        DistilBertTokenizer.from_pretrained(tmp_path / "absent")
