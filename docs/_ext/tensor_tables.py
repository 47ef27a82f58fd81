# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/tensors.md: every tensor of every model, as `distilbert/spec.py` has it.

Names and shapes are those of a real, small config whose sizes all differ, so that each number stands for one symbol.
`tables.py` writes the tables into the page.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence

from distilbert import spec
from distilbert.config import DistilBertConfig
from distilbert.convert.bert import LAYERS as BERT_LAYERS
from distilbert.convert.bert import POOLED_TASKS
from distilbert.model_cards.markdown import code, grid

_SYMBOLS = {
    "vocab_size": "tokens that have an id",
    "max_position_embeddings": "longest text in tokens",
    "n_layers": "layers; `{i}` counts them from 0",
    "dim": "width of a token's vector between the layers",
    "n_heads": "attention heads of a layer",
    "head_dim": "width of one head: `dim / n_heads`",
    "attention": "width of a layer's heads together: `n_heads * head_dim`, which is `dim`; less where heads are pruned",
    "hidden_dim": "width inside the feed-forward network",
    "num_labels": "classes; 2 in question answering",
}

# Layer -> what its weight and, where it has one, its bias is for.
_PURPOSES = {
    "embeddings.word_embeddings": ("a vector for each token id",),
    "embeddings.position_embeddings": ("a vector for each position, added to the word's; not trained if sinusoidal",),
    "embeddings.LayerNorm": ("scale of the sum after it is normalised", "shift of the same"),
    "attention.q_lin": ("makes queries: what a token looks for", "added to the queries"),
    "attention.k_lin": ("makes keys: what a token is found by", "added to the keys; has no effect on the output"),
    "attention.v_lin": ("makes values: what a token passes on", "added to the values"),
    "attention.out_lin": ("mixes what the heads have gathered", "added to that"),
    "sa_layer_norm": ("scale after attention, with its input added, is normalised", "shift of the same"),
    "ffn.lin1": ("widens a token's vector, before the activation", "added to that"),
    "ffn.lin2": ("narrows it again, after the activation", "added to that"),
    "output_layer_norm": ("scale after the network, with its input added, is normalised", "shift of the same"),
    "vocab_transform": ("a last layer before the vocabulary, with the activation", "added before the activation"),
    "vocab_layer_norm": ("scale after that is normalised", "shift of the same"),
    "vocab_projector": (
        "a score for each token id; where it is tied the word embeddings serve, and none is written",
        "added to the scores; never tied",
    ),
    "pre_classifier": ("a layer on the first token's vector, with ReLU", "added before ReLU"),
    "classifier": ("a score for each class", "added to the scores"),
    "qa_outputs": ("two scores for each token: begins the answer, ends it", "added to the scores"),
}
_PURPOSES_OF_TASK = {
    ("multiple-choice", "classifier"): ("one score for each choice", "added to the score"),
    ("token-classification", "classifier"): ("a score for each class, at each token", "added to the scores"),
}

_NUMBER = 1  # of the layer shown, whose heads are pruned
_SMALL = DistilBertConfig(
    vocab_size=101,
    max_position_embeddings=103,
    n_layers=_NUMBER + 1,
    n_heads=5,
    dim=35,
    hidden_dim=107,
    num_labels=109,
    pruned_heads={_NUMBER: (0, 2)},
    tie_word_embeddings=False,
)
_WIDTH = _SMALL.heads_in_layer(_NUMBER) * _SMALL.head_dim
_SIZES = {
    **{getattr(_SMALL, name): name for name in _SYMBOLS if name not in ("n_layers", "attention")},
    _WIDTH: "attention",
    _SMALL.heads_in_layer(_NUMBER): "n_heads",  # keras-hub, where they stand apart, has no pruning
    2: "2",
    1: "1",
}
_NONE = "–"


def tensor_symbols() -> str:
    """The sizes in the shapes, and what they are in distilbert-base."""
    base = DistilBertConfig()
    rows = [(code(name), _default(base, name), purpose) for name, purpose in _SYMBOLS.items()]
    return grid(("size", "by default", "what it is"), rows, "lrl")


def tensor_leaves() -> str:
    """How the last part of a name is called, and whether matrices are turned."""
    rows = []
    for kind, leaves in spec.LEAVES.items():
        for leaf, spellings in leaves.items():
            tensor = spec.TensorSpec(f"x.{leaf}", (), kind)
            turned = "transposed" if tensor.transposed else "as in PyTorch"
            number = "vars/1" if leaf == "bias" else "vars/0"
            rows.append((kind.value, *(code(spellings[name]) for name in ("pt", "tf", "flax")), code(number), turned))
    head = ("layer", "PyTorch", "TensorFlow", "Flax", "keras-hub", "values, but in PyTorch")
    return grid(head, rows, "llllll")


def tensor_counts() -> str:
    """The six models: how many tensors and parameters."""
    rows = []
    for task in spec.TASKS.values():
        found = spec.tensors(DistilBertConfig(), task.name).values()
        per_layer = sum(".layer.0." in one.name for one in found)
        others = len(found) - per_layer * DistilBertConfig().n_layers
        parameters = sum(math.prod(one.shape) for one in found)
        heads = ", ".join(code(layer.path) for layer in task.layers) or _NONE
        rows.append((code(task.class_name), heads, f"{others} + {per_layer} `n_layers`", f"{parameters:,}"))
    return grid(("class", "layers of the head", "tensors", "parameters by default"), rows, "lllr")


def embedding_tensors() -> str:
    """The tensors below the first layer."""
    found = [tensor for tensor in _tensors("masked-lm") if tensor.name.startswith(f"{spec.PREFIX}embeddings.")]
    return _part(found, "masked-lm")


def layer_tensors() -> str:
    """The tensors of one layer."""
    layer = f".layer.{_NUMBER}."
    return _part([tensor for tensor in _tensors("masked-lm") if layer in tensor.name], "masked-lm")


def head_tensors() -> str:
    """The tensors of each head, below the name of its class."""
    parts = []
    for task in spec.TASKS.values():
        found = [tensor for tensor in _tensors(task.name) if spec.is_head_tensor(tensor.name)]
        if found:
            parts += [f"### {task.class_name}", _part(found, task.name, start=False)]
    return "\n\n".join(parts)


TABLES = (tensor_symbols, tensor_leaves, tensor_counts, embedding_tensors, layer_tensors, head_tensors)


def _part(found: Sequence[spec.TensorSpec], task: str, start: bool = True) -> str:
    """What the tensors are, and below it how they are spelled."""
    return f"{_shapes(found, task)}\n\n{_names(found, task, start)}"


def _shapes(found: Sequence[spec.TensorSpec], task: str) -> str:
    rows = []
    for tensor in found:
        turned = tensor.shape[::-1] if tensor.transposed else tensor.shape
        mark = " transposed" if tensor.transposed else ""
        hub = _symbols(spec.keras_hub_shape(tensor, _SMALL.head_dim)) + mark if _in_keras_hub(tensor, task) else _NONE
        name = code(_path(tensor) + f".{tensor.leaf}")
        rows.append((name, _symbols(tensor.shape), _symbols(turned) + mark, hub, _purpose(tensor, task)))
    return grid(("tensor", "PyTorch, BERT", "TensorFlow, Flax", "keras-hub", "what it is for"), rows, "lllll")


def _names(found: Sequence[spec.TensorSpec], task: str, start: bool) -> str:
    """The spellings in columns; with `start`, what all names of a column begin with stands once, above the table."""
    columns = [[spell(tensor, task) for tensor in found] for spell in _DIALECTS.values()]
    starts = [_common_start([name for name in column if name]) if start else "" for column in columns]
    said = ", ".join(f"{code(text)} ({dialect})" for dialect, text in zip(_DIALECTS, starts, strict=True))
    rows = [
        [code(name.removeprefix(text)) if name else _NONE for name, text in zip(names, starts, strict=True)]
        for names in zip(*columns, strict=True)
    ]
    names = grid(tuple(_DIALECTS), rows, "l" * len(_DIALECTS))
    return f"Their names begin with {said}, and go on with\n\n{names}" if start else names


def _common_start(names: Iterable[str]) -> str:
    """The parts, with the separators behind them, that all names begin with."""
    parts = zip(*(re.findall(r"[^./]*[./]", name) for name in names), strict=False)
    return "".join(same[0] for same in itertools.takewhile(lambda same: len(set(same)) == 1, parts))


def _native(dialect: str) -> Callable[[spec.TensorSpec, str], str | None]:
    return lambda tensor, task: _numbered(spec.native_name(tensor, dialect))


def _keras_hub(tensor: spec.TensorSpec, task: str) -> str | None:
    return _native("keras-hub")(tensor, task) if _in_keras_hub(tensor, task) else None


def _bert(tensor: spec.TensorSpec, task: str) -> str | None:
    """How a BERT that folds spells it; the heads on the pooled token do not fold."""
    if spec.is_head_tensor(tensor.name) and task in POOLED_TASKS:
        return None
    path = _bert_paths().get(tensor.path.removeprefix(spec.PREFIX), (tensor.path,))
    prefix = "" if spec.is_head_tensor(tensor.name) else "bert."
    return _numbered(f"{prefix}{path[0 if tensor.leaf == 'bias' else -1]}.{tensor.leaf}")


_DIALECTS: dict[str, Callable[[spec.TensorSpec, str], str | None]] = {
    "PyTorch": _native("pt"),
    "TensorFlow": _native("tf"),
    "Flax, Orbax": _native("flax"),
    "keras-hub": _keras_hub,
    "BERT": _bert,
}


def _bert_paths() -> dict[str, tuple[str, ...]]:
    """DistilBERT's path -> BERT's, from the patterns that fold names."""
    found: dict[str, tuple[str, ...]] = {}
    for pattern, ours in BERT_LAYERS.items():
        for path in _expand(pattern.replace("([0-9]+)", f"({_NUMBER})")):
            match = re.fullmatch(pattern, path)
            if match:
                folded = match.expand(ours)
                found[folded] = (*found.get(folded, ()), path)
    return found


def _expand(pattern: str) -> list[str]:
    """The texts that a pattern of alternatives `(a|b)` and options `(a)?` stands for."""
    group = re.search(r"\(([^()]*)\)(\?)?", pattern)
    if group is None:
        return [pattern.replace("\\.", ".")]
    choices = ["", *group[1].split("|")] if group[2] else group[1].split("|")
    return [text for choice in choices for text in _expand(pattern[: group.start()] + choice + pattern[group.end() :])]


def _tensors(task: str) -> list[spec.TensorSpec]:
    config = _SMALL.replace(num_labels=2) if task == "question-answering" else _SMALL
    return list(spec.tensors(config, task).values())


def _path(tensor: spec.TensorSpec) -> str:
    """The path of the tensor's layer as `spec.py` has it."""
    return tensor.path.removeprefix(spec.PREFIX).removeprefix(f"transformer.layer.{_NUMBER}.")


def _purpose(tensor: spec.TensorSpec, task: str) -> str:
    path = _path(tensor)
    purposes = _PURPOSES_OF_TASK.get((task, path), _PURPOSES[path])
    return purposes[("weight", "bias").index(tensor.leaf)]


def _symbols(shape: tuple[int, ...]) -> str:
    names = [_SIZES[size] for size in shape]
    return code(f"({', '.join(names)}{',' if len(names) == 1 else ''})")


def _in_keras_hub(tensor: spec.TensorSpec, task: str) -> bool:
    """Whether keras-hub has a place for it; its projector is always tied."""
    return task in spec.KERAS_HUB_TASKS and tensor.name != spec.PROJECTOR


def _numbered(name: str) -> str:
    return re.sub(rf"(layer[./]|layer_\._|encoder_){_NUMBER}(?=[./])", r"\1{i}", name)


def _default(base: DistilBertConfig, name: str) -> str:
    value = base.n_heads * base.head_dim if name == "attention" else getattr(base, name)
    return f"{value:,}"
