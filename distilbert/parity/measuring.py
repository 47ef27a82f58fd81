# SPDX-License-Identifier: Apache-2.0
"""How far two models are apart: named layers of an output, and the error of each. No model runs here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert import spec
from distilbert.errors import InputError

Array = NDArray[Any]

_TINY = float(np.finfo(np.float64).tiny)
_GRADIENT = "gradient "


@dataclass(frozen=True)
class Measurement:
    """The error of one layer or output of one framework.

    Attributes:
        backend: short name of the framework.
        layer: what was compared, as named by `layers_of_output` or `layers_of_gradients`.
        call: the name of the sample call.
        error: relative to the largest value; infinite where a value is not finite, or missing.
        bound: the largest error accepted.
        rounding: the error that rounding can explain in this model (see `tolerances.ROUNDING`); only known, and only
            of interest, where the bound is exceeded.
    """

    backend: str
    layer: str
    call: str
    error: float
    bound: float
    rounding: float = 0.0

    @property
    def within_bound(self) -> bool:
        """Whether the error is within its bound."""
        return self.error <= self.bound

    @property
    def ok(self) -> bool:
        """Whether the error is within its bound, or rounding explains it."""
        return self.excess <= 1

    @property
    def severity(self) -> int:
        """0 within the bound, 1 beyond it as far as rounding explains, 2 a failure."""
        return int(not self.within_bound) + int(not self.ok)

    @property
    def excess(self) -> float:
        """The error as a multiple of what is accepted."""
        return self.error / max(self.bound, self.rounding)

    @property
    def text(self) -> str:
        """The error for a reader."""
        if not math.isfinite(self.error):
            return "not finite"
        return f"{self.error:.1e}" if self.error else "0"


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
    with np.errstate(all="ignore"):
        error = float(np.abs(found - expected).max() / max(np.abs(expected).max(), _TINY))
    return error if math.isfinite(error) else math.inf


def layers_of_output(output: Mapping[str, Any]) -> dict[str, Array]:
    """What a call computed, in float64: `embeddings`, `layer 0 attention`, `layer 0`, ..., `logits`, `loss`."""
    layers = {}
    for i, hidden in enumerate(output.get("hidden_states", ())):
        layers["embeddings" if i == 0 else f"layer {i - 1}"] = hidden
    for i, attention in enumerate(output.get("attentions", ())):
        layers[f"layer {i} attention"] = attention
    for name in output:
        if name not in ("hidden_states", "attentions"):
            layers[name.replace("_", " ")] = output[name]
    return {name: np.asarray(values, np.float64) for name, values in layers.items()}


def layers_of_gradients(gradients: Mapping[str, Array]) -> dict[str, Array]:
    """The gradients of each layer as one float64 vector: `gradient head`, `gradient layer 0`, `gradient embeddings`.

    One vector, because some gradients are zero but for rounding (those of `k_lin.bias` always, those of queries and
    keys with a single token), so that only the layer as a whole has a size to compare with.
    """
    groups: dict[str, list[Array]] = {}
    for name in sorted(gradients):
        groups.setdefault(_layer_of_tensor(name), []).append(np.asarray(gradients[name], np.float64).reshape(-1))
    return {_GRADIENT + layer: np.concatenate(values) for layer, values in groups.items()}


def measure(
    runs: Sequence[Mapping[str, Array]],
    expected: Mapping[str, Array],
    *,
    backend: str,
    call: str,
    bound: Callable[[str], float],
) -> list[Measurement]:
    """The largest error of each expected layer in the runs that have it; infinite if none has, or its shape differs.

    `bound` tells the bound of a layer.
    """
    found = {layer: [run[layer] for run in runs if layer in run] for layer in expected}
    return [
        Measurement(
            backend, layer, call, max((_error(one, values) for one in found[layer]), default=math.inf), bound(layer)
        )
        for layer, values in expected.items()
    ]


def worst(measurements: Iterable[Measurement]) -> tuple[Measurement, ...]:
    """Of each layer and framework the worst error (a failure, else the largest), in the order of computation."""
    largest: dict[tuple[str, str], Measurement] = {}
    for found in measurements:
        known = largest.setdefault((found.backend, found.layer), found)
        if (found.severity, found.error) > (known.severity, known.error):
            largest[found.backend, found.layer] = found
    return tuple(sorted(largest.values(), key=lambda found: place(found.layer)))


def is_gradient(layer: str) -> bool:
    """Whether a layer of this name is one of gradients."""
    return layer.startswith(_GRADIENT)


def place(layer: str) -> tuple[int, int, bool]:
    """Where in the computation a layer stands: inputs first, gradients last and backwards."""
    if is_gradient(layer):
        stage, number, later = place(layer.removeprefix(_GRADIENT))
        return 10 - stage, -number, later
    numbered = re.match(r"layer (\d+)", layer)
    if numbered:
        return 1, int(numbered[1]), not layer.endswith("attention")
    return (0, 0, False) if layer == "embeddings" else (2, 0, layer == "loss")


def _error(found: Array, expected: Array) -> float:
    return relative_error(found, expected) if found.shape == expected.shape else math.inf


def _layer_of_tensor(name: str) -> str:
    if spec.is_head_tensor(name):
        return "head"
    numbered = re.search(r"transformer\.layer\.(\d+)\.", name)
    return f"layer {numbered[1]}" if numbered else "embeddings"
