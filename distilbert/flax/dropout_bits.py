# SPDX-License-Identifier: Apache-2.0
"""Random bits for dropout, each a hash of the key and of its place.

JAX's own generator is made to stand far harder tests than dropout is, and takes more time to compile than all the rest
of a training step. Like its bits these do not depend on how arrays are spread over devices.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

GOLDEN = 0x9E3779B9  # 2**32 over the golden ratio: multiples of it are far from each other


def mixed_key(key: Array, number: int) -> Array:
    """One of the independent keys (2,) that follow from a key of any kind."""
    *words, last = _words(key)
    first = mixed(words[0] ^ np.uint32((number + 1) * GOLDEN % 2**32))
    return jnp.stack([first, mixed(last + first)])


def random_bits(key: Array, shape: tuple[int, ...]) -> Array:
    """Numbers from 0 to 2**32 - 1, of any shape with less than 2**32 of them."""
    first, second = _words(key)
    place = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        place += lax.broadcasted_iota(jnp.uint32, shape, axis) * np.uint32(math.prod(shape[axis + 1 :]))
    return mixed(mixed(place ^ first) ^ second)


def mixed(x: Array) -> Array:
    """A number from 0 to 2**32 - 1 for each, one to one; half of its bits change with any bit of x (MurmurHash3)."""
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def _words(key: Array) -> Array:
    return jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
