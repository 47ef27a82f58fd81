# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint's files say about sentence embeddings, in the layout of the library sentence-transformers.

Read here: `modules.json`, the folders of modules that it lists, `sentence_bert_config.json` and
`config_sentence_transformers.json`. The library itself is not needed. What comes of it: `sentence_modules.py`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilbert.checkpoint_files import MODULES_FILE, PROMPTS_FILE, TRANSFORMER_FILES
from distilbert.convert.finite import warn_if_not_finite
from distilbert.convert.raw import shown
from distilbert.convert.weights import read_weights
from distilbert.errors import ConfigError, FileError, WeightsError, describe
from distilbert.files import parse_json, read_json, read_text
from distilbert.pipelines.sentence_modules import POOLINGS, Dense, SentenceModules

_WIDEST = 2**16  # numbers in an embedding; far beyond any model
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_NAMES = {"mean_sqrt_len_tokens": "mean_sqrt_len"}  # theirs: ours
_ACTIVATIONS = {"torch.nn.modules.activation.Tanh": True, "torch.nn.modules.linear.Identity": False}
_ORDER = re.compile(r"Transformer Pooling( Dropout| Dense)*( Normalize)?")


def read_modules(folder: Path, width: int) -> SentenceModules:
    """What the files in a checkpoint's folder say; what they do not say is as in `SentenceModules`.

    Args:
        folder: with config.json and the weights.
        width: of the hidden states.

    Raises:
        ConfigError: lists everything that is wrong, or not supported.
    """
    reader = _Reader(folder, width)
    settings = {**reader.modules(), **reader.transformer(), **reader.prompts()}
    if reader.problems:
        raise ConfigError(describe(f"{folder}: sentence embedding", reader.problems))
    return SentenceModules(**settings)


class _Reader:
    """Reads one file after the other and collects what is wrong."""

    def __init__(self, folder: Path, width: int) -> None:
        self.folder = folder
        self.width = width  # of what comes out of the module before
        self.problems: list[str] = []

    def modules(self) -> dict[str, Any]:
        path = self.folder / MODULES_FILE
        if not path.exists():
            return {}
        found = [self._module(entry, number) for number, entry in enumerate(self._list(path))]
        kinds = [kind for kind, _ in found]
        if not _ORDER.fullmatch(" ".join(kinds)):
            expected = "expected Transformer, Pooling and perhaps Dense and Normalize of sentence_transformers"
            self.problems.append(f"{MODULES_FILE}: {expected}; found {', '.join(map(shown, kinds)) or 'none'}")
            return {}
        if found[0][1]:
            self.problems.append(
                f"{MODULES_FILE}: the encoder is in the folder {found[0][1]}; expected it beside {MODULES_FILE}, so "
                "move its files there"
            )
        if self.problems:
            return {}
        pooling = self._pooling(found[1][1])
        dense = [self._dense(name) for kind, name in found if kind == "Dense"]
        return {**pooling, "dense": tuple(filter(None, dense)), "normalize": kinds[-1] == "Normalize"}

    def transformer(self) -> dict[str, Any]:
        name = next((name for name in TRANSFORMER_FILES if (self.folder / name).exists()), None)
        config = {} if name is None else self._json(name)
        length = config.get("max_seq_length")
        if length is not None and not _is_size(length):
            self._wrong(f"{name}: max_seq_length", "a number of tokens", length)
        return {"max_length": length, "lower_case": self._flag(config, name, "do_lower_case", False)}

    def prompts(self) -> dict[str, Any]:
        config = self._json(PROMPTS_FILE) if (self.folder / PROMPTS_FILE).exists() else {}
        prompts = config.get("prompts") or {}
        if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
            self._wrong(f"{PROMPTS_FILE}: prompts", "an object of names and texts", prompts)
            prompts = {}
        default = config.get("default_prompt_name")
        if default is not None and (not isinstance(default, str) or default not in prompts):
            self._wrong(f"{PROMPTS_FILE}: default_prompt_name", f"one of {', '.join(prompts) or 'no prompts'}", default)
        return {"prompts": prompts, "default_prompt": default}

    # One module each.

    def _module(self, entry: Any, number: int) -> tuple[str, str]:
        """Kind and folder of a module."""
        name = f"{MODULES_FILE}: module {number}"
        if not isinstance(entry, dict):
            self._wrong(name, "an object", entry)
            return "?", ""
        kind, path = entry.get("type"), entry.get("path")
        is_folder = isinstance(path, str) and re.fullmatch(r"\w[\w.-]*", path, re.ASCII)
        if not is_folder and not (number == 0 and path == ""):
            self._wrong(f"{name}: path", "the plain name of a folder", path)
        if not isinstance(kind, str):
            self._wrong(f"{name}: type", "the name of a class", kind)
        is_theirs = str(kind).startswith("sentence_transformers.")
        return str(kind).rpartition(".")[2] if is_theirs else str(kind), str(path)

    def _pooling(self, folder: str) -> dict[str, Any]:
        name = f"{folder}/config.json"
        config = self._json(name)
        width = config.get("word_embedding_dimension", config.get("embedding_dimension", self.width))
        if width != self.width:
            self._wrong(f"{name}: word_embedding_dimension", f"{self.width}, the width of the model", width)
        modes = config.get("pooling_mode")
        if modes is None:
            chosen = [mode for flag, mode in _FLAGS.items() if self._flag(config, name, flag, False)] or ["mean"]
        else:
            chosen = [_NAMES.get(mode, mode) if isinstance(mode, str) else mode for mode in _as_list(modes)]
        if not chosen or any(mode not in POOLINGS for mode in chosen):
            self._wrong(f"{name}: pooling_mode", ", ".join(POOLINGS), chosen)
        self.width *= len(chosen)
        return {"pooling": tuple(chosen), "include_prompt": self._flag(config, name, "include_prompt", True)}

    def _dense(self, folder: str) -> Dense | None:
        name, before = f"{folder}/config.json", len(self.problems)
        config = self._json(name)
        size: Any = config.get("out_features")
        if config.get("in_features") != self.width:
            self._wrong(
                f"{name}: in_features", f"{self.width}, the width of what comes before", config.get("in_features")
            )
        if not _is_size(size) or size > _WIDEST:
            self._wrong(f"{name}: out_features", f"a number from 1 to {_WIDEST}", size)
        activation = config.get("activation_function", "torch.nn.modules.activation.Tanh")
        if not isinstance(activation, str) or activation not in _ACTIVATIONS:
            self._wrong(f"{name}: activation_function", " or ".join(_ACTIVATIONS), activation)
        if config.get("module_input_name") not in (None, "sentence_embedding") or config.get("use_residual"):
            self.problems.append(f"{name}: module_input_name, use_residual: not supported; expected a plain layer")
        has_bias = self._flag(config, name, "bias", True)
        if len(self.problems) > before:
            return None
        shapes: dict[str, tuple[int, ...]] = {"linear.weight": (size, self.width)}
        if has_bias:
            shapes["linear.bias"] = (size,)
        values = self._values(self.folder / folder, shapes)
        self.width = size
        if values is None:
            return None
        return Dense(values["linear.weight"], values.get("linear.bias", np.zeros(size)), _ACTIVATIONS[activation])

    # Files and fields.

    def _values(self, folder: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray[np.float64]] | None:
        """Tensors of exactly these names and shapes."""
        try:
            stored = read_weights(folder)
            found = {name: tensor.shape for name, tensor in stored.tensors.items()}
            if found != shapes:
                self._wrong(f"{folder.name}/{stored.path.name}: tensors", str(shapes), str(found))
                return None
            values = {name: tensor.load() for name, tensor in stored.tensors.items()}
        except (FileError, WeightsError) as error:
            self.problems.append(str(error))
            return None
        warn_if_not_finite(values, str(stored.path))
        return {name: array.astype(np.float64) for name, array in values.items()}

    def _json(self, name: str) -> dict[str, Any]:
        try:
            return read_json(self.folder / name)
        except FileError as error:
            self.problems.append(str(error))
            return {}

    def _list(self, path: Path) -> list[Any]:
        try:
            # The careful reader takes objects only, and would take a second field for what it is.
            value = parse_json(f'{{"modules": {read_text(path)}}}', str(path))
        except FileError as error:
            self.problems.append(str(error))
            return []
        if value.keys() != {"modules"} or not isinstance(value["modules"], list):
            self.problems.append(f"{MODULES_FILE}: expected a list of modules")
            return []
        modules: list[Any] = value["modules"]
        return modules

    def _flag(self, config: dict[str, Any], origin: str | None, name: str, default: bool) -> bool:
        value = config.get(name)
        if value is not None and not isinstance(value, bool):
            self._wrong(f"{origin}: {name}", "true or false", value)
        return default if value is None else bool(value)

    def _wrong(self, name: str, expected: str, found: Any) -> None:
        self.problems.append(f"{name}: expected {expected}; found {shown(found)}")


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
