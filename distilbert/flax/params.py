# SPDX-License-Identifier: Apache-2.0
"""Parameters as the nested dict that Linen-era code knows, with the paths of flax_model.msgpack; no model here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import tree_util

from distilbert.errors import BackendError, WeightsError, describe
from distilbert.pretrained import dtype_name

Params = Mapping[str, Any]


def variables(module: nnx.Module) -> dict[str, nnx.Variable[Any]]:
    """Every variable of a module by its path, as in `transformer/layer/0/ffn/lin1/kernel`."""
    found, _ = tree_util.tree_flatten_with_path(module, is_leaf=lambda node: isinstance(node, nnx.Variable))
    return {path_name(path): variable for path, variable in found}


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """{"a/b": 1} as {"a": {"b": 1}}."""
    tree: dict[str, Any] = {}
    for path, value in values.items():
        *groups, leaf = path.split("/")
        group = tree
        for name in groups:
            group = group.setdefault(name, {})
        group[leaf] = value
    return tree


def fitting(params: Params, own: Mapping[str, Any]) -> dict[str, jax.Array]:
    """The arrays of `params` by path, in the order and the float types of a model's own.

    Raises:
        WeightsError: lists every array that is missing, unexpected or of another shape than the model's own.
    """
    given = {path_name(path): value for path, value in tree_util.tree_flatten_with_path(params)[0]}
    problems = [f"{name}: missing" for name in own if name not in given]
    problems += [f"{name}: unexpected" for name in given if name not in own]
    problems += [
        f"{name}: expected shape {variable.shape}, found {np.shape(given[name])}"
        for name, variable in own.items()
        if name in given and np.shape(given[name]) != variable.shape
    ]
    if problems:
        raise WeightsError(describe("params", problems))
    return {name: jnp.asarray(given[name], variable.dtype) for name, variable in own.items()}


def path_name(path: tuple[Any, ...]) -> str:
    """The path of a leaf with slashes."""
    return tree_util.keystr(path, simple=True, separator="/")


def float_type(dtype: Any) -> np.dtype[Any]:
    """The float type called `dtype`, if JAX can compute in it now, else BackendError."""
    found = np.dtype(jnp.dtype(dtype_name(dtype)))
    if found == np.float64 and jax.dtypes.canonicalize_dtype(found) != found:
        raise BackendError(
            "dtype: float64 is switched off in JAX; before the first array is made, run "
            'jax.config.update("jax_enable_x64", True) or set JAX_ENABLE_X64=1'
        )
    return found


def cast(params: Params, dtype: Any) -> Any:
    """The same tree with every real number in another float type."""
    return jax.tree.map(lambda x: jnp.asarray(x, dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, params)
