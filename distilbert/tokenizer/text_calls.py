# SPDX-License-Identifier: Apache-2.0
"""The calls that take texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from tokenizers import Encoding

from distilbert.errors import TokenizerError
from distilbert.tokenizer.batch_encoding import BatchEncoding
from distilbert.tokenizer.call_defaults import CallArguments, options_for, pad_token, wants, warn_once
from distilbert.tokenizer.call_inputs import Row, batch_rows, make_row, make_rows
from distilbert.tokenizer.call_options import CallOptions
from distilbert.tokenizer.columns import Padding, as_array, as_lists, padded_length
from distilbert.tokenizer.tensors import from_array, load_framework
from distilbert.tokenizer.vocabulary_access import Vocabulary
from distilbert.tokenizer.windows import RowEncoder


class TextCalls(Vocabulary):
    """Texts to ids. Not for use alone: see `DistilBertTokenizer`."""

    def __call__(
        self,
        text: str | Sequence[Any] | None = None,
        text_pair: str | Sequence[Any] | None = None,
        text_target: str | Sequence[Any] | None = None,
        text_pair_target: str | Sequence[Any] | None = None,
        add_special_tokens: bool = True,
        **arguments: Unpack[CallArguments],
    ) -> BatchEncoding:
        """Encode a text, a pair of texts, or a batch of either.

        Args:
            text: A text, or a list of texts; with is_split_into_words a list of words, or a list of such lists.
            text_pair: The second text, or the second texts, of the same form.
            text_target: Texts whose ids become the column "labels".
            text_pair_target: Their second texts.
            add_special_tokens: Make it [CLS] A [SEP], or [CLS] A [SEP] B [SEP].
            arguments: As keywords, with their defaults:

                * padding (False): True or "longest", "max_length", False or "do_not_pad".
                * truncation (None): True or "longest_first", "only_first", "only_second", False or "do_not_truncate";
                  with max_length and neither padding nor truncation given, True.
                * max_length (None): in tokens, special ones included; None for model_max_length.
                * stride (0): tokens that a window repeats of the one before.
                * is_split_into_words (False): whether the texts are lists of words.
                * pad_to_multiple_of (None), padding_side (None: the tokenizer's).
                * return_tensors (None): "np" or "pt" (int64), "tf" or "jax" (int32), None for lists.
                * return_token_type_ids, return_attention_mask (None: as model_input_names says, no and yes).
                * return_overflowing_tokens (False): also the other windows of texts that are cut, as rows of their own,
                  with a column "overflow_to_sample_mapping".
                * return_special_tokens_mask, return_offsets_mapping, return_length (False): further columns.
                * split_special_tokens (None: the tokenizer's): take "[CLS]" in a text for text.
                * verbose (True): whether to log a too long text.

        Returns:
            The columns: input_ids, then token_type_ids, attention_mask, special_tokens_mask, offset_mapping (pairs of
            characters), length and overflow_to_sample_mapping as wanted. A row each (B, T) for a batch, for tensors and
            for overflow; for a single text the row alone.

        Raises:
            TokenizerError: A text or an argument is wrong.
            BackendError: The framework of return_tensors is not installed.
        """
        if text is None and text_target is None:
            raise TokenizerError("text: expected str or a list of them, found None")
        split = arguments.get("is_split_into_words", False)
        result, target = (
            None if first is None else self._encode(*make_rows(first, second, split), add_special_tokens, arguments)
            for first, second in ((text, text_pair), (text_target, text_pair_target))
        )
        if result is not None and target is not None:
            result["labels"] = target["input_ids"]
        return result or target or BatchEncoding()

    def encode_plus(
        self,
        text: str | Sequence[str],
        text_pair: str | Sequence[str] | None = None,
        add_special_tokens: bool = True,
        **arguments: Unpack[CallArguments],
    ) -> BatchEncoding:
        """Encode one text or one pair: see `__call__`."""
        row = make_row(text, text_pair, arguments.get("is_split_into_words", False))
        return self._encode([row], False, add_special_tokens, arguments)

    def batch_encode_plus(
        self,
        batch_text_or_text_pairs: Sequence[Any],
        add_special_tokens: bool = True,
        **arguments: Unpack[CallArguments],
    ) -> BatchEncoding:
        """Encode a list of texts, or of tuples of two texts: see `__call__`."""
        if not isinstance(batch_text_or_text_pairs, list | tuple):
            found = type(batch_text_or_text_pairs).__name__
            raise TokenizerError(f"batch_text_or_text_pairs: expected a list, found {found}")
        rows = batch_rows(batch_text_or_text_pairs, arguments.get("is_split_into_words", False))
        return self._encode(rows, True, add_special_tokens, arguments)

    def encode(
        self,
        text: str | Sequence[str],
        text_pair: str | Sequence[str] | None = None,
        add_special_tokens: bool = True,
        **arguments: Unpack[CallArguments],
    ) -> Any:
        """The ids of one text or one pair: see `__call__`."""
        return self.encode_plus(text, text_pair, add_special_tokens, **arguments)["input_ids"]

    def tokenize(
        self,
        text: str | Sequence[str],
        pair: str | Sequence[str] | None = None,
        add_special_tokens: bool = False,
        **arguments: Unpack[CallArguments],
    ) -> list[str]:
        """The tokens of one text or one pair: see `__call__`."""
        return self.encode_plus(text, pair, add_special_tokens, **arguments).tokens()

    def _encode(
        self, rows: list[Row], batched: bool, add_special_tokens: bool, arguments: CallArguments
    ) -> BatchEncoding:
        options = options_for(self, arguments)
        kind = arguments.get("return_tensors")
        if kind is not None:
            load_framework(kind)
        overflow = arguments.get("return_overflowing_tokens", False)
        split = arguments.get("split_special_tokens")
        encodings = RowEncoder(
            engine=self._engine,
            options=options,
            truncation_side=self.truncation_side,
            add_special_tokens=add_special_tokens,
            is_split_into_words=arguments.get("is_split_into_words", False),
            overflow=overflow,
            split_special_tokens=self.split_special_tokens if split is None else split,
        ).encode(rows)
        if options.max_length is None and arguments.get("verbose", True):
            self._warn_if_too_long(encodings)
        windows = [[encoding, *encoding.overflowing] for encoding in encodings] if overflow else []
        if overflow:
            encodings = [window for row in windows for window in row]

        padding = self._padding(options, encodings)
        columns: dict[str, Any] = {}
        for name in self._names(arguments):
            if kind is not None:
                columns[name] = from_array(as_array(name, encodings, padding), kind)
            else:
                columns[name] = as_lists(name, encodings, padding)
        if not batched and not overflow and kind is None:
            columns = {name: column[0] for name, column in columns.items()}
        if arguments.get("return_length"):
            columns["length"] = [max(len(encoding), padding.length if padding else 0) for encoding in encodings]
        if overflow:
            columns["overflow_to_sample_mapping"] = [number for number, row in enumerate(windows) for _ in row]
        return BatchEncoding(columns, encodings, tensor_type=kind, padding=padding)

    def _names(self, arguments: CallArguments) -> list[str]:
        """The columns with a value for each token, in Hugging Face's order."""
        wanted = {
            "input_ids": True,
            "token_type_ids": wants(self, "token_type_ids", arguments.get("return_token_type_ids")),
            "attention_mask": wants(self, "attention_mask", arguments.get("return_attention_mask")),
            "special_tokens_mask": arguments.get("return_special_tokens_mask"),
            "offset_mapping": arguments.get("return_offsets_mapping"),
        }
        return [name for name, value in wanted.items() if value]

    def _padding(self, options: CallOptions, encodings: Sequence[Encoding]) -> Padding | None:
        if not options.pads:
            return None
        longest = max(map(len, encodings), default=0) if options.padding == "longest" else options.max_length or 0
        length = padded_length(longest, options.pad_to_multiple_of)
        return Padding(length, options.padding_side, *pad_token(self))

    def _warn_if_too_long(self, encodings: Sequence[Encoding]) -> None:
        longest = max(map(len, encodings), default=0)
        if longest > self.model_max_length:
            found = f"a text of {longest} tokens is longer than model_max_length {self.model_max_length}"
            warn_once(self, f"{found}: the model cannot take it; use truncation=True", topic="too long")
