# SPDX-License-Identifier: Apache-2.0
"""Fresh weights, in NumPy, so that one seed gives the same new model (or new head) in every framework.

Matrices are normal with the config's `initializer_range`, biases zero, norms one and zero, the padding row zero;
sinusoidal positions are computed, not drawn. Each tensor has a random stream of its own, named by the tensor.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from distilbert import spec
from distilbert.config import DistilBertConfig
from distilbert.reference import sinusoidal_positions
from distilbert.spec import Kind, TensorSpec


def initial_tensors(config: DistilBertConfig, specs: Iterable[TensorSpec], seed: int) -> dict[str, NDArray[np.float32]]:
    """New float32 values for tensors of a model with this config."""
    return {tensor.name: _initial(config, tensor, seed) for tensor in specs}


def _initial(config: DistilBertConfig, tensor: TensorSpec, seed: int) -> NDArray[np.float32]:
    if tensor.kind is Kind.NORM and tensor.leaf == "weight":
        return np.ones(tensor.shape, np.float32)
    if tensor.leaf == "bias":
        return np.zeros(tensor.shape, np.float32)
    name = tensor.name.removeprefix(spec.PREFIX)
    if name == spec.POSITION_EMBEDDINGS and config.sinusoidal_pos_embds:
        return sinusoidal_positions(*tensor.shape).astype(np.float32)
    stream = np.random.default_rng([seed, zlib.crc32(name.encode())])
    values = stream.standard_normal(tensor.shape, np.float32) * np.float32(config.initializer_range)
    if name == spec.WORD_EMBEDDINGS and config.pad_token_id is not None:
        values[config.pad_token_id] = 0
    return values
