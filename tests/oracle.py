# SPDX-License-Identifier: Apache-2.0
"""The oracle: models of transformers 4.57, in its three frameworks, with weights that all matter."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from distilbert import DistilBertConfig, spec

PREFIXES = {"pt": "", "tf": "TF", "flax": "Flax"}
BOUND = 1e-5  # absolute, on outputs of order one: the row "outputs of transformers" of the tolerance table
INPUTS = ("input_ids", "inputs_embeds", "attention_mask", "head_mask")
LABELS = ("labels", "start_positions", "end_positions")


@contextmanager
def quiet() -> Iterator[None]:
    """Let transformers and what it imports warn of their own affairs, while our own warnings stay errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@cache
def transformers() -> ModuleType:
    """The package, imported once and silenced."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet():
        import transformers

        transformers.logging.set_verbosity_error()
        return transformers


def hf_class(framework: str, name: str) -> Any:
    """The class of transformers called `name`, without prefix, in a framework."""
    with quiet():
        return getattr(transformers(), PREFIXES[framework] + name)


def hf_model(framework: str, task: str, config: DistilBertConfig, seed: int = 0, std: float = 0.2) -> Any:
    """A model of transformers; every parameter is random, so that none can be lost or exchanged unseen."""
    with quiet():
        settings = transformers().DistilBertConfig(**config.to_dict(), attn_implementation="eager")
        model = hf_class(framework, spec.TASKS[task].class_name)(settings)
        shake(framework, model, np.random.default_rng(seed), std)
        return model


def shake(framework: str, model: Any, random: np.random.Generator, std: float) -> None:
    """Add noise to every parameter of a model of transformers."""

    def noise(values: Any) -> np.ndarray:
        return (random.standard_normal(tuple(values.shape)) * std).astype(np.float32)

    if framework == "pt":
        import torch

        model.eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.from_numpy(noise(parameter)))
    elif framework == "tf":
        model(model.dummy_inputs)  # which makes the variables
        for variable in model.weights:
            variable.assign_add(noise(variable))
    else:
        import jax

        model.params = jax.tree_util.tree_map(lambda values: values + noise(values), model.params)


def run_hf(framework: str, model: Any, call: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """The output of a model of transformers as NumPy arrays; a loss that comes row by row is averaged."""
    known = INPUTS if framework == "flax" else (*INPUTS, *LABELS)
    given = {name: values for name, values in call.items() if name in known}
    with quiet():
        if framework == "pt":
            import torch

            with torch.no_grad():
                output = model(**{name: torch.tensor(values) for name, values in given.items()}, **options)
        else:
            given = {name: narrow(values) for name, values in given.items()}
            output = model(given, **options) if framework == "tf" else model(**given, **options)
        return {name: as_numpy(values) for name, values in output.items()}


def narrow(values: np.ndarray) -> np.ndarray:
    """Whole numbers as TensorFlow and JAX like them."""
    return values.astype(np.int32) if values.dtype == np.int64 else values


def as_numpy(values: Any) -> Any:
    """An array of any framework, or a tuple of them; scalars and rows of losses become one number."""
    if isinstance(values, tuple | list):
        return tuple(map(as_numpy, values))
    array = np.asarray(values.detach() if hasattr(values, "detach") else values)
    return array.mean() if array.ndim <= 1 else array


def pytorch_state(framework: str, model: Any) -> dict[str, np.ndarray]:
    """The parameters of a model of transformers by PyTorch name; it maps those of TensorFlow and Flax itself."""
    with quiet():
        if framework != "pt":
            name = type(model).__name__.removeprefix(PREFIXES[framework])
            twin = hf_class("pt", name)(model.config)
            convert = {"tf": _from_tensorflow, "flax": _from_flax}[framework]
            model = convert(twin, model)
        tied = model.config.tie_word_embeddings
        state = {name: values.detach().numpy().copy() for name, values in model.state_dict().items()}
    return {name: values for name, values in state.items() if not (tied and name in TIED)}


TIED = (spec.PROJECTOR, "cls.predictions.decoder.weight", "cls.predictions.decoder.bias")


def _from_tensorflow(twin: Any, model: Any) -> Any:
    from transformers.modeling_tf_pytorch_utils import load_tf2_model_in_pytorch_model

    return load_tf2_model_in_pytorch_model(twin, model, allow_missing_keys=False)


def _from_flax(twin: Any, model: Any) -> Any:
    from transformers.modeling_flax_pytorch_utils import load_flax_weights_in_pytorch_model

    return load_flax_weights_in_pytorch_model(twin, model.params)


# How each framework of transformers saves: form -> (options of save_pretrained, our name of the format).
SHARDED = "20KB"
FORMS: dict[str, dict[str, tuple[dict[str, Any], str]]] = {
    "pt": {
        "safetensors": ({}, "safetensors"),
        "safetensors-shards": ({"max_shard_size": SHARDED}, "safetensors"),
        "bin": ({"safe_serialization": False}, "pytorch"),
        "bin-shards": ({"safe_serialization": False, "max_shard_size": SHARDED}, "pytorch"),
    },
    "tf": {
        "h5": ({}, "tensorflow"),
        "h5-shards": ({"max_shard_size": SHARDED}, "tensorflow"),
        "safetensors": ({"safe_serialization": True}, "safetensors"),
    },
    "flax": {
        "msgpack": ({}, "flax"),
        "msgpack-shards": ({"max_shard_size": SHARDED}, "flax"),
        "safetensors": ({"safe_serialization": True}, "safetensors"),
    },
}
OWN_FORMATS = {"pt": ("safetensors", "pytorch"), "tf": ("tensorflow",), "flax": ("flax",)}


def save_hf(model: Any, folder: Path, options: Mapping[str, Any]) -> Path:
    """Save a model of transformers; returns the folder."""
    with quiet():
        model.save_pretrained(folder, **options)
    return folder


def load_hf(framework: str, task: str, folder: Path) -> tuple[Any, dict[str, list[str]]]:
    """A model of transformers from a folder, and what it found missing or unexpected."""
    cls = hf_class(framework, spec.TASKS[task].class_name)
    with quiet():
        if framework == "pt":
            model, info = cls.from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
        elif framework == "tf":
            model, info = cls.from_pretrained(folder, output_loading_info=True)
        else:
            return _load_flax(cls, folder)
    # TensorFlow counts layers of dropout, which hold nothing and have another number in every process.
    return model, {name: [key for key in info[name] if not re.fullmatch(r"dropout(_\d+)?", key)] for name in NO_KEYS}


NO_KEYS: dict[str, list[str]] = {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": []}


def _load_flax(cls: Any, folder: Path) -> tuple[Any, dict[str, list[str]]]:
    """Flax models say what is missing or unexpected in warnings of a logger only."""
    from transformers import modeling_flax_utils

    said: list[str] = []
    with replaced(modeling_flax_utils.logger, "warning", lambda text, *_: said.append(str(text))):
        model = cls.from_pretrained(folder)
    lines = [line for line in said if "newly initialized" in line or "not used" in line]
    return model, {**NO_KEYS, "missing_keys": lines}


@contextmanager
def replaced(owner: Any, name: str, value: Callable[..., Any]) -> Iterator[None]:
    """Another attribute for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def worst(found: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, float]:
    """The largest absolute difference of each field that both have."""
    result = {}
    for name in found.keys() & expected.keys():
        pairs = zip(found[name], expected[name], strict=True) if isinstance(found[name], tuple) else None
        result[name] = max(float(np.max(np.abs(a - b))) for a, b in pairs or [(found[name], expected[name])])
    return result
