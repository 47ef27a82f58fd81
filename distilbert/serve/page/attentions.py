# SPDX-License-Identifier: Apache-2.0
"""A text to its tokens and to what each of them attends to, for every layer and head. Knows nothing of HTTP."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.tokenizer import DistilBertTokenizer
from distilbert.tokenizer.tensors import from_array

LONGEST = 64  # tokens: more cannot be told apart in a picture
DIGITS = 4
_TENSORS = {"pt": "pt", "tf": "tf", "flax": "jax"}  # what the tokenizer calls them


def attend(encoder: Any, tokenizer: DistilBertTokenizer, text: str) -> dict[str, Any]:
    """What the encoder attends to when it reads a text.

    Args:
        encoder: a DistilBertModel of any framework.
        tokenizer: of the model.
        text: cut after 64 tokens.

    Returns:
        tokens: as the vocabulary has them, T of them.
        cut: whether the text is longer.
        attentions: for each layer and head rows (T, T), rounded to 4 digits; row i is how token i divides its attention
            among all tokens, and sums to 1.

    Raises:
        TokenizerError: the text cannot be encoded.
    """
    limit = min(LONGEST, encoder.config.max_position_embeddings, tokenizer.model_max_length)
    ids = _ids(tokenizer, text, limit)
    is_cut = len(ids) == limit and len(_ids(tokenizer, text, limit + 1)) > limit
    row = from_array(np.array([ids], np.int64), _TENSORS[encoder.backend])
    layers = encoder(row, output_attentions=True, return_dict=True).attentions
    weights = np.concatenate([_to_numpy(layer) for layer in layers])  # (N, H, T, T)
    return {
        "tokens": tokenizer.convert_ids_to_tokens(ids),
        "cut": is_cut,
        "attentions": weights.round(DIGITS).tolist(),
    }


def _ids(tokenizer: DistilBertTokenizer, text: str, limit: int) -> list[int]:
    encoded = tokenizer.batch_encode_plus([text], truncation=True, max_length=limit, verbose=False)
    ids: list[int] = encoded["input_ids"][0]
    return ids


def _to_numpy(tensor: Any) -> NDArray[np.float64]:
    """In float64; only PyTorch's tensors know of gradients."""
    values = tensor.detach().cpu() if hasattr(tensor, "detach") else tensor
    return np.asarray(values).astype(np.float64)
