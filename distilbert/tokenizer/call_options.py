# SPDX-License-Identifier: Apache-2.0
"""What padding, truncation, max_length and stride mean together, by the rules of transformers 4.57."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import index
from reprlib import repr as shown
from typing import Any

from distilbert.errors import TokenizerError, describe
from distilbert.tokenizer.settings import LARGE

PADDINGS = ("longest", "max_length", "do_not_pad")
TRUNCATIONS = ("longest_first", "only_first", "only_second", "do_not_truncate")
SIDES = ("right", "left")
LONGEST = 2**31 - 1  # tokens; beyond any text and any memory


@dataclass(frozen=True)
class CallOptions:
    """Padding and truncation of one call, resolved: every value is known to be valid."""

    padding: str
    truncation: str
    max_length: int | None
    stride: int
    pad_to_multiple_of: int | None
    padding_side: str

    @property
    def pads(self) -> bool:
        """Whether rows are padded."""
        return self.padding != "do_not_pad"

    @property
    def truncates(self) -> bool:
        """Whether rows are truncated; then `max_length` is known."""
        return self.truncation != "do_not_truncate"


def resolve_options(
    *,
    padding: bool | str = False,
    truncation: bool | str | None = None,
    max_length: int | None = None,
    stride: int = 0,
    pad_to_multiple_of: int | None = None,
    padding_side: str,
    model_max_length: int,
    warn: Callable[[str], None],
) -> CallOptions:
    """Check the arguments and fill in what they leave open.

    Args:
        model_max_length: The length to use where one is needed and none is given.
        warn: Called with what the caller should know.

    Raises:
        TokenizerError: lists all arguments that are wrong.
    """
    problems: list[str] = []
    if max_length is not None and padding is False and truncation is None:
        truncation = True  # max_length alone asks for truncation
    pad = _choice("padding", padding, PADDINGS, problems)
    cut = _choice("truncation", False if truncation is None else truncation, TRUNCATIONS, problems)
    length = _number("max_length", max_length, 1, problems)
    if max_length is None and (pad == "max_length" or cut != "do_not_truncate"):
        if model_max_length > LARGE:
            warn("no max_length is given and the tokenizer has no model_max_length: no row is padded or cut to it")
            pad, cut = ("do_not_pad" if pad == "max_length" else pad), "do_not_truncate"
        else:
            length = model_max_length
    elif length and pad == "longest" and cut == "do_not_truncate":
        warn("max_length has no effect without truncation; to pad to it, use padding='max_length'")
    options = CallOptions(
        padding=pad,
        truncation=cut,
        max_length=length,
        stride=_number("stride", stride, 0, problems) or 0,
        pad_to_multiple_of=_number("pad_to_multiple_of", pad_to_multiple_of, 1, problems),
        padding_side=_choice("padding_side", padding_side, SIDES, problems),
    )
    multiple = options.pad_to_multiple_of
    if options.pads and options.truncates and length and multiple and length % multiple:
        problems.append(f"max_length {length}: expected a multiple of pad_to_multiple_of {multiple}")
    if problems:
        raise TokenizerError(describe("arguments", problems))
    return options


def check_room(options: CallOptions, specials: int, always: int, overflow: bool) -> None:
    """Raise TokenizerError unless truncated rows have room for the special tokens and the stride.

    Args:
        specials: Special tokens that this call adds to a row.
        always: Special tokens of a single text, which the Rust library subtracts even when none are added.
        overflow: Whether the other windows are wanted too: then there must be room for a token.
    """
    if not options.truncates or options.max_length is None:
        return
    if options.max_length < specials + overflow:
        more = " and a token in each window" if overflow else ""
        found = f"max_length {options.max_length}: too small for the {specials} special tokens of a row{more}"
        raise TokenizerError(f"arguments: {found}")
    most = min(options.max_length - specials - 1, options.max_length - always)
    if options.stride and options.stride > most:
        room = f"at most {max(most, 0)} with max_length {options.max_length}, or windows would not advance"
        raise TokenizerError(f"arguments: stride {options.stride}: expected {room}")


def _choice(name: str, value: Any, choices: tuple[str, ...], problems: list[str]) -> str:
    switch = name in ("padding", "truncation")
    if switch and (value is True or value is False):
        return choices[0] if value else choices[-1]
    if isinstance(value, str) and value in choices:
        return choices[choices.index(value)]
    more = ", True or False" if switch else ""
    problems.append(f"{name}: expected {', '.join(map(repr, choices))}{more}; found {shown(value)}")
    return choices[-1]


def _number(name: str, value: Any, least: int, problems: list[str]) -> int | None:
    if value is None:
        return None
    try:
        number = index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or not least <= number <= LONGEST:
        problems.append(f"{name}: expected a whole number from {least} to {LONGEST}, found {shown(value)}")
        return None
    return number
