# SPDX-License-Identifier: Apache-2.0
"""What a model call accepts, checked the same way for every framework, with one message that lists all problems.

Shapes are always known. Values are known only outside compiled code: `bounds` returns the smallest and largest value
of an array, or None where looking at values is impossible.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from distilbert.config import DistilBertConfig
from distilbert.errors import InputError, describe

IGNORED_LABEL = -100  # a label with this value takes no part in the loss

Bounds = Callable[[Any], tuple[int, int] | None]
Shape = tuple[int | None, ...]


def check_call(config: DistilBertConfig, arrays: Mapping[str, Any], bounds: Bounds) -> None:
    """Raise InputError unless the arrays of an encoder call fit each other and the config.

    Args:
        arrays: input_ids (B, T) or inputs_embeds (B, T, D), and optionally attention_mask (B, T) or (B or 1, H or 1,
            T, T), position_ids (B or 1, T) or (T,), head_mask (H,), (n_layers, H) or (n_layers, B, H), token_places
            (N,); None where not given.
        bounds: smallest and largest value of an integer array, or None in compiled code.
    """
    ids, embeds = arrays.get("input_ids"), arrays.get("inputs_embeds")
    if (ids is None) == (embeds is None):
        found = "neither" if ids is None else "both"
        raise InputError(f"inputs: expected either input_ids or inputs_embeds, found {found}")
    problems: list[str] = []
    name, tokens = ("input_ids", ids) if embeds is None else ("inputs_embeds", embeds)
    shape = _shape(tokens)
    expected: Shape = (None, None) if embeds is None else (None, None, config.dim)
    if not _fits(shape, expected) or 0 in shape:
        raise InputError(f"{name}: expected shape {_axes(name, config)}, found {shape}")
    if ids is not None:
        problems += _check_ids("input_ids", ids, config.vocab_size, "vocab_size", bounds)
    problems += _check_positions(config, arrays.get("position_ids"), shape, bounds)
    problems += _check_masks(config, arrays, shape)
    problems += _check_token_places(arrays, shape, bounds)
    if problems:
        raise InputError(describe("inputs", problems))


def check_choices(input_ids: Any, inputs_embeds: Any) -> None:
    """Raise InputError unless the inputs of a multiple-choice call have an axis of choices."""
    for name, array, rank, axes in (
        ("input_ids", input_ids, 3, "(B, C, T)"),
        ("inputs_embeds", inputs_embeds, 4, "(B, C, T, D)"),
    ):
        if array is not None and len(_shape(array)) != rank:
            raise InputError(f"{name}: multiple choice expects shape {axes}, found {_shape(array)}")
    if input_ids is None and inputs_embeds is None:
        raise InputError("inputs: expected either input_ids or inputs_embeds, found neither")


def check_class_labels(labels: Any, shape: Shape, classes: int, limits: tuple[int, int] | None) -> None:
    """Raise InputError unless `labels` are class numbers of the given shape.

    `limits` are the smallest and largest label once every -100, which is ignored, is set to 0.
    """
    found = _shape(labels)
    if not _fits(found, shape):
        raise InputError(f"labels: expected shape {shape}, found {found}")
    if not is_integer(labels):
        raise InputError(f"labels: expected whole class numbers, found {_dtype(labels)}")
    if limits and not (limits[0] >= 0 and limits[1] < classes):
        raise InputError(
            f"labels: expected classes 0 to {classes - 1} (or {IGNORED_LABEL} to ignore), "
            f"found values from {limits[0]} to {limits[1]}"
        )


def check_places(places: Any, hidden: Shape, limits: tuple[int, int] | None) -> None:
    """Raise InputError unless `places` are (B, P) places of tokens in vectors (B, T, D)."""
    found = _shape(places)
    if not _fits(found, (hidden[0], None)) or not is_integer(places):
        raise InputError(f"places: expected whole numbers ({hidden[0]}, P), found {_dtype(places)} {found}")
    if limits and hidden[1] is not None and not 0 <= limits[0] <= limits[1] < hidden[1]:
        raise InputError(f"places: expected 0 to {hidden[1]} - 1, found values from {limits[0]} to {limits[1]}")


def check_value_labels(labels: Any, shape: Shape) -> None:
    """Raise InputError unless `labels` are values (regression, multi-label) of the given shape."""
    found = _shape(labels)
    flat_ok = len(shape) == 2 and shape[1] == 1 and _fits(found, shape[:1])
    if not (_fits(found, shape) or flat_ok):
        raise InputError(f"labels: expected shape {shape}, found {found}")


def check_span_labels(start_positions: Any, end_positions: Any, batch: int | None) -> None:
    """Raise InputError unless both positions of the answer are given as (B,) or (B, 1)."""
    if (start_positions is None) != (end_positions is None):
        raise InputError("labels: expected start_positions and end_positions together, found only one of them")
    for name, positions in (("start_positions", start_positions), ("end_positions", end_positions)):
        if positions is None:
            continue
        if not (_fits(_shape(positions), (batch,)) or _fits(_shape(positions), (batch, 1))):
            raise InputError(f"{name}: expected shape ({batch},), found {_shape(positions)}")
        if not is_integer(positions):
            raise InputError(f"{name}: expected whole token positions, found {_dtype(positions)}")


def problem_type(config: DistilBertConfig, labels: Any) -> str:
    """The loss a sequence classifier uses: the config's, else inferred from the labels; the config never changes.

    One label column is regression; whole numbers of shape (B,) are classes; anything else is one yes/no per label.
    """
    if config.problem_type is not None:
        return config.problem_type
    if config.num_labels == 1:
        return "regression"
    classes = is_integer(labels) and len(_shape(labels)) == 1
    return "single_label_classification" if classes else "multi_label_classification"


def is_integer(array: Any) -> bool:
    """Whether an array of any framework holds whole numbers (bool is not one)."""
    return "int" in _dtype(array)


def _check_ids(name: str, ids: Any, limit: int, field: str, bounds: Bounds) -> list[str]:
    if not is_integer(ids):
        return [f"{name}: expected whole numbers, found {_dtype(ids)}"]
    limits = bounds(ids)
    if limits and not (limits[0] >= 0 and limits[1] < limit):
        return [f"{name}: expected ids from 0 to {limit - 1} ({field} {limit}), found {limits[0]} to {limits[1]}"]
    return []


def _check_positions(config: DistilBertConfig, positions: Any, tokens: Shape, bounds: Bounds) -> list[str]:
    longest = config.max_position_embeddings
    if positions is None:
        if tokens[1] is not None and tokens[1] > longest:
            advice = "truncate the text, or resize_position_embeddings"
            return [
                f"input length: expected at most max_position_embeddings {longest}, found {tokens[1]} tokens; {advice}"
            ]
        return []
    shape = _shape(positions)
    if not any(_fits(shape, expected) for expected in ((tokens[1],), (1, tokens[1]), tokens[:2])):
        return [f"position_ids: expected shape {tokens[:2]}, (1, {tokens[1]}) or ({tokens[1]},), found {shape}"]
    return _check_ids("position_ids", positions, longest, "max_position_embeddings", bounds)


def _check_masks(config: DistilBertConfig, arrays: Mapping[str, Any], tokens: Shape) -> list[str]:
    problems = []
    batch, length = tokens[:2]
    mask, head_mask = arrays.get("attention_mask"), arrays.get("head_mask")
    if mask is not None:
        heads = (1,) if config.pruned_heads else (1, config.n_heads)
        shapes: list[Shape] = [(batch, length)]
        shapes += [(rows, head, length, length) for rows in (1, batch) for head in heads]
        if not any(_fits(_shape(mask), expected) for expected in shapes):
            problems.append(
                f"attention_mask: expected shape ({batch}, {length}) or ({batch} or 1, {' or '.join(map(str, heads))}, "
                f"{length}, {length}), found {_shape(mask)}"
            )
    if head_mask is not None:
        shape = _shape(head_mask)
        count, layers = config.n_heads, config.n_layers
        if not any(_fits(shape, expected) for expected in ((count,), (layers, count), (layers, batch, count))):
            problems.append(
                f"head_mask: expected shape ({count},), ({layers}, {count}) or ({layers}, {batch}, {count}), "
                f"found {shape}"
            )
        elif config.pruned_heads:
            problems.append("head_mask: not possible in a model with pruned heads; prune the heads instead")
    return problems


def _check_token_places(arrays: Mapping[str, Any], tokens: Shape, bounds: Bounds) -> list[str]:
    places, mask = arrays.get("token_places"), arrays.get("attention_mask")
    if places is None:
        return []
    if len(_shape(places)) != 1 or not is_integer(places):
        return [f"token_places: expected whole numbers (N,), found {_dtype(places)} {_shape(places)}"]
    if mask is None or len(_shape(mask)) != 2:
        return ["token_places: expected an attention_mask (B, T) with them, which attends to no other place"]
    rows, length = tokens[:2]
    limits = bounds(places)
    if limits and rows and length and not 0 <= limits[0] <= limits[1] <= rows * length:
        return [
            f"token_places: expected places from 0 to {rows * length} (B*T, none), found {limits[0]} to {limits[1]}"
        ]
    return []


def _fits(shape: Shape, expected: Shape) -> bool:
    pairs = zip(shape, expected, strict=False)
    return len(shape) == len(expected) and all(a is None or b is None or a == b for a, b in pairs)


def _axes(name: str, config: DistilBertConfig) -> str:
    return "(B, T) with at least one token" if name == "input_ids" else f"(B, T, {config.dim}) with at least one token"


def _shape(array: Any) -> Shape:
    if not hasattr(array, "shape"):
        raise InputError(f"inputs: expected tensors of the model's framework, found {type(array).__name__}")
    return tuple(array.shape)


def _dtype(array: Any) -> str:
    return str(getattr(array.dtype, "name", array.dtype))
