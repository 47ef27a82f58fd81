# SPDX-License-Identifier: Apache-2.0
"""The settings of a tokenizer: which there are, and what each may be.

One table for the keys of tokenizer_config.json and for the constructor's arguments, so that both are held to the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from reprlib import repr as shown
from typing import Any, TypeAlias, TypedDict

from tokenizers import AddedToken

from distilbert.tokenizer.definition import ADDITIONAL, SPECIAL_TOKENS

UNLIMITED = int(1e30)  # model_max_length of a tokenizer that was given none, as Hugging Face writes it
LARGE = int(1e20)  # any model_max_length above this counts as none
INPUT_NAMES = ("input_ids", "attention_mask")  # DistilBERT has one segment, so no token_type_ids
# These read a vocabulary exactly as DistilBertTokenizer does; "Fast" at the end makes no difference.
EQUAL_CLASSES = (
    "DistilBertTokenizer",
    "BertTokenizer",
    "ElectraTokenizer",
    "MobileBertTokenizer",
    "PreTrainedTokenizer",
    "TokenizersBackend",
)
Token: TypeAlias = str | AddedToken


class Settings(TypedDict, total=False):
    """The constructor's keyword arguments, as `DistilBertTokenizer` describes them."""

    do_lower_case: bool
    strip_accents: bool | None
    tokenize_chinese_chars: bool
    clean_text: bool
    do_basic_tokenize: bool
    never_split: list[str] | None
    wordpieces_prefix: str
    bos_token: Token | None
    eos_token: Token | None
    unk_token: Token
    sep_token: Token
    pad_token: Token
    cls_token: Token
    mask_token: Token
    additional_special_tokens: list[Token]
    model_max_length: int
    padding_side: str
    truncation_side: str
    model_input_names: list[str]
    clean_up_tokenization_spaces: bool
    split_special_tokens: bool


def _is_length(value: object) -> bool:
    # Some writers store 1e30 as a float.
    return not isinstance(value, bool) and isinstance(value, int | float) and value >= 1 and value == value // 1


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(is_word, value))


def is_word(value: object) -> bool:
    """Whether `value` is text that can be a token: not empty, and without half of a surrogate pair."""
    return isinstance(value, str) and value != "" and not has_surrogates(value)


def has_surrogates(text: str) -> bool:
    """Whether `text` holds half of a surrogate pair, which no encoding can express."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def is_token(value: object) -> bool:
    """Whether `value` is a token: text, an AddedToken, or the JSON form of one."""
    if isinstance(value, AddedToken):
        return is_word(value.content)
    if isinstance(value, Mapping):
        rest = {key: flag for key, flag in value.items() if key not in ("content", "__type")}
        names = ("single_word", "lstrip", "rstrip", "normalized", "special")
        return is_word(value.get("content")) and all(
            key in names and isinstance(flag, bool) for key, flag in rest.items()
        )
    return is_word(value)


def _is_border(value: object) -> bool:
    # The Rust library's templates give ":" and "$" a meaning.
    if not is_token(value):
        return False
    text = value["content"] if isinstance(value, Mapping) else str(value)
    return ":" not in text and not text.startswith("$")


def _is_token_list(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(is_token, value))


def _is_known_class(value: object) -> bool:
    return isinstance(value, str) and value.removesuffix("Fast") in EQUAL_CLASSES


Check = tuple[Callable[[object], bool], str]
_FLAG: Check = (lambda value: isinstance(value, bool), "true or false")
_SIDE: Check = (lambda value: value in ("right", "left"), "'right' or 'left'")
_TOKEN: Check = (is_token, "a token (text, or an object with content and flags)")
_BORDER: Check = (_is_border, "a token without ':' that does not begin with '$'")
_TOKENS: Check = (_is_token_list, "a list of tokens")
CHECKS: dict[str, Check] = {
    **dict.fromkeys(("do_lower_case", "tokenize_chinese_chars", "clean_text", "do_basic_tokenize"), _FLAG),
    **dict.fromkeys(("strip_accents", "clean_up_tokenization_spaces", "split_special_tokens"), _FLAG),
    **dict.fromkeys(("padding_side", "truncation_side"), _SIDE),
    **dict.fromkeys(SPECIAL_TOKENS, _TOKEN),
    **dict.fromkeys(("cls_token", "sep_token"), _BORDER),
    ADDITIONAL: _TOKENS,
    "never_split": (_is_list_of_text, "a list of words"),
    "wordpieces_prefix": (is_word, "text"),
    "model_max_length": (_is_length, "a whole number of at least 1"),
    "model_input_names": (
        lambda value: _is_list_of_text(value) and list(value)[:1] == ["input_ids"],  # type: ignore[call-overload]
        "a list of names that begins with 'input_ids'",
    ),
    "name_or_path": (lambda value: isinstance(value, str), "text"),
}
FILE_ONLY: dict[str, Check] = {
    "max_len": CHECKS["model_max_length"],
    "added_tokens_decoder": (lambda value: isinstance(value, dict), "an object from id to token"),
    "extra_special_tokens": (lambda value: isinstance(value, dict) or _is_token_list(value), "an object or a list"),
    "tokenizer_class": (_is_known_class, f"one of {', '.join(EQUAL_CLASSES)} (they are equal)"),
}
NULLABLE_ARGUMENTS = ("strip_accents", "never_split", "bos_token", "eos_token")


def check_arguments(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the constructor's keyword arguments."""
    problems = []
    for name, value in given.items():
        if name not in CHECKS:
            near = get_close_matches(name, CHECKS, n=1)
            problems.append(f"{name}: no such argument" + (f", did you mean {near[0]}?" if near else ""))
        elif not (value is None and name in NULLABLE_ARGUMENTS) and not CHECKS[name][0](value):
            problems.append(f"{name} (argument): expected {CHECKS[name][1]}, found {shown(value)}")
    return problems


def check_config(config: Mapping[str, Any], name: str) -> list[str]:
    """What is wrong with the known keys of a tokenizer_config.json or special_tokens_map.json; null is "not said"."""
    checks = CHECKS | FILE_ONLY
    return [
        f"{name}: {key}: expected {checks[key][1]}, found {shown(value)}"
        for key, value in config.items()
        if value is not None and key in checks and not checks[key][0](value)
    ]
