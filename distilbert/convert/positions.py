# SPDX-License-Identifier: Apache-2.0
"""The sinusoidal position table: computed, so Flax files do not have it and every other file repeats it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from distilbert import spec
from distilbert.config import DistilBertConfig
from distilbert.convert.arrays import same_bits
from distilbert.convert.tensor import Array, StoredTensor
from distilbert.errors import ConfigError

_LIMIT = 1 << 25  # values; 40,000 positions of the usual width, and no more than a gigabyte while they are computed
_TABLE = spec.PREFIX + spec.POSITION_EMBEDDINGS
_WORDS = spec.PREFIX + spec.WORD_EMBEDDINGS


def with_computed_positions(tensors: Mapping[str, StoredTensor], config: DistilBertConfig) -> dict[str, StoredTensor]:
    """The tensors (encoder names prefixed), and the sinusoidal table if the config asks for it and the file has none.

    Raises:
        ConfigError: the table would be too large.
    """
    words = tensors.get(_WORDS)
    if not config.sinusoidal_pos_embds or _TABLE in tensors or words is None:
        return dict(tensors)
    if config.max_position_embeddings * config.dim > _LIMIT:
        longest = _LIMIT // config.dim
        found = config.max_position_embeddings
        raise ConfigError(f"max_position_embeddings: at most {longest:,} can be computed, found {found:,}")
    return {**tensors, _TABLE: _computed(config, words.dtype)}


def can_be_computed(table: StoredTensor, words: StoredTensor, config: DistilBertConfig) -> bool:
    """Whether a position table is exactly the one that `with_computed_positions` would add."""
    if not config.sinusoidal_pos_embds or config.max_position_embeddings * config.dim > _LIMIT:
        return False
    return same_bits(table.load(), _computed(config, words.dtype).load())


def _computed(config: DistilBertConfig, dtype: np.dtype[np.generic]) -> StoredTensor:
    """The sinusoidal table: rounded to float32 first, as a model that was built in float32 has it."""

    def load() -> Array:
        from distilbert.reference import sinusoidal_positions

        return sinusoidal_positions(*shape).astype(np.float32).astype(dtype)

    shape = (config.max_position_embeddings, config.dim)
    return StoredTensor(_TABLE, shape, dtype, load)
