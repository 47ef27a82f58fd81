# SPDX-License-Identifier: Apache-2.0
"""`tokenizer.pad`: rows that are ids already to one batch of equal length, as a collator needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from reprlib import repr as shown
from typing import Any

from distilbert.errors import TokenizerError, describe
from distilbert.tokenizer.batch_encoding import BatchEncoding
from distilbert.tokenizer.call_options import CallOptions
from distilbert.tokenizer.columns import Padding, padded_length
from distilbert.tokenizer.tensors import kind_of, to_lists

IDS = "input_ids"
PADDED = (IDS, "attention_mask", "token_type_ids", "special_tokens_mask")


def pad_rows(
    encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    options: CallOptions,
    pad: tuple[int, str],
    *,
    with_mask: bool,
    return_tensors: str | None,
) -> BatchEncoding:
    """Pad one row (a dict of lists), or a batch (a dict of lists of lists, or a list of dicts).

    Args:
        options: How far and on which side.
        pad: Id and text of the padding token.
        with_mask: Whether an attention mask is wanted where the rows have none.
        return_tensors: As in the tokenizer's call; None for what the columns are now.

    Raises:
        TokenizerError: The columns do not fit each other.
    """
    columns = _columns(encoded_inputs)
    kind = return_tensors or next(filter(None, map(_kind, columns.values())), None)
    lists = {name: to_lists(column) for name, column in columns.items()}
    ids = lists[IDS]
    single = not ids or not isinstance(ids[0], list)
    if single:
        lists = {name: [column] for name, column in lists.items()}
    lists |= {name: list(map(to_lists, lists[name])) for name in lists.keys() & PADDED if isinstance(lists[name], list)}
    _check(lists)
    lengths = [len(row) for row in lists[IDS]]
    if with_mask and "attention_mask" not in lists:
        lists["attention_mask"] = [[1] * length for length in lengths]
    target = max(lengths, default=0) if options.padding == "longest" else options.max_length
    if options.pads and ids:
        padding = Padding(padded_length(target or 0, options.pad_to_multiple_of), options.padding_side, *pad)
        for name in lists.keys() & PADDED:
            lists[name] = [padding.pad(row, name) for row in lists[name]]
    result = {name: rows[0] for name, rows in lists.items()} if single else lists
    return BatchEncoding(result, tensor_type=kind)


def _columns(encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if isinstance(encoded_inputs, Mapping):
        columns = dict(encoded_inputs)
    else:
        rows = list(encoded_inputs) if isinstance(encoded_inputs, list | tuple) else []
        if not rows or not all(isinstance(row, Mapping) for row in rows):
            raise TokenizerError("pad: expected a dict of columns, or a list of dicts with one row each")
        missing = [
            f"row {number} has no {', '.join(sorted(rows[0].keys() - row.keys()))}"
            for number, row in enumerate(rows)
            if rows[0].keys() - row.keys()
        ]
        if missing:
            raise TokenizerError(describe("pad", missing[:5]))
        columns = {name: [row[name] for row in rows] for name in rows[0]}
    if IDS not in columns:
        raise TokenizerError(f"pad: expected a column {IDS}, found {', '.join(map(str, columns)) or 'none'}")
    return columns


def _check(lists: Mapping[str, Any]) -> None:
    count = len(lists[IDS])
    problems = [
        f"{name}: expected {count} rows, as many as in {IDS}, found {shown(rows)}"
        for name, rows in lists.items()
        if not isinstance(rows, list) or len(rows) != count
    ]
    for name in [name for name in PADDED if name in lists and not problems]:
        for number, row in enumerate(lists[name]):
            expected = len(lists[IDS][number]) if isinstance(lists[IDS][number], list) else None
            if not isinstance(row, list) or len(row) != expected or not all(isinstance(value, int) for value in row):
                shape = "whole numbers" if expected is None else f"{expected} whole numbers"
                problems.append(f"{name}: row {number}: expected a list of {shape}, found {shown(row)}")
    if problems:
        raise TokenizerError(describe("pad", problems[:5]))


def _kind(column: Any) -> str | None:
    return kind_of(column[0] if isinstance(column, list | tuple) and column else column)
