# SPDX-License-Identifier: Apache-2.0
"""How far two models are apart: named layers of an output, and the error of each. Nothing is computed by a model here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert import spec
from distilbert.errors import InputError

Array = NDArray[Any]

_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Measurement:
    """The error of one layer or output of one framework.

    Attributes:
        backend: short name of the framework.
        layer: what was compared, as named by `layers_of_output` or `layers_of_gradients`.
        call: the name of the sample call.
        error: relative to the largest value; infinite where a value is not finite.
        bound: the largest error accepted.
    """

    backend: str
    layer: str
    call: str
    error: float
    bound: float

    @property
    def ok(self) -> bool:
        """Whether the error is within its bound."""
        return self.error <= self.bound


def relative_error(found: Any, expected: Any) -> float:
    """The largest difference of two arrays over the largest absolute value of `expected`.

    Infinite where a value is not finite.

    Raises:
        InputError: the shapes differ.
    """
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        raise InputError(f"values to compare: expected shape {expected.shape}, found {found.shape}")
    if not found.size:
        return 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        error = float(np.abs(found - expected).max() / max(np.abs(expected).max(), _TINY))
    return error if np.isfinite(error) else float("inf")


def layers_of_output(output: Mapping[str, Any]) -> dict[str, Array]:
    """The layers and outputs of a call in the order in which they are computed, in float64.

    Names: `embeddings`, `layer 0 attention`, `layer 0`, ..., then the fields of the output.
    """
    layers = {}
    for i, hidden in enumerate(output.get("hidden_states", ())):
        layers["embeddings" if i == 0 else f"layer {i - 1}"] = hidden
    for i, attention in enumerate(output.get("attentions", ())):
        layers[f"layer {i} attention"] = attention
    for name in output:
        if name not in ("hidden_states", "attentions"):
            layers[name.replace("_", " ")] = output[name]
    return {name: np.asarray(layers[name], np.float64) for name in sorted(layers, key=_place)}


def layers_of_gradients(gradients: Mapping[str, Array]) -> dict[str, Array]:
    """The gradients of each layer as one vector, in the order in which they are computed: the head's first.

    One vector, because some gradients are zero but for rounding (those of `k_lin.bias` always, those of queries and
    keys with a single token), so that only the layer as a whole has a size to compare with.
    """
    groups: dict[str, list[Array]] = {}
    for name in sorted(gradients):
        groups.setdefault(_layer_of_tensor(name), []).append(np.asarray(gradients[name], np.float64).reshape(-1))
    order = sorted(groups, key=_place, reverse=True)
    return {f"{layer} gradient": np.concatenate(groups[layer]) for layer in order}


def measure(
    found: Mapping[str, Array],
    expected: Mapping[str, Array],
    *,
    backend: str,
    call: str,
    bound: float,
    finite_only: bool = False,
) -> list[Measurement]:
    """The error of every layer in `found`; with `finite_only`, 0 where all is finite."""
    against = found if finite_only else expected
    return [
        Measurement(backend, layer, call, relative_error(values, against[layer]), bound)
        for layer, values in found.items()
    ]


def worst(measurements: Iterable[Measurement]) -> list[Measurement]:
    """Of each layer and framework only the largest error; layers in the order of computation."""
    largest: dict[tuple[str, str], Measurement] = {}
    for found in measurements:
        key = (found.backend, found.layer)
        known = largest.get(key, found)
        largest[key] = known if known.error >= found.error else replace(found)
    return list(largest.values())


def _layer_of_tensor(name: str) -> str:
    if spec.is_head_tensor(name):
        return "head"
    numbered = re.search(r"transformer\.layer\.(\d+)\.", name)
    return f"layer {numbered[1]}" if numbered else "embeddings"


def _place(layer: str) -> tuple[int, int, bool]:
    """Where in the computation a layer stands."""
    if layer == "embeddings":
        return 0, 0, False
    numbered = re.match(r"layer (\d+)", layer)
    if numbered:
        return 1, int(numbered[1]), not layer.endswith("attention")
    return 2, 0, layer == "loss"
