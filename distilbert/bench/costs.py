# SPDX-License-Identifier: Apache-2.0
"""What the encoder costs by arithmetic, and the least time that a machine of measured speed needs for it."""

from __future__ import annotations

from collections.abc import Mapping

from distilbert.config import DistilBertConfig

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}


def encoder_flops(config: DistilBertConfig, batch: int, tokens: int) -> int:
    """Floating-point operations of the encoder's matrix products; a multiplication and an addition are two."""
    linears = 2 * (4 * config.dim * config.dim + 2 * config.dim * config.hidden_dim)  # for each token and layer
    attention = 4 * tokens * config.dim  # scores and context, for each token and layer
    return config.n_layers * batch * tokens * (linears + attention)


def weight_bytes(config: DistilBertConfig, precision: str) -> int:
    """Bytes of the layers' matrices, all of which are read in every call."""
    numbers = config.n_layers * (4 * config.dim * config.dim + 2 * config.dim * config.hidden_dim)
    return numbers * _BYTES[precision]


def least_seconds(flops: int, nbytes: int, precision: str, speeds: Mapping[str, float]) -> float | None:
    """The time limit, by arithmetic or by memory, whichever is longer; None where the machine's speed is not known.

    Args:
        flops: operations of one call.
        nbytes: bytes that one call reads.
        precision: of the matrix products.
        speeds: operations per second by precision, and bytes per second as `memory`.
    """
    if precision not in speeds or "memory" not in speeds:
        return None
    return max(flops / speeds[precision], nbytes / speeds["memory"])
