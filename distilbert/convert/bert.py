# SPDX-License-Identifier: Apache-2.0
"""BERT is a DistilBERT: reading a BERT checkpoint as one.

With one segment, BERT adds the same vector `token_type_embeddings[0]` at every position, so adding it to the position
table leaves a DistilBERT. Its masked-LM, token-classification and question-answering heads map one to one. What cannot
map exactly is refused with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from distilbert import spec
from distilbert.convert.tensor import Array, StoredTensor
from distilbert.errors import ConfigError, WeightsError, describe

MODEL_TYPE = "bert"
_TOKEN_TYPES = "embeddings.token_type_embeddings.weight"

# BERT's path -> DistilBERT's path, both without prefix.
_LAYERS = {
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
    r"cls\.predictions\.decoder": "vocab_projector",
    r"cls\.predictions": "vocab_projector",  # its own bias; the decoder's, where saved, is the same tensor
    r"classifier": "classifier",
    r"qa_outputs": "qa_outputs",
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
_BERT_DEFAULTS = {  # what a BERT config.json means by leaving a field out, where that differs from DistilBERT
    "num_hidden_layers": 12,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "seq_classif_dropout": 0.1,
}


def is_bert(config: Mapping[str, Any], names: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is BERT's, by its config or, where that is silent, by its tensors."""
    if "model_type" in config:
        return bool(config["model_type"] == MODEL_TYPE)
    return any(name.startswith(("bert.", "encoder.layer.")) for name in names)


def fold_config(data: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The DistilBERT config.json of a BERT config.json.

    Raises:
        ConfigError: lists everything that a DistilBERT cannot compute.
    """
    expected = {
        "position_embedding_type": "absolute",
        "layer_norm_eps": 1e-12,
        "is_decoder": False,
        "add_cross_attention": False,
    }
    problems = [
        f"{field}: DistilBERT has {value!r}, found {data[field]!r}"
        for field, value in expected.items()
        if field in data and data[field] != value
    ]
    if problems:
        raise ConfigError(describe(f"{origin}: this BERT cannot be read as a DistilBERT", problems))
    gone = {*expected, "type_vocab_size", "model_type", *_CONFIG_FIELDS}
    folded = {name: value for name, value in data.items() if name not in gone}
    for name, ours in _CONFIG_FIELDS.items():
        value = data.get(name, _BERT_DEFAULTS.get(name))
        if value is not None:
            folded[ours] = value
    folded["architectures"] = [_class_name(name) for name in data.get("architectures") or []] or None
    return {**{"seq_classif_dropout": folded.get("dropout", 0.1)}, **folded, "model_type": "distilbert"}


def fold_tensors(tensors: Mapping[str, StoredTensor], origin: str) -> tuple[dict[str, StoredTensor], str | None]:
    """A BERT's tensors under DistilBERT's names, and why its head cannot be used, if it cannot.

    Raises:
        WeightsError: a tensor that has no place, or no token types to fold.
    """
    bare = {_without_prefix(name): tensor for name, tensor in tensors.items()}
    token_types = bare.pop(_TOKEN_TYPES, None)
    pooled = any(name.startswith("pooler.") for name in bare)
    folded: dict[str, StoredTensor] = {}
    unknown = []
    for name, tensor in bare.items():
        ours = None if _UNUSED.match(name) else _rename(name)
        if ours is not None and (ours not in folded or name.startswith("cls.predictions.bias")):
            folded[ours] = tensor.renamed(ours)
        elif ours is None and not _UNUSED.match(name):
            unknown.append(name)
    positions = folded.get(spec.POSITION_EMBEDDINGS)
    if unknown or positions is None:
        missing = [] if positions is not None else [f"{spec.POSITION_EMBEDDINGS} is missing"]
        raise WeightsError(describe(f"{origin}: BERT", [*(f"{name}: unknown tensor" for name in unknown), *missing]))
    if token_types is not None:
        folded[spec.POSITION_EMBEDDINGS] = _add_first_row(positions, token_types, origin)
    obstacle = "its classifier reads BERT's pooled token (tanh), DistilBERT's has a pre-classifier (ReLU)"
    return folded, obstacle if pooled and "classifier.weight" in folded else None


def _add_first_row(table: StoredTensor, row: StoredTensor, origin: str) -> StoredTensor:
    """The position table with the one segment's vector added: in float32 at least, so that nothing is rounded away."""
    if len(row.shape) != 2 or row.shape[1:] != table.shape[1:] or not row.shape[0]:
        raise WeightsError(f"{origin}: {_TOKEN_TYPES}: expected shape (2, {table.shape[-1]}), found {row.shape}")
    dtype = np.dtype(np.promote_types(np.float32, table.dtype) if table.dtype.itemsize > 2 else np.float32)

    def load() -> Array:
        return np.asarray(table.load().astype(dtype) + row.load()[0].astype(dtype))

    return StoredTensor(table.name, table.shape, dtype, load)


def _rename(name: str) -> str | None:
    path, _, leaf = name.rpartition(".")
    for pattern, ours in _LAYERS.items():
        match = re.fullmatch(pattern, path)
        if match:
            return f"{match.expand(ours)}.{leaf}"
    return None


def _without_prefix(name: str) -> str:
    return re.sub(r"^(mlm___|nsp___)(?=cls\.)", "", name.removeprefix("bert."))


def _class_name(name: str) -> str:
    name = name.removeprefix("TF").removeprefix("Flax")
    return {"BertForPreTraining": "DistilBertForMaskedLM"}.get(name, re.sub("^Bert", "DistilBert", name))
