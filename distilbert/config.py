# SPDX-License-Identifier: Apache-2.0
"""The configuration of every model here: the fields of a Hugging Face DistilBERT config.json, checked as a whole.

A config is immutable and hashable, so that it can be a static argument of a compiled function; `replace` makes a
changed copy. Fields of config.json that mean nothing here are kept in `extra` and written back.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilbert.errors import ConfigError, describe
from distilbert.files import JSON_LIMIT, read_json, write_json

MODEL_TYPE = "distilbert"
CONFIG_NAME = "config.json"

ALIASES = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "torch_dtype": "dtype",
    "use_return_dict": "return_dict",
}
ACTIVATIONS = (
    "gelu",
    "gelu_10",
    "gelu_fast",
    "gelu_new",
    "gelu_python",
    "gelu_pytorch_tanh",
    "leaky_relu",
    "linear",
    "mish",
    "quick_gelu",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "swish",
    "tanh",
)
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")
DTYPES = ("float32", "float64", "bfloat16", "float16")

# Fields of the general Hugging Face configuration that user code passes and that change nothing in these models.
INERT_FIELDS = frozenset(
    {
        "_attn_implementation",
        "_attn_implementation_autoset",
        "_name_or_path",
        "add_cross_attention",
        "attn_implementation",
        "bos_token_id",
        "chunk_size_feed_forward",
        "cls_token_id",
        "eos_token_id",
        "finetuning_task",
        "hidden_act",
        "is_decoder",
        "is_encoder_decoder",
        "layer_norm_eps",
        "model_type",
        "output_past",
        "prefix",
        "sep_token_id",
        "task_specific_params",
        "tf_legacy_loss",
        "tie_encoder_decoder",
        "tie_weights_",
        "tokenizer_class",
        "torchscript",
        "transformers_version",
        "type_vocab_size",
        "use_bfloat16",
        "use_cache",
    }
)

_SIZE_LIMITS = {  # far above any real model, low enough that a nonsense config cannot exhaust the machine
    "vocab_size": 10_000_000,
    "max_position_embeddings": 10_000_000,
    "n_layers": 1_000,
    "n_heads": 10_000,
    "dim": 1_000_000,
    "hidden_dim": 10_000_000,
}
_RATES = ("dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout")
_FLAGS = ("sinusoidal_pos_embds", "tie_word_embeddings", "output_attentions", "output_hidden_states", "return_dict")
_MAX_LABELS = 1_000_000


@dataclass(init=False, eq=False)
class DistilBertConfig:
    """What a DistilBERT is made of. Field names, defaults and aliases are those of Hugging Face's config.json.

    `hidden_size`, `num_hidden_layers`, `num_attention_heads` and `torch_dtype` are read, written and accepted as other
    names of `dim`, `n_layers`, `n_heads` and `dtype`; `num_labels=n` makes labels LABEL_0 ... LABEL_{n-1}.

    Raises:
        ConfigError: lists every wrong, unknown or inconsistent field at once.
    """

    vocab_size: int = 30522
    max_position_embeddings: int = 512
    sinusoidal_pos_embds: bool = False
    n_layers: int = 6
    n_heads: int = 12
    dim: int = 768
    hidden_dim: int = 3072
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation: str = "gelu"
    initializer_range: float = 0.02
    qa_dropout: float = 0.1
    seq_classif_dropout: float = 0.2
    pad_token_id: int | None = 0
    tie_word_embeddings: bool = True
    problem_type: str | None = None
    output_attentions: bool = False
    output_hidden_states: bool = False
    return_dict: bool = True
    dtype: str | None = None
    architectures: tuple[str, ...] | None = None
    pruned_heads: Mapping[int, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    id2label: Mapping[int, str] = dataclasses.field(default_factory=lambda: _default_labels(2))
    label2id: Mapping[str, int] = dataclasses.field(default_factory=dict)
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __init__(self, **fields: Any) -> None:
        problems: list[str] = []
        values = _gather(fields, problems)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        problems += _check(values)
        if problems:
            raise ConfigError(describe("configuration", problems))

    # Other names for the same facts.

    @property
    def hidden_size(self) -> int:
        """Another name of `dim`."""
        return self.dim

    @property
    def num_hidden_layers(self) -> int:
        """Another name of `n_layers`."""
        return self.n_layers

    @property
    def num_attention_heads(self) -> int:
        """Another name of `n_heads`."""
        return self.n_heads

    @property
    def use_return_dict(self) -> bool:
        """Another name of `return_dict`."""
        return self.return_dict

    @property
    def torch_dtype(self) -> str | None:
        """Another name of `dtype`."""
        return self.dtype

    @property
    def model_type(self) -> str:
        """The family name in config.json."""
        return MODEL_TYPE

    @property
    def num_labels(self) -> int:
        """How many classes a classification head tells apart."""
        return len(self.id2label)

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.n_heads

    def heads_in_layer(self, layer: int) -> int:
        """How many attention heads are left in a layer after pruning."""
        return self.n_heads - len(self.pruned_heads.get(layer, ()))

    # Copies, comparison, files.

    def replace(self, **changes: Any) -> DistilBertConfig:
        """A copy with some fields (or aliases, or `num_labels`) changed."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in changes:
            values.pop(ALIASES.get(name, name), None)
        if changes.keys() & {"num_labels", "id2label"}:
            values.pop("label2id", None)
        if "num_labels" in changes:
            values.pop("id2label", None)
        return DistilBertConfig(**values, **changes)

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON values, under the names Hugging Face writes; unknown fields of the source come back."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del values["extra"]
        values["id2label"] = {str(index): label for index, label in self.id2label.items()}
        values["label2id"] = dict(self.label2id)
        values["pruned_heads"] = {str(layer): list(heads) for layer, heads in self.pruned_heads.items()}
        values["architectures"] = None if self.architectures is None else list(self.architectures)
        for optional in ("architectures", "dtype", "problem_type"):
            if values[optional] is None:
                del values[optional]
        return {**copy.deepcopy(dict(self.extra)), **values, "model_type": MODEL_TYPE}

    def to_json_string(self) -> str:
        """The text of config.json: sorted keys, two spaces."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], origin: str = "config", **changes: Any) -> DistilBertConfig:
        """A config from the content of a config.json; fields unknown here are preserved.

        Args:
            data: the JSON object.
            origin: names the source in errors.
            changes: fields that replace those of `data`.
        """
        if "class_name" in data and "model_type" not in data:
            raise ConfigError(
                f"{origin}: a configuration of keras-hub ({data['class_name']!r:.80}); name the folder of its preset, "
                "weights included, or convert that (distilbert.convert_checkpoint)"
            )
        family = data.get("model_type", MODEL_TYPE)
        if family != MODEL_TYPE:
            raise ConfigError(f"{origin}: model_type: expected {MODEL_TYPE!r}, found {family!r}")
        names = _field_names() | ALIASES.keys() | {"num_labels"}
        known = {name: value for name, value in data.items() if name in names and name != "extra"}
        extra = {name: value for name, value in data.items() if name not in known and name != "model_type"}
        try:
            config = cls(**_without_redundant_labels(known), extra=extra)
            return config.replace(**changes) if changes else config
        except ConfigError as error:
            raise ConfigError(f"{origin}: {error}") from None

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], **changes: Any) -> DistilBertConfig:
        """The config of a local folder (a preset of keras-hub too), a config.json, or a hub repository.

        `revision`, `subfolder`, `token`, `cache_dir`, `local_files_only` and `force_download` choose the source as in
        `distilbert.hub.resolve`; other keywords replace fields.
        """
        from distilbert import hub
        from distilbert.convert.checkpoint import open_checkpoint
        from distilbert.convert.keras_hub import find_preset

        options = {name: changes.pop(name) for name in hub.OPTIONS if name in changes}
        folder = hub.resolve(name_or_path, weights=False, **options)
        if find_preset(folder):
            return open_checkpoint(folder).config.replace(**changes)
        return cls.from_file(folder if folder.is_file() else folder / CONFIG_NAME, **changes)

    @classmethod
    def from_file(cls, path: Path, **changes: Any) -> DistilBertConfig:
        """The config in one JSON file."""
        return cls.from_dict(read_json(path, JSON_LIMIT), str(path), **changes)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json into `folder`, which is made if it does not exist."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        write_json(Path(folder) / CONFIG_NAME, dict(sorted(self.to_dict().items())))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DistilBertConfig) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return self._hash

    @functools.cached_property
    def _hash(self) -> int:
        return hash(self.to_json_string())

    def __reduce__(self) -> tuple[Any, ...]:
        return DistilBertConfig.from_dict, (self.to_dict(),)  # not the cached hash, which differs between processes

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"DistilBertConfig is immutable; use config.replace({name}={value!r}) for a changed copy")


def _gather(fields: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """Every field with its given or default value, aliases resolved, containers copied."""
    values: dict[str, Any] = {}
    extra = dict(fields.pop("extra", {}))
    count = fields.pop("num_labels", None)
    for given, value in fields.items():
        name = ALIASES.get(given, given)
        if name in values and values[name] != value:
            problems.append(f"{name}: given twice, as {values[name]!r} and (alias {given}) {value!r}")
        elif name in _field_names():
            values[name] = value
        elif given in INERT_FIELDS:
            extra[given] = value
        else:
            problems.append(_unknown(given))
    for field in dataclasses.fields(DistilBertConfig):
        if field.name not in values:
            values[field.name] = _default(field)
    values["extra"] = copy.deepcopy(extra)
    _settle_labels(values, count, "id2label" in fields, problems)
    _normalize(values, problems)
    return values


def _settle_labels(values: dict[str, Any], count: Any, given: bool, problems: list[str]) -> None:
    if count is not None and not (_is_int(count) and 0 < count <= _MAX_LABELS):
        problems.append(f"num_labels: expected a whole number from 1 to {_MAX_LABELS:,}, found {count!r}")
    elif count is not None and not given:
        values["id2label"] = _default_labels(count)
    elif count is not None and isinstance(values["id2label"], Mapping) and len(values["id2label"]) != count:
        problems.append(f"num_labels: {count}, but id2label has {len(values['id2label'])} entries")


def _normalize(values: dict[str, Any], problems: list[str]) -> None:
    """Bring JSON shapes (string keys, lists) into the immutable in-memory form."""
    values["id2label"] = _int_keys("id2label", values["id2label"], problems)
    if not values["label2id"]:
        values["label2id"] = {label: index for index, label in values["id2label"].items()}
    pruned = _int_keys("pruned_heads", values["pruned_heads"], problems)
    try:
        values["pruned_heads"] = {layer: tuple(sorted(set(heads))) for layer, heads in sorted(pruned.items()) if heads}
    except TypeError:
        problems.append(f"pruned_heads: expected lists of head numbers, found {pruned!r}")
        values["pruned_heads"] = {}
    if isinstance(values["architectures"], list | tuple):
        values["architectures"] = tuple(values["architectures"])
    if values["dtype"] is not None:
        values["dtype"] = str(values["dtype"]).removeprefix("torch.")


def _check(values: Mapping[str, Any]) -> list[str]:
    problems = []
    for name, limit in _SIZE_LIMITS.items():
        if not (_is_int(values[name]) and 0 < values[name] <= limit):
            problems.append(f"{name}: expected a whole number from 1 to {limit:,}, found {values[name]!r}")
    for name in _RATES:
        if not (_is_number(values[name]) and 0 <= values[name] < 1):
            problems.append(f"{name}: expected a rate from 0 to below 1, found {values[name]!r}")
    for name in _FLAGS:
        if not isinstance(values[name], bool):
            problems.append(f"{name}: expected true or false, found {values[name]!r}")
    for name, choices in (("activation", ACTIVATIONS), ("problem_type", PROBLEM_TYPES), ("dtype", DTYPES)):
        value = values[name]
        if value not in choices and not (value is None and name != "activation"):
            problems.append(f"{name}: expected one of {', '.join(choices)}; found {value!r}")
    if not (_is_number(values["initializer_range"]) and 0 <= values["initializer_range"] < float("inf")):
        problems.append(f"initializer_range: expected a number of at least 0, found {values['initializer_range']!r}")
    return problems + _check_labels(values) + (_check_relations(values) if not problems else [])


def _check_labels(values: Mapping[str, Any]) -> list[str]:
    problems = []
    labels = values["id2label"]
    if sorted(labels) != list(range(len(labels))) or not labels:
        problems.append(f"id2label: expected the ids 0, 1, 2, ... without gaps, found {_short(list(labels))}")
    if not all(isinstance(label, str) for label in labels.values()):
        problems.append(f"id2label: expected text labels, found {_short(list(labels.values()))}")
    if not isinstance(values["label2id"], Mapping) or not all(_is_int(i) for i in values["label2id"].values()):
        problems.append(f"label2id: expected a map from label to id, found {_short(values['label2id'])}")
    names = values["architectures"]
    if names is not None and not (isinstance(names, tuple) and all(isinstance(name, str) for name in names)):
        problems.append(f"architectures: expected a list of class names, found {names!r}")
    return problems


def _check_relations(values: Mapping[str, Any]) -> list[str]:
    """Facts that hold between fields; checked only when each field alone is sound."""
    problems = []
    if values["dim"] % values["n_heads"]:
        problems.append(f"n_heads: {values['n_heads']} does not divide dim {values['dim']}")
    if values["sinusoidal_pos_embds"] and values["dim"] % 2:
        problems.append(f"dim: sinusoidal positions need an even width, found {values['dim']}")
    pad = values["pad_token_id"]
    if pad is not None and not (_is_int(pad) and 0 <= pad < values["vocab_size"]):
        problems.append(f"pad_token_id: expected null or an id below vocab_size {values['vocab_size']}, found {pad!r}")
    for layer, heads in values["pruned_heads"].items():
        if not 0 <= layer < values["n_layers"]:
            problems.append(f"pruned_heads: layer {layer} does not exist, there are {values['n_layers']}")
        if not all(_is_int(head) and 0 <= head < values["n_heads"] for head in heads):
            problems.append(f"pruned_heads: layer {layer}: expected heads below {values['n_heads']}, found {heads}")
        elif len(heads) == values["n_heads"]:
            problems.append(f"pruned_heads: layer {layer} would have no head left")
    return problems


def _without_redundant_labels(known: dict[str, Any]) -> dict[str, Any]:
    """Old files say num_labels beside id2label; where both agree, id2label alone is enough."""
    labels = known.get("id2label")
    if "num_labels" in known and isinstance(labels, Mapping) and len(labels) == known["num_labels"]:
        known = {name: value for name, value in known.items() if name != "num_labels"}
    return {name: value for name, value in known.items() if not (value is None and name in _CONTAINERS)}


_CONTAINERS = ("id2label", "label2id", "pruned_heads", "num_labels", "tie_word_embeddings", "return_dict")


def _int_keys(name: str, value: Any, problems: list[str]) -> dict[int, Any]:
    try:
        return {int(key): item for key, item in dict(value).items()}
    except (TypeError, ValueError):
        problems.append(f"{name}: expected a map with whole-number keys, found {_short(value)}")
        return {0: "LABEL_0"} if name == "id2label" else {}


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _default_labels(count: int) -> dict[int, str]:
    return {index: f"LABEL_{index}" for index in range(count)}


def _field_names() -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(DistilBertConfig))


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, [*_field_names(), *ALIASES, "num_labels"], n=1)
    hint = f"did you mean {close[0]}?" if close else "use extra={...} to keep a field of your own"
    return f"{name}: unknown field; {hint}"


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
