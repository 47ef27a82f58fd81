# SPDX-License-Identifier: Apache-2.0
"""Which files make a checkpoint folder: what they are called, which is best, what is missing.

Only names, and the index of shards, which is a list of names. Reading weights is `distilbert/convert`, fetching them
`distilbert/hub.py`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from distilbert.errors import FileError, WeightsError, describe
from distilbert.files import read_json

CONFIG_FILE = "config.json"
TOKENIZER_FILES = (
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
SMALL_FILES = (CONFIG_FILE, *TOKENIZER_FILES)
MODULES_FILE = "modules.json"  # this and the next ones are of the library sentence-transformers
TRANSFORMER_FILES = ("sentence_bert_config.json", "sentence_distilbert_config.json")  # the first one counts
PROMPTS_FILE = "config_sentence_transformers.json"
CARD_FILE = "README.md"
LICENCE_FILES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE", "LICENCE.md", "LICENCE.txt", "NOTICE", "NOTICE.txt")
WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack")  # best first
ORBAX_FILE = "_METADATA"  # a folder with this one is a checkpoint of Orbax
PRESET_FILE = "model.weights.h5"  # a folder with this one is a preset of keras-hub, and may have the next ones
PRESET_FILES = (
    "metadata.json", "tokenizer.json", "assets/tokenizer/vocabulary.txt", "preprocessor.json", "task.json",
    "task.weights.h5",
)  # fmt: skip
EXPORT_FILE = "export.json"  # a folder with this one was written by `distilbert export`
# What may be run if it is from the hub: unlike others, these formats hold data for their runtimes and no code.
EXPORTED_FILES = ("model.onnx", "openvino_model.xml", "openvino_model.bin", "model.tflite")

_MODULE_CONFIG = re.compile(r"[1-9]\d*_\w+/config\.json", re.ASCII)
_MODULE_WEIGHTS = re.compile(r"([1-9]\d*_Dense/)(model\.safetensors|pytorch_model\.bin)", re.ASCII)


def weights_names(variant: str | None = None) -> tuple[str, ...]:
    """What weights can be called, the best first: each format as one file, then as an index of shards.

    Raises:
        FileError: `variant` cannot be part of a file name.
    """
    names = [name for single in WEIGHTS_FILES for name in (single, f"{single}.index.json")]
    if variant is None:
        return tuple(names)
    if not re.fullmatch(r"[\w-]+", variant):
        raise FileError(f"variant {variant!r}: expected letters, digits, '-' and '_', as in 'fp16'")
    return tuple(f"{stem}.{variant}.{ending}" for stem, _, ending in (name.rpartition(".") for name in names))


def is_index(weights: str) -> bool:
    """Whether weights of this name are an index of shards rather than the one file that holds them all."""
    return weights.endswith(".json")


def is_orbax(folder: Path) -> bool:
    """Whether a folder is a checkpoint of Orbax, weights itself."""
    return (folder / ORBAX_FILE).is_file()


def other_weights(present: Collection[str]) -> list[str]:
    """Those of the files `present` that are an export, else a preset of keras-hub, else checkpoints of Orbax.

    Exports are of the formats that may be run from the hub. The last file is there in no other kind of checkpoint.
    """
    exported = [name for name in EXPORTED_FILES if name in present]
    if exported and EXPORT_FILE in present:
        return [*exported, EXPORT_FILE]
    if PRESET_FILE in present:
        return [*(name for name in PRESET_FILES if name in present), PRESET_FILE]
    folders = sorted(name.partition("/")[0] for name in present if re.fullmatch(f"[^/]+/{ORBAX_FILE}", name))
    inside = [name for name in present if name.partition("/")[0] in folders and not name.endswith(f"/{ORBAX_FILE}")]
    return [*sorted(inside), *(f"{folder}/{ORBAX_FILE}" for folder in folders)]


def best_weights(present: Collection[str], names: Collection[str]) -> str | None:
    """The first of `names` (see `weights_names`) that is among the files `present`."""
    return next((name for name in names if name in present), None)


def shard_names(index: Path) -> list[str]:
    """The files that an index of shards lists, sorted.

    Raises:
        FileError: The index is not a JSON object.
        WeightsError: It has no list, or lists anything but plain names of weights files right beside it.
    """
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise WeightsError(f"{index}: weight_map: expected an object from tensor to file, found {weight_map!r:.80}")
    endings = [Path(name).suffix for name in WEIGHTS_FILES]
    plain_name = re.compile(rf"[\w-][\w.-]*(?:{'|'.join(map(re.escape, endings))})")
    expected = f"expected the plain name of a file beside the index, ending in {', '.join(endings)}"
    problems = [
        f"{tensor!r:.80}: {expected}; found {name!r:.80}"
        for tensor, name in weight_map.items()
        if not isinstance(name, str) or not plain_name.fullmatch(name)
    ]
    if problems:
        raise WeightsError(describe(f"{index}: weight_map", problems[:8]))
    return sorted(set(weight_map.values()))


def files_in(folder: Path) -> list[str]:
    """The names of the files right in a folder, sorted; none if there is no folder. A dangling link is no file."""
    return sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def files_below(folder: Path) -> list[str]:
    """The names of the files in a folder and in the folders right in it, with '/' between, sorted."""
    return sorted(
        path.relative_to(folder).as_posix() for path in [*folder.glob("*"), *folder.glob("*/*")] if path.is_file()
    )


def sentence_files(present: Collection[str]) -> list[str]:
    """Those of the files `present` that say how hidden states become a sentence embedding, dense layers included."""
    named = [name for name in (MODULES_FILE, *TRANSFORMER_FILES, PROMPTS_FILE) if name in present]
    configs = [name for name in present if _MODULE_CONFIG.fullmatch(name)]
    layers = {found[1] for found in map(_MODULE_WEIGHTS.fullmatch, present) if found}
    weights = [best_weights(present, [folder + name for name in WEIGHTS_FILES]) or "" for folder in layers]
    return [*named, *sorted(configs), *sorted(weights)]


def missing_files(present: Collection[str], names: Collection[str]) -> list[str]:
    """What these files lack to be a checkpoint, shards aside.

    Args:
        present: Names of the files there are.
        names: The names that the weights may have; empty if none are needed. Then a configuration without a tokenizer,
            or a tokenizer without a configuration, will do.
    """
    if not names:
        return [] if any(name in present for name in SMALL_FILES) else [CONFIG_FILE]
    missing = [] if CONFIG_FILE in present else [CONFIG_FILE]
    return missing if best_weights(present, names) else [*missing, f"weights ({', '.join(names)})"]


def missing_files_in(folder: Path, names: Collection[str]) -> list[str]:
    """What a folder lacks to be a checkpoint, shards included; `names` as in `missing_files`."""
    present = files_in(folder)
    weights = best_weights(present, names)
    shards = shard_names(folder / weights) if weights and is_index(weights) else []
    return missing_files(present, names) + [name for name in shards if name not in present]
