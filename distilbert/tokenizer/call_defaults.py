# SPDX-License-Identifier: Apache-2.0
"""What a call takes from its tokenizer where its arguments leave something open."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, TypedDict

from distilbert.errors import TokenizerError
from distilbert.tokenizer.call_options import CallOptions, resolve_options
from distilbert.tokenizer.vocabulary_access import Vocabulary

logger = logging.getLogger("distilbert")
OPTIONS = ("padding", "truncation", "max_length", "stride", "pad_to_multiple_of", "padding_side", "verbose")
OLD_ARGUMENTS = {  # of early versions of transformers, and how they are written since
    "pad_to_max_length": 'write padding="max_length"',
    "truncation_strategy": 'write truncation="longest_first", "only_first" or "only_second"',
}


class CallArguments(TypedDict, total=False):
    """The arguments of `DistilBertTokenizer.__call__` after the texts, with its defaults."""

    padding: bool | str
    truncation: bool | str | None
    max_length: int | None
    stride: int
    is_split_into_words: bool
    pad_to_multiple_of: int | None
    padding_side: str | None
    return_tensors: str | None
    return_token_type_ids: bool | None
    return_attention_mask: bool | None
    return_overflowing_tokens: bool
    return_special_tokens_mask: bool
    return_offsets_mapping: bool
    return_length: bool
    verbose: bool
    split_special_tokens: bool | None


def options_for(tokenizer: Vocabulary, arguments: Mapping[str, Any]) -> CallOptions:
    """Padding and truncation of a call, of whose arguments none may be unknown."""
    unknown = sorted(arguments.keys() - CallArguments.__annotations__.keys())
    if unknown:
        advice = [OLD_ARGUMENTS[name] for name in unknown if name in OLD_ARGUMENTS] or [
            "see DistilBertTokenizer.__call__"
        ]
        raise TokenizerError(f"arguments: there is no {', '.join(unknown)}; {'; '.join(advice)}")
    given = {name: value for name, value in arguments.items() if name in OPTIONS}
    verbose = given.pop("verbose", True)
    side = given.pop("padding_side", None)

    def warn(message: str) -> None:
        if verbose:
            warn_once(tokenizer, message)

    return resolve_options(
        padding_side=tokenizer.padding_side if side is None else side,
        model_max_length=tokenizer.model_max_length,
        warn=warn,
        **given,
    )


def wants(tokenizer: Vocabulary, name: str, asked: bool | None) -> bool:
    """Whether a column is wanted: as asked, else as the model takes it."""
    return name in tokenizer.model_input_names if asked is None else asked


def pad_token(tokenizer: Vocabulary) -> tuple[int, str]:
    """Id and text of the padding token."""
    text = str(tokenizer.pad_token)
    return tokenizer._id(text), text


def warn_once(tokenizer: Vocabulary, message: str, topic: str | None = None) -> None:
    """Log a warning the first time that its topic comes up with this tokenizer."""
    if (topic or message) not in tokenizer._warned:
        tokenizer._warned.add(topic or message)
        logger.warning("%s", message)
