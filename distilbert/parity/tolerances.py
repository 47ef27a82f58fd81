# SPDX-License-Identifier: Apache-2.0
"""What "the same numbers" means: the one table of bounds that tests, `distilbert verify` and the docs read.

How an error is measured is in `measuring.py`. A bound that cannot be met is reported with its reason, never loosened.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from distilbert.errors import InputError


class Measure(Enum):
    """How a difference is turned into one number."""

    BITS = "bit-equal"
    RELATIVE = "relative to the largest value"
    ABSOLUTE = "absolute"
    TIMES = "times the effect of one rounding of every weight"


@dataclass(frozen=True)
class Tolerance:
    """One row of the table.

    Attributes:
        name: short and unique.
        quantity: what is measured.
        compared_with: what it should equal.
        bound: the largest error that is accepted, measured as `measure` says; 0 for bits.
        reason: why the bound is what it is.
    """

    name: str
    quantity: str
    compared_with: str
    bound: float
    measure: Measure
    reason: str

    def __str__(self) -> str:
        bound = {Measure.BITS: "", Measure.TIMES: f"{self.bound:g} "}.get(self.measure, f"{self.bound:.0e} ")
        return f"{bound}{self.measure.value}"


CONVERSION = Tolerance(
    "conversion",
    "any tensor after any chain of conversions, dtype kept",
    "the source",
    0.0,
    Measure.BITS,
    "Names and the order of axes change, values never: nothing is computed.",
)
FLOAT64 = Tolerance(
    "float64",
    "float64 outputs, hidden states, attentions, loss and gradients of each framework",
    "the NumPy reference in float64",
    1e-11,
    Measure.RELATIVE,
    "Sums in another order differ by some 1e-15 a step; a wrong formula or constant differs by far more than 1e-11. "
    "Not met at base size with std 0.2, where attention is so steep that it amplifies rounding (up to 9e-11).",
)
FLOAT32 = Tolerance(
    "float32",
    "float32 outputs, hidden states, attentions and loss of each framework; tiny and base size, std 0.02 and 0.2",
    "the NumPy reference in float64",
    2e-6,
    Measure.RELATIVE,
    "About 17 rounding steps of 2^-23; at weights of std 0.2 a tanh GELU or another LayerNorm eps exceeds it. "
    "Not met by any float32 program at base size with std 0.2 (layers off by up to 5e-2, logits by 5e-3), nor by the "
    "attention of trained models with scores of 20 and more (MiniLM: 5e-6, its outputs 8e-7).",
)
FLOAT32_TRAINING = Tolerance(
    "float32 training",
    "float32 gradients, and parameters after 10 AdamW steps without dropout",
    "PyTorch in float64",
    1e-5,
    Measure.RELATIVE,
    "A gradient has passed through twice as many steps, and Adam divides by the root of small squares.",
)
BFLOAT16 = Tolerance(
    "bfloat16",
    "bfloat16 outputs, hidden states, attentions and loss",
    "float32",
    2e-2,
    Measure.RELATIVE,
    "Eight bits of precision: one rounding is 2^-9 = 2e-3, and every layer adds some. Not met by steep attention "
    "(MiniLM: 7e-2) and by logits that nearly cancel (new classifiers: 4e-2).",
)
FLOAT16 = Tolerance(
    "float16",
    "float16 outputs, hidden states, attentions and loss",
    "float32",
    2e-3,
    Measure.RELATIVE,
    "Eleven bits of precision: one rounding is 2^-12 = 2.4e-4, and every layer adds some. Not met by steep attention "
    "(MiniLM: 9e-3) and by logits that nearly cancel (new classifiers: 4e-3).",
)
TRANSFORMERS = Tolerance(
    "transformers",
    "outputs of transformers 4.57 (its three frameworks) and 5.x, same weights, base size",
    "ours",
    1e-5,
    Measure.ABSOLUTE,
    "Both sides round in float32; 1e-5 is also what the tests of transformers allow.",
)
INVARIANCE = Tolerance(
    "invariance",
    "float32 outputs under other padding content or side, batch neighbours or packing; a fully padded row is finite",
    "the sequence alone",
    FLOAT32.bound,
    Measure.RELATIVE,
    "What is masked has weight exactly 0; only the order of sums may differ.",
)

_SENSITIVE = "an error beyond its bound in a model that is sensitive to rounding itself"
_NUDGED = "the reference with every weight moved by one rounding"
ROUNDING = Tolerance(
    "rounding",
    f"float32 or float64: {_SENSITIVE}",
    _NUDGED,
    16.0,
    Measure.TIMES,
    "Sums round at every step, a weight is moved once; sharp attention (scores of 20 and more) multiplies both alike.",
)
HALF_ROUNDING = Tolerance(
    "half rounding",
    f"bfloat16 or float16: {_SENSITIVE}",
    _NUDGED,
    4.0,
    Measure.TIMES,
    "Sums are taken in float32, so that only what is stored is rounded.",
)

TABLE = (
    CONVERSION,
    FLOAT64,
    FLOAT32,
    FLOAT32_TRAINING,
    BFLOAT16,
    FLOAT16,
    ROUNDING,
    HALF_ROUNDING,
    TRANSFORMERS,
    INVARIANCE,
)

OUTPUTS = {"float64": FLOAT64, "float32": FLOAT32, "bfloat16": BFLOAT16, "float16": FLOAT16}
GRADIENTS = {"float64": FLOAT64, "float32": FLOAT32_TRAINING}
ROUNDINGS = {"float64": ROUNDING, "float32": ROUNDING, "bfloat16": HALF_ROUNDING, "float16": HALF_ROUNDING}
REFERENCE_DTYPES = {"float64": "float64", "float32": "float64", "bfloat16": "float32", "float16": "float32"}


def for_outputs(dtype: str) -> Tolerance:
    """The row for everything a forward pass returns; InputError for an unknown float type."""
    return _row(OUTPUTS, dtype, "outputs")


def for_gradients(dtype: str) -> Tolerance:
    """The row for gradients; InputError for a float type in which they are not compared."""
    return _row(GRADIENTS, dtype, "gradients")


def _row(rows: dict[str, Tolerance], dtype: str, quantity: str) -> Tolerance:
    if dtype not in rows:
        raise InputError(f"dtype: expected one of {', '.join(rows)} to compare {quantity}; found {dtype!r}")
    return rows[dtype]
