# SPDX-License-Identifier: Apache-2.0
"""What happens around a model call in JAX: inputs of any kind, parameters given apart, dropout keys, precision."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from distilbert.errors import InputError

Call = TypeVar("Call", bound=Callable[..., Any])


def model_call(call: Call) -> Call:
    """Make a method the call of a model.

    The method then runs on arrays only, on a model that holds the `params` of the call (if there are any), with a
    `train` that is settled, and a `dropout_rng` exactly when there is dropout.
    """

    @functools.wraps(call)
    def prepared(
        self: Any, *inputs: Any, params: Any = None, dropout_rng: Any = None, train: bool | None = None, **options: Any
    ) -> Any:
        model = self if params is None else self.with_params(params)
        train = not model.deterministic if train is None else train
        model.check_ready(dropout_rng, train)
        arrays = [as_array(value) for value in inputs]
        named = {name: as_array(value) for name, value in options.items()}
        with float32_precision(model.dtype):
            return call(model, *arrays, **named, dropout_rng=dropout_rng if train else None, train=train)

    return cast(Call, prepared)


def as_array(value: Any) -> Any:
    """Lists and foreign tensors as NumPy arrays; arrays, None, True and False as they are.

    NumPy arrays stay where they are so that their values can be checked without a device.
    """
    if value is None or isinstance(value, bool | np.ndarray | jax.Array):
        return value
    try:
        array = np.asarray(value)
    except ValueError:
        raise InputError(
            "inputs: expected arrays or rectangular lists, found a list of unequal rows; pad them"
        ) from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"inputs: expected arrays or lists of numbers, found {type(value).__name__} ({array.dtype})")
    return array


def bounds(values: Any) -> tuple[int, int] | None:
    """Smallest and largest value, or None where the values cannot be looked at (compiling, other hosts, no values)."""
    if isinstance(values, jax.core.Tracer) or values.size == 0:
        return None
    if isinstance(values, jax.Array) and not values.is_fully_addressable:
        return None
    values = np.asarray(values)
    return int(values.min()), int(values.max())


def float32_precision(dtype: Any) -> contextlib.AbstractContextManager[Any]:
    """Makes products of float32 matrices float32 on every device, unless the user has chosen a precision.

    JAX's default rounds their factors on GPUs (TF32) and TPUs (bfloat16), which is far from the same numbers.
    """
    chosen = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    if chosen is not None or dtype != jnp.float32:
        return contextlib.nullcontext()
    return jax.default_matmul_precision("highest")
