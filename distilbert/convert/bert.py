# SPDX-License-Identifier: Apache-2.0
"""BERT is a DistilBERT: reading a BERT checkpoint as one.

With one segment, BERT adds the same vector `token_type_embeddings[0]` at every position, so adding it to the position
table leaves a DistilBERT. Its masked-LM, token-classification and question-answering heads map one to one. What cannot
map exactly is refused with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from distilbert import spec
from distilbert.config import MODEL_TYPE as DISTILBERT
from distilbert.convert.naming import by_name
from distilbert.convert.tensor import FLOAT_DTYPES, Array, StoredTensor
from distilbert.errors import ConfigError, WeightsError, describe

MODEL_TYPE = "bert"
_TOKEN_TYPES = "embeddings.token_type_embeddings.weight"
_BIAS = "cls.predictions.bias"
_SAME_BIAS = "cls.predictions.decoder.bias"  # PyTorch files have the one bias of the masked-LM head under both names

# BERT's path -> DistilBERT's path, both without prefix.
LAYERS = {
    r"embeddings\.(word_embeddings|position_embeddings|LayerNorm)": r"embeddings.\1",
    r"encoder\.layer\.([0-9]+)\.attention\.self\.query": r"transformer.layer.\1.attention.q_lin",
    r"encoder\.layer\.([0-9]+)\.attention\.self\.key": r"transformer.layer.\1.attention.k_lin",
    r"encoder\.layer\.([0-9]+)\.attention\.self\.value": r"transformer.layer.\1.attention.v_lin",
    r"encoder\.layer\.([0-9]+)\.attention\.output\.dense": r"transformer.layer.\1.attention.out_lin",
    r"encoder\.layer\.([0-9]+)\.attention\.output\.LayerNorm": r"transformer.layer.\1.sa_layer_norm",
    r"encoder\.layer\.([0-9]+)\.intermediate\.dense": r"transformer.layer.\1.ffn.lin1",
    r"encoder\.layer\.([0-9]+)\.output\.dense": r"transformer.layer.\1.ffn.lin2",
    r"encoder\.layer\.([0-9]+)\.output\.LayerNorm": r"transformer.layer.\1.output_layer_norm",
    r"cls\.predictions\.transform\.dense": "vocab_transform",
    r"cls\.predictions\.transform\.LayerNorm": "vocab_layer_norm",
    r"cls\.predictions(\.decoder)?": "vocab_projector",
}
# The pooled first token and next-sentence prediction have no counterpart and no part in the mapped outputs.
_UNUSED = re.compile(r"pooler\.|cls\.seq_relationship\.")

_CONFIG_FIELDS = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
    "hidden_act": "activation",
    "classifier_dropout": "seq_classif_dropout",
}
_COMPUTED = {  # what DistilBERT computes, and BERT too where its config.json does not say otherwise
    "position_embedding_type": "absolute",
    "layer_norm_eps": 1e-12,
    "is_decoder": False,
    "add_cross_attention": False,
}
_LAYERS_BY_DEFAULT = 12
_CLASSES = {
    "DistilBertForPreTraining": "DistilBertForMaskedLM",
    "DistilBertLMHeadModel": "DistilBertForMaskedLM",
}

POOLED_TASKS = ("sequence-classification", "multiple-choice")  # whose head BERT and DistilBERT compute differently


def is_bert(config: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Whether a checkpoint is BERT's, by its config or, where that is silent, by its tensors."""
    if "model_type" in config:
        return bool(config["model_type"] == MODEL_TYPE)
    return any(name.startswith(("bert.", "encoder.layer.")) for name in names)


def fold_config(data: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The DistilBERT config.json of a BERT config.json.

    Raises:
        ConfigError: lists everything that a DistilBERT cannot compute.
    """
    problems = [
        f"{field}: DistilBERT has {value!r}, found {data[field]!r}"
        for field, value in _COMPUTED.items()
        if field in data and data[field] != value
    ]
    if problems:
        raise ConfigError(describe(f"{origin}: this BERT cannot be read as a DistilBERT", problems))
    gone = {*_COMPUTED, *_CONFIG_FIELDS, "type_vocab_size", "model_type"}
    folded = {name: value for name, value in data.items() if name not in gone}
    folded |= {ours: data[name] for name, ours in _CONFIG_FIELDS.items() if data.get(name) is not None}
    folded.setdefault("n_layers", _LAYERS_BY_DEFAULT)
    folded.setdefault("seq_classif_dropout", folded.get("dropout", 0.1))
    if isinstance(data.get("architectures"), list):
        folded["architectures"] = [_class_name(name) for name in data["architectures"]]
    return {**folded, "model_type": DISTILBERT}


def fold_tensors(
    tensors: Mapping[str, StoredTensor], config: Mapping[str, Any], origin: str
) -> tuple[dict[str, StoredTensor], str | None]:
    """A BERT's tensors under DistilBERT's names, and why its head cannot be used, if it cannot.

    Args:
        tensors: by canonical name, as BERT spells it; those without a place keep their names.
        config: what `fold_config` returned.
        origin: names the file in errors.

    Raises:
        WeightsError: two names mean the same tensor, or the token types are missing or wrong.
    """
    bare = by_name([(name, tensor.renamed(_without_prefix(name))) for name, tensor in tensors.items()], origin)
    token_types = bare.pop(_TOKEN_TYPES, None)
    if token_types is None:
        raise WeightsError(f"{origin}: BERT: {_TOKEN_TYPES}: missing, needed to fold it into the position table")
    if _BIAS in bare:
        bare.pop(_SAME_BIAS, None)
    kept = [(name, tensor.renamed(_rename(name))) for name, tensor in bare.items() if not _UNUSED.match(name)]
    folded = by_name(kept, origin)
    positions = folded.get(spec.POSITION_EMBEDDINGS)
    if positions is not None:
        folded[spec.POSITION_EMBEDDINGS] = _add_first_row(positions, token_types, origin)
    if not _classifies_pooled(bare, config.get("architectures")):
        return folded, None
    without_head = {name: tensor for name, tensor in folded.items() if not name.startswith("classifier.")}
    return without_head, "BERT's classifier reads a pooled token (tanh), DistilBERT's has a pre-classifier (ReLU)"


def _classifies_pooled(names: Iterable[str], architectures: object) -> bool:
    """Whether the classifier is one of whole texts; that of tokens has the same name, so the config decides."""
    if not any(name.startswith("classifier.") for name in names):
        return False
    for task in ("token-classification", *POOLED_TASKS):
        if isinstance(architectures, list) and spec.TASKS[task].class_name in architectures:
            return task in POOLED_TASKS
    return any(name.startswith("pooler.") for name in names)


def _add_first_row(table: StoredTensor, rows: StoredTensor, origin: str) -> StoredTensor:
    """The position table with the one segment's vector added: in float32 at least, so that nothing is rounded away."""
    if len(rows.shape) != 2 or not rows.shape[0] or rows.shape[1:] != table.shape[1:]:
        raise WeightsError(
            f"{origin}: BERT: {_TOKEN_TYPES}: expected one row or more, as wide as the position table "
            f"{table.shape}; found {rows.shape}"
        )
    wrong = [str(tensor.dtype) for tensor in (table, rows) if tensor.dtype not in FLOAT_DTYPES.values()]
    if wrong:
        raise WeightsError(f"{origin}: BERT: position or token type table: expected floats, found {', '.join(wrong)}")
    dtype = np.promote_types(table.dtype, np.float32)

    def load() -> Array:
        return np.asarray(table.load().astype(dtype) + rows.load()[0].astype(dtype))

    return StoredTensor(table.name, table.shape, dtype, load)


def _rename(name: str) -> str:
    path, _, leaf = name.rpartition(".")
    for pattern, ours in LAYERS.items():
        match = re.fullmatch(pattern, path)
        if match:
            return f"{match.expand(ours)}.{leaf}"
    return name


def _without_prefix(name: str) -> str:
    while name.startswith("bert."):
        name = name.removeprefix("bert.")
    return re.sub(r"^(mlm___|nsp___)(?=cls\.)", "", name)  # what TensorFlow puts before the parts of the head


def _class_name(name: object) -> object:
    if not isinstance(name, str):
        return name
    name = re.sub("^(TF|Flax)?Bert", "DistilBert", name)
    return _CLASSES.get(name, name)
