# SPDX-License-Identifier: Apache-2.0
"""The calls that take ids: padding, and what makes an input of ids without their text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from distilbert.errors import TokenizerError
from distilbert.tokenizer import id_lists
from distilbert.tokenizer.batch_encoding import BatchEncoding
from distilbert.tokenizer.call_defaults import CallArguments, options_for, pad_token, wants
from distilbert.tokenizer.call_options import CallOptions
from distilbert.tokenizer.padding import pad_rows
from distilbert.tokenizer.tensors import to_lists
from distilbert.tokenizer.vocabulary_access import Vocabulary


class IdCalls(Vocabulary):
    """Ids to inputs. Not for use alone: see `DistilBertTokenizer`."""

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Pad rows that are encoded already: a dict of columns, or a list of dicts with a row each, as in a collator.

        The columns input_ids, attention_mask, token_type_ids and special_tokens_mask are padded, others stay as they
        are; an attention mask is added if there is none. Columns that are tensors stay so.

        Raises:
            TokenizerError: The columns do not fit each other, or an argument is wrong.
        """
        # No warning that max_length does nothing: here there is nothing that it could cut.
        options = options_for(
            self,
            {
                "padding": padding,
                "truncation": False,
                "max_length": max_length,
                "pad_to_multiple_of": pad_to_multiple_of,
                "padding_side": padding_side,
                "verbose": verbose and padding == "max_length",
            },
        )
        return pad_rows(
            encoded_inputs,
            options,
            pad_token(self),
            with_mask=wants(self, "attention_mask", return_attention_mask),
            return_tensors=return_tensors,
        )

    def prepare_for_model(
        self,
        ids: Sequence[int],
        pair_ids: Sequence[int] | None = None,
        add_special_tokens: bool = True,
        prepend_batch_axis: bool = False,
        **arguments: Unpack[CallArguments],
    ) -> BatchEncoding:
        """Special tokens, truncation, padding and tensors for one list of ids or two.

        Args:
            ids: Ids without special tokens, as from `convert_tokens_to_ids(tokenize(text))`.
            pair_ids: Those of the second text.
            add_special_tokens: Whether to add them.
            prepend_batch_axis: Make tensors of shape (1, T) instead of (T,).
            arguments: As in `__call__`. return_overflowing_tokens gives what was cut off as "overflowing_tokens", and
                "num_truncated_tokens".

        Raises:
            TokenizerError: An argument is wrong, or truncation is impossible.
        """
        first, second = list(to_lists(ids)), None if pair_ids is None else list(to_lists(pair_ids))
        for number in (*first, *(second or ())):
            self._check_id(number)
        options = options_for(self, arguments)
        result = pad_rows(
            self._columns(first, second, add_special_tokens, options, arguments),
            options,
            pad_token(self),
            with_mask=wants(self, "attention_mask", arguments.get("return_attention_mask")),
            return_tensors=None,
        )
        if arguments.get("return_length"):
            result["length"] = len(result["input_ids"])
        return result.convert_to_tensors(arguments.get("return_tensors"), prepend_batch_axis)

    def truncate_sequences(
        self,
        ids: list[int],
        pair_ids: list[int] | None = None,
        num_tokens_to_remove: int = 0,
        truncation_strategy: str = "longest_first",
        stride: int = 0,
    ) -> tuple[list[int], list[int] | None, list[int]]:
        """Take ids away from one list or two: what is left of both, and what overflows.

        Raises:
            TokenizerError: The list to cut is too short, or absent.
        """
        side = self.truncation_side
        return id_lists.truncate(ids, pair_ids, num_tokens_to_remove, truncation_strategy, stride, side)

    def build_inputs_with_special_tokens(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """[CLS] A [SEP], or [CLS] A [SEP] B [SEP]."""
        cls, sep = (self._id(token) for token in self._engine.cls_sep)
        return id_lists.join(cls, sep, token_ids_0, token_ids_1)

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """0 for the first text with its special tokens, 1 for the second."""
        return id_lists.segments(token_ids_0, token_ids_1)

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 for special tokens, 0 for the rest.

        Args:
            token_ids_0: Ids of the first text.
            token_ids_1: Ids of the second text.
            already_has_special_tokens: Whether the special tokens are among the ids (then of one list); otherwise the
                mask is for what `build_inputs_with_special_tokens` makes of the ids.
        """
        if not already_has_special_tokens:
            return id_lists.special_mask(token_ids_0, token_ids_1)
        if token_ids_1 is not None:
            raise TokenizerError("token_ids_1: expected None, as ids with special tokens are one list")
        special = set(self.all_special_ids)
        return [int(number in special) for number in to_lists(token_ids_0)]

    def _columns(
        self,
        first: list[int],
        second: list[int] | None,
        add_special_tokens: bool,
        options: CallOptions,
        arguments: CallArguments,
    ) -> dict[str, Any]:
        """The columns of `prepare_for_model` before padding."""
        columns: dict[str, Any] = {}
        total = len(first) + len(second or ()) + self.num_special_tokens_to_add(second is not None) * add_special_tokens
        surplus = total - (options.max_length or total)
        overflowing: list[int] = []
        if options.truncates:
            cut, stride = options.truncation, options.stride
            first, second, overflowing = self.truncate_sequences(first, second, surplus, cut, stride)
        if arguments.get("return_overflowing_tokens"):
            columns |= {"overflowing_tokens": overflowing, "num_truncated_tokens": surplus}
        if add_special_tokens:
            columns["input_ids"] = self.build_inputs_with_special_tokens(first, second)
            mask = id_lists.special_mask(first, second)
        else:
            columns["input_ids"] = [*first, *(second or ())]
            mask = [0] * len(columns["input_ids"])
        if wants(self, "token_type_ids", arguments.get("return_token_type_ids")):
            if not add_special_tokens:
                raise TokenizerError("return_token_type_ids: expected add_special_tokens=True with it")
            columns["token_type_ids"] = id_lists.segments(first, second)
        if arguments.get("return_special_tokens_mask"):
            columns["special_tokens_mask"] = mask
        return columns
