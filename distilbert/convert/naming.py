# SPDX-License-Identifier: Apache-2.0
"""From the names in a file to canonical names: dialects, wrappers, old spellings, strays, the `distilbert.` prefix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from distilbert import spec
from distilbert.convert.raw import shown
from distilbert.convert.tensor import StoredTensor
from distilbert.errors import WeightsError, describe

# What DataParallel and torch.compile put before every name, in either order.
_WRAPPERS = re.compile(r"(module\.|_orig_mod\.)+")
# Not weights: counters that old versions of transformers saved.
_STRAYS = re.compile(r"(.*\.)?(position_ids|token_type_ids)")


def dialect_of(names: Iterable[str]) -> str:
    """How names are spelled, `pt`, `tf` or `flax`, whatever the file's metadata claims."""
    leaves = {re.split(r"[./]", name)[-1] for name in names}
    if any(leaf.endswith(":0") for leaf in leaves):
        return "tf"
    return "flax" if leaves & {"kernel", "scale", "embedding"} else "pt"


def canonical_tensors(stored: Mapping[str, StoredTensor], origin: str) -> dict[str, StoredTensor]:
    """The tensors of a file by PyTorch-like name, matrices in PyTorch's orientation, wrappers and strays gone.

    Raises:
        WeightsError: lists names of the file that mean the same tensor.
    """
    renamed = []
    for native, tensor in stored.items():
        name, transposed = spec.parse_native_name(native)
        name = _WRAPPERS.sub("", name, count=1) if _WRAPPERS.match(name) else name
        if not _STRAYS.fullmatch(name):
            matrix = tensor.transposed() if transposed and len(tensor.shape) == 2 else tensor
            renamed.append((native, matrix.renamed(name)))
    return by_name(renamed, origin)


def with_one_prefix(tensors: Mapping[str, StoredTensor], origin: str) -> dict[str, StoredTensor]:
    """The same tensors, the encoder's under exactly one `distilbert.` and the head's under none.

    Raises:
        WeightsError: lists tensors that are there with and without prefix.
    """
    return by_name([(name, tensor.renamed(_prefixed(name))) for name, tensor in tensors.items()], origin)


def by_name(renamed: Iterable[tuple[str, StoredTensor]], origin: str) -> dict[str, StoredTensor]:
    """Pairs of a former name and a tensor, as a mapping by the tensor's present name.

    Raises:
        WeightsError: lists tensors that have the same name now.
    """
    found: dict[str, StoredTensor] = {}
    former: dict[str, str] = {}
    problems = []
    for name, tensor in renamed:
        if tensor.name in found:
            problems.append(f"{shown(former[tensor.name])} and {shown(name)} are the same tensor, {shown(tensor.name)}")
        found[tensor.name], former[tensor.name] = tensor, name
    if problems:
        raise WeightsError(describe(origin, problems))
    return found


def _prefixed(name: str) -> str:
    while name.startswith(spec.PREFIX):
        name = name.removeprefix(spec.PREFIX)
    return spec.PREFIX + name if name.startswith(("embeddings.", "transformer.")) else name
