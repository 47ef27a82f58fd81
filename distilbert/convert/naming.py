# SPDX-License-Identifier: Apache-2.0
"""From the names in a file to canonical names: dialects, wrappers, old spellings, strays, the `distilbert.` prefix."""

from __future__ import annotations

import re
from collections.abc import Mapping

from distilbert import spec
from distilbert.convert.tensor import StoredTensor
from distilbert.errors import WeightsError, describe

# Not weights: counters that old versions saved, and what an optimizer or a Keras file adds.
_STRAYS = re.compile(r"(^|\.)(position_ids|token_type_ids)$")


def canonical_tensors(stored: Mapping[str, StoredTensor], origin: str) -> dict[str, StoredTensor]:
    """The tensors of a file by PyTorch-like name, matrices in PyTorch's orientation, strays left out.

    Raises:
        WeightsError: two names of the file mean the same tensor.
    """
    found: dict[str, StoredTensor] = {}
    natives: dict[str, str] = {}
    problems = []
    for native, tensor in stored.items():
        name, transposed = spec.parse_native_name(native)
        if _STRAYS.search(name):
            continue
        if name in found:
            problems.append(f"{natives[name]} and {native} are the same tensor {name}")
        natives[name] = native
        found[name] = (tensor.transposed() if transposed and len(tensor.shape) == 2 else tensor).renamed(name)
    if problems:
        raise WeightsError(describe(origin, problems))
    return found


def with_one_prefix(tensors: Mapping[str, StoredTensor], origin: str) -> dict[str, StoredTensor]:
    """The same tensors, the encoder's under exactly one `distilbert.` and the head's under none."""
    found: dict[str, StoredTensor] = {}
    for name, tensor in tensors.items():
        bare = name
        while bare.startswith(spec.PREFIX):
            bare = bare.removeprefix(spec.PREFIX)
        canonical = spec.PREFIX + bare if bare.startswith(("embeddings.", "transformer.")) else bare
        if canonical in found:
            raise WeightsError(f"{origin}: {name} and {found[canonical].name} are the same tensor")
        found[canonical] = tensor
    return {name: tensor.renamed(name) for name, tensor in found.items()}
