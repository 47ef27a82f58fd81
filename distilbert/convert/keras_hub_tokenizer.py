# SPDX-License-Identifier: Apache-2.0
"""The tokenizer of a preset of keras-hub: read for a `DistilBertTokenizer`, and written from one.

Both are BERT's WordPiece. They agree on ordinary text; keras-hub folds case where BERT lower-cases ("ß" becomes "ss").
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilbert.config import DistilBertConfig
from distilbert.convert.keras_hub import PREPROCESSOR_FILE, TASK_FILE, find_preset, read_preset
from distilbert.convert.keras_hub_writing import policy, serialized
from distilbert.errors import TokenizerError, describe
from distilbert.files import read_json, write_json, write_text

if TYPE_CHECKING:
    from distilbert.tokenizer import DistilBertTokenizer

_CONFIG = "tokenizer.json"
_VOCABULARY = "assets/tokenizer/vocabulary.txt"
_CLASSES = ("DistilBertTokenizer", "BertTokenizer")
_SPECIAL = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
_PREPROCESSORS = {
    "DistilBertTextClassifier": "distil_bert_text_classifier_preprocessor",
    "DistilBertMaskedLM": "distil_bert_masked_lm_preprocessor",
}


def read_settings(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The vocabulary and the settings of the tokenizer in a folder; None if it is no preset, or has no tokenizer.

    Raises:
        TokenizerError: the tokenizer is none that a `DistilBertTokenizer` can be.
    """
    preset = find_preset(folder)
    if preset is None or not (folder / _CONFIG).exists():
        return None
    value = read_json(folder / _CONFIG)
    fields = value.get("config")
    if value.get("class_name") not in _CLASSES or not isinstance(fields, dict):
        expected = " or ".join(_CLASSES)
        found = value.get("class_name")
        raise TokenizerError(f"{folder / _CONFIG}: class_name: expected {expected}, found {found!r:.80}")
    if not fields.get("split", True):
        raise TokenizerError(f"{folder / _CONFIG}: split: expected true, found {fields['split']!r:.80}")
    return folder / _VOCABULARY, {
        "do_lower_case": fields.get("lowercase", False),
        "strip_accents": fields.get("strip_accents", False),
        "wordpieces_prefix": fields.get("suffix_indicator", "##"),
        "unk_token": fields.get("oov_token", "[UNK]"),
        "model_max_length": read_preset(preset).data["max_position_embeddings"],
    }


def write_tokenizer(tokenizer: DistilBertTokenizer, folder: Path, config: DistilBertConfig) -> None:
    """Write a tokenizer into a preset folder, and into the preset's task.

    Raises:
        TokenizerError: lists what the tokenizer of keras-hub cannot do.
    """
    from distilbert.tokenizer.writing import vocabulary_text

    _check(tokenizer, folder)
    pipeline = tokenizer._engine.pipeline
    strip = pipeline.lowercase if pipeline.strip_accents is None else pipeline.strip_accents
    described = serialized(
        "distil_bert_tokenizer",
        "distil_bert_tokenizer",
        "DistilBertTokenizer",
        trainable=True,
        dtype=policy("int32"),
        config_file=_CONFIG,
        vocabulary=None,
        lowercase=pipeline.lowercase,
        strip_accents=strip,
        split=True,
        suffix_indicator=pipeline.prefix,
        oov_token=tokenizer.unk_token,
        special_tokens_in_strings=True,
    )
    (folder / _VOCABULARY).parent.mkdir(parents=True, exist_ok=True)
    write_text(folder / _VOCABULARY, vocabulary_text(tokenizer))
    write_json(folder / _CONFIG, described)
    if (folder / TASK_FILE).exists():
        task = read_json(folder / TASK_FILE)
        task["config"]["preprocessor"] = _preprocessor(task["class_name"], described, config)
        write_json(folder / PREPROCESSOR_FILE, task["config"]["preprocessor"])
        write_json(folder / TASK_FILE, task)


def _preprocessor(task: str, tokenizer: dict[str, Any], config: DistilBertConfig) -> dict[str, Any]:
    module = _PREPROCESSORS[task]
    return serialized(
        module,
        module,
        f"{task}Preprocessor",
        trainable=True,
        dtype=policy("float32"),
        tokenizer=tokenizer,
        config_file=PREPROCESSOR_FILE,
        sequence_length=config.max_position_embeddings,
    )


def _check(tokenizer: DistilBertTokenizer, folder: Path) -> None:
    pipeline = tokenizer._engine.pipeline
    problems = [
        f"{name}: expected {text}, found {getattr(tokenizer, name)}"
        for name, text in _SPECIAL.items()
        if getattr(tokenizer, name) != text
    ]
    if len(tokenizer) > tokenizer.vocab_size:
        problems.append(f"added tokens: expected none, found {len(tokenizer) - tokenizer.vocab_size}")
    if tokenizer._settings.get("never_split"):
        problems.append("never_split: expected none")
    if not pipeline.handle_chinese_chars:
        problems.append("tokenize_chinese_chars: expected true, found false")
    if problems:
        raise TokenizerError(describe(f"{folder}: keras-hub's tokenizer cannot do what this one does", problems))
