# SPDX-License-Identifier: Apache-2.0
"""DistilBERT's WordPiece tokenizer with the whole Hugging Face call, on the Rust `tokenizers` library.

Needs NumPy only: PyTorch, TensorFlow or JAX is imported when tensors of it are asked for, and not before.
"""

from distilbert.tokenizer.batch_encoding import BatchEncoding, CharSpan, TokenSpan
from distilbert.tokenizer.tokenizer import DistilBertTokenizer

# One class under both of Hugging Face's names: there is no slow tokenizer here.
DistilBertTokenizerFast = DistilBertTokenizer

__all__ = ["BatchEncoding", "CharSpan", "DistilBertTokenizer", "DistilBertTokenizerFast", "TokenSpan"]
