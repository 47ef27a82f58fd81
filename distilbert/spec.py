# SPDX-License-Identifier: Apache-2.0
"""Every tensor of every model as rows of data: the one place that knows names and shapes.

The canonical name of a tensor is its Hugging Face PyTorch name, which is also the attribute path in the three models
here. The encoder's names start with `distilbert.` in a model with a head and have no prefix in the bare encoder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from distilbert.config import DistilBertConfig
from distilbert.errors import InputError

PREFIX = "distilbert."
WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"
POSITION_EMBEDDINGS = "embeddings.position_embeddings.weight"
PROJECTOR = "vocab_projector.weight"
PROJECTOR_BIAS = "vocab_projector.bias"


class Kind(Enum):
    """What a layer is; decides its leaves and whether its matrix is stored transposed."""

    LINEAR = "linear"
    EMBEDDING = "embedding"
    NORM = "norm"


# Canonical leaf -> what the attribute of the layer is called in each framework.
LEAVES: dict[Kind, dict[str, dict[str, str]]] = {
    Kind.LINEAR: {
        "weight": {"pt": "weight", "tf": "kernel", "flax": "kernel"},
        "bias": {"pt": "bias", "tf": "bias", "flax": "bias"},
    },
    Kind.EMBEDDING: {
        "weight": {"pt": "weight", "tf": "embeddings", "flax": "embedding"},
    },
    Kind.NORM: {
        "weight": {"pt": "weight", "tf": "gamma", "flax": "scale"},
        "bias": {"pt": "bias", "tf": "beta", "flax": "bias"},
    },
}


@dataclass(frozen=True)
class Layer:
    """A layer with parameters: its path and the sizes of its weight, as names of config fields.

    `attention` stands for the joint width of the heads that pruning has left in the layer.
    """

    path: str
    kind: Kind
    sizes: tuple[str | int, ...]


EMBEDDING_LAYERS = (
    Layer("embeddings.word_embeddings", Kind.EMBEDDING, ("vocab_size", "dim")),
    Layer("embeddings.position_embeddings", Kind.EMBEDDING, ("max_position_embeddings", "dim")),
    Layer("embeddings.LayerNorm", Kind.NORM, ("dim",)),
)
BLOCK_LAYERS = (
    Layer("attention.q_lin", Kind.LINEAR, ("attention", "dim")),
    Layer("attention.k_lin", Kind.LINEAR, ("attention", "dim")),
    Layer("attention.v_lin", Kind.LINEAR, ("attention", "dim")),
    Layer("attention.out_lin", Kind.LINEAR, ("dim", "attention")),
    Layer("sa_layer_norm", Kind.NORM, ("dim",)),
    Layer("ffn.lin1", Kind.LINEAR, ("hidden_dim", "dim")),
    Layer("ffn.lin2", Kind.LINEAR, ("dim", "hidden_dim")),
    Layer("output_layer_norm", Kind.NORM, ("dim",)),
)


@dataclass(frozen=True)
class Task:
    """One of the six model classes: its name, class name without the framework prefix, and head layers."""

    name: str
    class_name: str
    layers: tuple[Layer, ...]
    aliases: tuple[str, ...]

    @property
    def prefix(self) -> str:
        """What the encoder's names start with in this class."""
        return PREFIX if self.layers else ""


_PRE_CLASSIFIER = Layer("pre_classifier", Kind.LINEAR, ("dim", "dim"))
_CLASSIFIER = Layer("classifier", Kind.LINEAR, ("num_labels", "dim"))

TASKS = {
    task.name: task
    for task in (
        Task("encoder", "DistilBertModel", (), ("feature-extraction",)),
        Task(
            "masked-lm",
            "DistilBertForMaskedLM",
            (
                Layer("vocab_transform", Kind.LINEAR, ("dim", "dim")),
                Layer("vocab_layer_norm", Kind.NORM, ("dim",)),
                Layer("vocab_projector", Kind.LINEAR, ("vocab_size", "dim")),
            ),
            ("fill-mask",),
        ),
        Task(
            "sequence-classification",
            "DistilBertForSequenceClassification",
            (_PRE_CLASSIFIER, _CLASSIFIER),
            ("text-classification", "sentiment-analysis"),
        ),
        Task(
            "multiple-choice",
            "DistilBertForMultipleChoice",
            (_PRE_CLASSIFIER, Layer("classifier", Kind.LINEAR, (1, "dim"))),
            (),
        ),
        Task("token-classification", "DistilBertForTokenClassification", (_CLASSIFIER,), ("ner",)),
        Task(
            "question-answering",
            "DistilBertForQuestionAnswering",
            (Layer("qa_outputs", Kind.LINEAR, ("num_labels", "dim")),),
            (),
        ),
    )
}


@dataclass(frozen=True)
class TensorSpec:
    """One tensor: canonical name, shape in PyTorch's orientation, the kind of its layer."""

    name: str
    shape: tuple[int, ...]
    kind: Kind

    @property
    def path(self) -> str:
        """The layer's path: the name without its leaf."""
        return self.name.rpartition(".")[0]

    @property
    def leaf(self) -> str:
        """`weight` or `bias`."""
        return self.name.rpartition(".")[2]

    @property
    def transposed(self) -> bool:
        """Whether TensorFlow and Flax store this matrix the other way round."""
        return self.kind is Kind.LINEAR and self.leaf == "weight"

    def attribute(self, backend: str) -> str:
        """What the leaf is called in a framework's layer."""
        return LEAVES[self.kind][self.leaf][backend]


def find_task(name: str) -> Task:
    """The task called `name`: its own name, a pipeline name (fill-mask, ner, ...) or a class name; else InputError."""
    wanted = name.removeprefix("TF").removeprefix("Flax")
    for task in TASKS.values():
        if wanted in (task.name, task.class_name, *task.aliases):
            return task
    known = [" or ".join((task.name, *task.aliases)) for task in TASKS.values()]
    raise InputError(f"task: expected one of {', '.join(known)}; found {name!r}")


def tensors(config: DistilBertConfig, task: str) -> dict[str, TensorSpec]:
    """Every tensor of a model by canonical name. A tied vocabulary projector has no weight of its own."""
    prefix, layers = TASKS[task].prefix, TASKS[task].layers
    found = [spec for layer in encoder_layers(config) for spec in _leaves(layer, prefix, config)]
    found += [spec for layer in layers for spec in _leaves(layer, "", config)]
    tied = config.tie_word_embeddings and task == "masked-lm"
    return {spec.name: spec for spec in found if not (tied and spec.name == PROJECTOR)}


def encoder_layers(config: DistilBertConfig) -> list[Layer]:
    """The encoder's layers with numbered paths, and `attention` replaced by each layer's own width."""
    layers = list(EMBEDDING_LAYERS)
    for index in range(config.n_layers):
        width = config.heads_in_layer(index) * config.head_dim
        for layer in BLOCK_LAYERS:
            sizes = tuple(width if size == "attention" else size for size in layer.sizes)
            layers.append(Layer(f"transformer.layer.{index}.{layer.path}", layer.kind, sizes))
    return layers


def _leaves(layer: Layer, prefix: str, config: DistilBertConfig) -> list[TensorSpec]:
    shape = tuple(size if isinstance(size, int) else getattr(config, size) for size in layer.sizes)
    shapes = {"weight": shape, "bias": shape[:1]}
    return [TensorSpec(f"{prefix}{layer.path}.{leaf}", shapes[leaf], layer.kind) for leaf in LEAVES[layer.kind]]


# Names in files. A dialect is how a framework's files spell the canonical names.


def native_name(spec: TensorSpec, dialect: str) -> str:
    """How files spell a tensor: `pt` (canonical), `tf` (tf_model.h5), `flax` (flax_model.msgpack), `keras-hub`."""
    if dialect == "pt":
        return spec.name
    if dialect == "keras-hub":
        return _keras_hub_name(spec)
    path = spec.path.replace(".", "/")
    if dialect == "flax":
        return f"{path}/{spec.attribute('flax')}"
    base = "" if spec.name.startswith(PREFIX) or is_head_tensor(spec.name) else PREFIX.replace(".", "/")
    leaf = "weight" if spec.name.endswith(WORD_EMBEDDINGS) else spec.attribute("tf")
    path = re.sub(r"/layer/([0-9]+)/", r"/layer_._\1/", path)
    return f"{base}{path}/{leaf}:0"


# keras-hub numbers the layers of a kind, and the values in a layer: the matrix (or norm's scale) is 0, the bias is 1.
_KERAS_HUB_LAYERS = {
    "embeddings.word_embeddings": "token_and_position_embedding/token_embedding",
    "embeddings.position_embeddings": "token_and_position_embedding/position_embedding",
    "embeddings.LayerNorm": "layer_normalization",
    "attention.q_lin": "_self_attention_layer/query_dense",
    "attention.k_lin": "_self_attention_layer/key_dense",
    "attention.v_lin": "_self_attention_layer/value_dense",
    "attention.out_lin": "_self_attention_layer/output_dense",
    "sa_layer_norm": "_self_attention_layer_norm",
    "ffn.lin1": "_feedforward_intermediate_dense",
    "ffn.lin2": "_feedforward_output_dense",
    "output_layer_norm": "_feedforward_layer_norm",
    "vocab_transform": "masked_lm_head/_intermediate_dense",
    "vocab_layer_norm": "masked_lm_head/_intermediate_layer_norm",
    "vocab_projector": "masked_lm_head",
    "pre_classifier": "dense",
    "classifier": "dense_1",
}
KERAS_HUB_TASKS = ("encoder", "sequence-classification", "masked-lm")


def _keras_hub_name(spec: TensorSpec) -> str:
    path = spec.path.removeprefix(PREFIX)
    block = re.match(r"transformer\.layer\.([0-9]+)\.", path)
    encoder = "" if block is None else "transformer_encoder/" if block[1] == "0" else f"transformer_encoder_{block[1]}/"
    layer = _KERAS_HUB_LAYERS[path if block is None else path[block.end() :]]
    number = 1 if spec.leaf == "bias" and path != "vocab_projector" else 0
    return f"layers/{encoder}{layer}/vars/{number}"


def keras_hub_shape(spec: TensorSpec, head_dim: int) -> tuple[int, ...]:
    """The shape of a tensor in keras-hub, which holds matrices transposed and the heads of an attention apart."""
    rows = spec.shape[::-1] if spec.transposed else spec.shape
    layer = spec.path.rpartition(".")[2]
    if layer in ("q_lin", "k_lin", "v_lin"):
        return (*rows[:-1], rows[-1] // head_dim, head_dim)
    if layer == "out_lin" and spec.leaf == "weight":
        return (rows[0] // head_dim, head_dim, rows[1])
    return rows


_FOREIGN_LEAVES = {
    "kernel": "weight",
    "gamma": "weight",
    "scale": "weight",
    "embedding": "weight",
    "embeddings": "weight",
    "beta": "bias",
}


def parse_native_name(native: str) -> tuple[str, bool]:
    """PyTorch spelling of a name in any dialect, and whether the file holds the matrix transposed.

    >>> parse_native_name("distilbert/transformer/layer_._0/attention/q_lin/kernel:0")
    ('distilbert.transformer.layer.0.attention.q_lin.weight', True)
    """
    path = re.sub(r"layer_\._([0-9]+)", r"layer.\1", native.removesuffix(":0")).replace("/", ".")
    path = path.removeprefix("module.")
    stem, dot, leaf = path.rpartition(".")
    return f"{stem}{dot}{_FOREIGN_LEAVES.get(leaf, leaf)}", leaf == "kernel"


def is_head_tensor(name: str) -> bool:
    """Whether a canonical name belongs to a head rather than to the encoder."""
    return any(name.startswith(layer.path + ".") for task in TASKS.values() for layer in task.layers)


def with_prefix(name: str) -> str:
    """The name of a tensor as it is in a model with a head."""
    return name if is_head_tensor(name) or name.startswith(PREFIX) else PREFIX + name
